"""The user service that starts the stack at login. Pure text; scripts/login.py installs it."""

from __future__ import annotations

import plistlib
from pathlib import Path

SYSTEMD_UNIT = "telemetry.service"
LAUNCHD_LABEL = "telemetry.up"


def _quoted(value: str) -> str:
    """A word of a systemd unit: specifiers and quotes escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def systemd_unit(command: Path, home: Path) -> str:
    """A systemd user unit. supervisord stays in its control group and ends with it."""
    assignment = _quoted(f"TELEMETRY_HOME={home}".replace("$", "\0")).replace("\0", "$")
    return f"""[Unit]
Description=Claude Code telemetry (OpenTelemetry Collector and ClickHouse)

[Service]
Type=oneshot
RemainAfterExit=yes
Environment={assignment}
ExecStart={_quoted(str(command))} up --quiet
ExecStop={_quoted(str(command))} down
TimeoutStartSec=300
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""


def launchd_agent(command: Path, home: Path) -> str:
    """A launchd agent. `up` ends once all runs; launchd must then leave supervisord alone."""
    content = {
        "Label": LAUNCHD_LABEL,
        "ProgramArguments": [str(command), "up", "--quiet"],
        "EnvironmentVariables": {"TELEMETRY_HOME": str(home)},
        "RunAtLoad": True,
        "AbandonProcessGroup": True,
        "StandardErrorPath": str(home / "log" / "login.log"),
    }
    return plistlib.dumps(content).decode()
