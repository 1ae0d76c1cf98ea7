"""The link by which `telemetry` is found from any folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from stacks.home import PROJECT


def link_command() -> str:
    """Link `telemetry` into ~/.local/bin; what to tell about it (empty: nothing)."""
    target = PROJECT / ".venv" / "bin" / "telemetry"
    link = Path.home() / ".local" / "bin" / "telemetry"
    if not target.exists() or (link.is_symlink() and link.resolve() == target.resolve()):
        return ""
    if link.exists() and not link.is_symlink():
        return f"{link} is a file of someone else's; the command is {target}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return f"linked the `telemetry` command to {link}"


def hint() -> str:
    """What someone whose shell does not find `telemetry` must do (empty: nothing)."""
    if shutil.which("telemetry"):
        return ""
    return 'Your shell does not find `telemetry` yet:  export PATH="$HOME/.local/bin:$PATH"'
