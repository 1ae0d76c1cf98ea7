"""The machine a measurement was made on."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

from stacks.home import PROJECT


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit that is measured."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.strip()


def description() -> str:
    """One line a fact, as Markdown."""
    memory = psutil.virtual_memory().total / 1024**3
    return "\n".join(
        (
            f"- {_processor()}, {psutil.cpu_count()} cores, {memory:.0f} GiB memory",
            f"- {platform.system()} {platform.release()} {platform.machine()}, "
            f"Python {platform.python_version()}",
            f"- commit {commit()}, {datetime.now(UTC):%Y-%m-%d}",
        )
    )
