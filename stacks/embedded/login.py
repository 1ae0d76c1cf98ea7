"""The user service that starts the stack at login. Pure text; scripts/login.py installs it."""

from __future__ import annotations

import plistlib
from pathlib import Path

SYSTEMD_UNIT = "telemetry.service"
LAUNCHD_LABEL = "telemetry.up"
TICK_SERVICE, TICK_TIMER = "telemetry-tick.service", "telemetry-tick.timer"
TICK_LABEL = "telemetry.tick"
_TICK_SECONDS = 3600


def _quoted(value: str) -> str:
    """A word of a systemd unit: specifiers and quotes escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _environment(home: Path) -> str:
    """Of a unit; a `$` of the assignment is none of systemd's."""
    return _quoted(f"TELEMETRY_HOME={home}".replace("$", "\0")).replace("\0", "$")


def systemd_unit(command: Path, home: Path) -> str:
    """A systemd user unit. supervisord stays in its control group and ends with it."""
    return f"""[Unit]
Description=Claude Code telemetry (OpenTelemetry Collector and ClickHouse)

[Service]
Type=oneshot
RemainAfterExit=yes
Environment={_environment(home)}
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


def systemd_timer(command: Path, home: Path) -> dict[str, str]:
    """A user timer that calls `telemetry tick` every hour, and its service; by file name."""
    return {
        TICK_SERVICE: f"""[Unit]
Description=What is due in Claude Code telemetry

[Service]
Type=oneshot
Environment={_environment(home)}
ExecStart={_quoted(str(command))} tick
""",
        TICK_TIMER: f"""[Unit]
Description=Every hour: what is due in Claude Code telemetry

[Timer]
OnActiveSec=60
OnUnitActiveSec={_TICK_SECONDS}

[Install]
WantedBy=timers.target
""",
    }


def launchd_timer(command: Path, home: Path) -> str:
    """The same as a launchd agent."""
    content = {
        "Label": TICK_LABEL,
        "ProgramArguments": [str(command), "tick"],
        "EnvironmentVariables": {"TELEMETRY_HOME": str(home)},
        "RunAtLoad": True,
        "StartInterval": _TICK_SECONDS,
        "StandardErrorPath": str(home / "log" / "tick.log"),
    }
    return plistlib.dumps(content).decode()
