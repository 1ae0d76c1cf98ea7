"""User services: `telemetry up --at-login`, so that the stack is there after a reboot, and
`telemetry tick --timer`, so that what is due is done where no supervisord does it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.errors import Failure
from stacks.embedded import login
from stacks.home import PROJECT, Home

_COMMAND = PROJECT / ".venv" / "bin" / "telemetry"


def _on_macos() -> bool:
    return platform.system() == "Darwin"


def _systemd(name: str) -> Path:
    configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(configuration) / "systemd" / "user" / name


def _launchd(label: str) -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{label}.plist"


def file() -> Path:
    """Where this machine's user service stands, or would stand."""
    return _launchd(login.LAUNCHD_LABEL) if _on_macos() else _systemd(login.SYSTEMD_UNIT)


def timer_file() -> Path:
    """The same of the timer."""
    return _launchd(login.TICK_LABEL) if _on_macos() else _systemd(login.TICK_TIMER)


def install(home: Home) -> Path:
    """Write and enable the service. Raises Failure where there is no service manager."""
    if _on_macos():
        return _load(file(), login.launchd_agent(_COMMAND, home.path))
    units = {login.SYSTEMD_UNIT: login.systemd_unit(_COMMAND, home.path)}
    instead = (
        "nothing can start at login. Call `telemetry up -q` from your shell's profile instead."
    )
    return _enable(units, login.SYSTEMD_UNIT, instead)


def install_timer(home: Home) -> Path:
    """The same with the timer, which also starts at once."""
    if _on_macos():
        return _load(timer_file(), login.launchd_timer(_COMMAND, home.path))
    units = login.systemd_timer(_COMMAND, home.path)
    instead = "it has no user timers. Call `telemetry tick` every hour by cron instead."
    return _enable(units, login.TICK_TIMER, instead, "--now")


def remove() -> bool:
    """Disable and remove the service; False where there was none."""
    return _disable(file(), (login.SYSTEMD_UNIT,))


def remove_timer() -> bool:
    """The same with the timer."""
    return _disable(timer_file(), (login.TICK_TIMER, login.TICK_SERVICE), "--now")


def _load(path: Path, agent: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(agent, encoding="utf-8")
    _control("launchctl", "unload", str(path), may_fail=True)
    _control("launchctl", "load", "-w", str(path))
    return path


def _enable(units: Mapping[str, str], name: str, instead: str, *options: str) -> Path:
    if shutil.which("systemctl") is None:
        raise Failure(
            f"This machine has no systemd, so {instead} (On WSL: systemd=true in /etc/wsl.conf.)"
        )
    for unit, text in units.items():
        _systemd(unit).parent.mkdir(parents=True, exist_ok=True)
        _systemd(unit).write_text(text, encoding="utf-8")
    try:
        _control("systemctl", "--user", "daemon-reload")
        _control("systemctl", "--user", "enable", *options, name)
    except Failure:
        for unit in units:
            _systemd(unit).unlink()
        raise
    return _systemd(name)


def _disable(path: Path, units: Sequence[str], *options: str) -> bool:
    if not path.exists():
        return False
    if _on_macos():
        _control("launchctl", "unload", "-w", str(path), may_fail=True)
        path.unlink()
        return True
    _control("systemctl", "--user", "disable", *options, units[0], may_fail=True)
    for unit in units:
        _systemd(unit).unlink(missing_ok=True)
    _control("systemctl", "--user", "daemon-reload", may_fail=True)
    return True


def _control(*command: str, may_fail: bool = False) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 and not may_fail:
        raise Failure(
            f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}. The stack "
            "runs; only the user service could not be set up."
        )
