"""`telemetry up --at-login`: a user service, so that the stack is there after a reboot."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from scripts.errors import Failure
from stacks.embedded import login
from stacks.home import PROJECT, Home

_COMMAND = PROJECT / ".venv" / "bin" / "telemetry"


def _systemd_file() -> Path:
    configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(configuration) / "systemd" / "user" / login.SYSTEMD_UNIT


def _launchd_file() -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{login.LAUNCHD_LABEL}.plist"


def file() -> Path:
    """Where this machine's user service stands, or would stand."""
    return _launchd_file() if platform.system() == "Darwin" else _systemd_file()


def install(home: Home) -> Path:
    """Write and enable the service. Raises Failure where there is no service manager."""
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True)
    if platform.system() == "Darwin":
        path.write_text(login.launchd_agent(_COMMAND, home.path), encoding="utf-8")
        _control("launchctl", "unload", str(path), may_fail=True)
        _control("launchctl", "load", "-w", str(path))
        return path
    if shutil.which("systemctl") is None:
        raise Failure(
            "This machine has no systemd, so nothing can start at login. Call `telemetry up -q` "
            "from your shell's profile instead. (On WSL: systemd=true in /etc/wsl.conf.)"
        )
    path.write_text(login.systemd_unit(_COMMAND, home.path), encoding="utf-8")
    try:
        _control("systemctl", "--user", "daemon-reload")
        _control("systemctl", "--user", "enable", login.SYSTEMD_UNIT)
    except Failure:
        path.unlink()
        raise
    return path


def remove() -> bool:
    """Disable and remove the service; False where there was none."""
    path = file()
    if not path.exists():
        return False
    if platform.system() == "Darwin":
        _control("launchctl", "unload", "-w", str(path), may_fail=True)
    else:
        _control("systemctl", "--user", "disable", login.SYSTEMD_UNIT, may_fail=True)
    path.unlink()
    if platform.system() != "Darwin":
        _control("systemctl", "--user", "daemon-reload", may_fail=True)
    return True


def _control(*command: str, may_fail: bool = False) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 and not may_fail:
        raise Failure(
            f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}. The stack "
            "runs; only the start at login could not be set up."
        )
