"""A stand-in for `systemctl`: does what units of the machine say, without a systemd.

    python systemctl.py daemon-reload|start|stop|restart [UNIT]

Units are in the folder that UNITS names. A service is left to itself once it is started: nothing
starts it again when it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def commands(unit: Path, key: str) -> list[str]:
    """Commands of a unit; one that may fail has a `-` before it."""
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def run(command: str) -> None:
    """As systemd does; raises CalledProcessError where it must not fail and does."""
    done = subprocess.run(["sh", "-c", command.removeprefix("-")], check=False)
    if done.returncode and not command.startswith("-"):
        raise subprocess.CalledProcessError(done.returncode, command)


def stop(unit: Path) -> None:
    """End it, where it runs."""
    for command in commands(unit, "ExecStop"):
        run(f"-{command} >/dev/null 2>&1")


def start(unit: Path) -> None:
    """Start it; back once it is well, or has ended where it is a one-shot."""
    for command in commands(unit, "ExecStartPre"):
        run(command)
    [main] = commands(unit, "ExecStart")
    if "Type=oneshot" in unit.read_text(encoding="utf-8"):
        run(main)
    else:
        subprocess.Popen(
            ["sh", "-c", f"exec {main}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    for command in commands(unit, "ExecStartPost"):
        run(command)


def main(words: list[str]) -> int:
    """What was asked."""
    what = words[0]
    if what == "daemon-reload":
        return 0
    unit = Path(os.environ["UNITS"]) / words[-1]
    try:
        if what in ("stop", "restart"):
            stop(unit)
        if what in ("start", "restart"):
            start(unit)
    except subprocess.CalledProcessError as error:
        print(f"{unit.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
