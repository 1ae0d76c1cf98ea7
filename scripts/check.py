"""`make test` and `make lint`: every check, in the order that fails soonest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from stacks.home import PROJECT

_BIN = Path(sys.executable).parent
_PYTHON = ("infra", "stacks", "scripts", "tests", "benchmarks", "toolchain", "__main__.py")


def _tracked(*patterns: str) -> list[str]:
    """Files of the project by pattern, those not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [name for name in listed.splitlines() if (PROJECT / name).exists()]


def _lint() -> dict[str, list[str]]:
    """Commands by what they check. An empty one has nothing to check."""
    python = [name for name in _PYTHON if (PROJECT / name).exists()]
    shell = _tracked("*.sh", ".ci/run")
    yaml = _tracked("*.yaml", "*.yml")
    return {
        "ruff": [str(_BIN / "ruff"), "check", *python],
        "format": [str(_BIN / "ruff"), "format", "--check", "--quiet", *python],
        "mypy": [str(_BIN / "mypy"), *python],
        "yamllint": [str(_BIN / "yamllint"), "--strict", *yaml],
        "shellcheck": [str(_BIN / "shellcheck"), *shell],
        "rendered files": [sys.executable, "-m", "scripts.render", "--check"],
    }


def _run(title: str, command: list[str]) -> bool:
    began = time.monotonic()
    print(f"== {title}", flush=True)
    environment = {
        **os.environ,
        "PULUMI_ERROR_OUTPUT_STRING": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL)
    shown = "well" if done.returncode == 0 else f"FAILED ({done.returncode})"
    print(f"== {title}: {shown}, {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    """Run all; non-zero when anything failed."""
    checks = _lint()
    if "--lint" not in sys.argv[1:]:
        checks["programs"] = [sys.executable, "-m", "scripts.prepare_tests"]
        # Mostly they wait: two at once take not much longer than one.
        checks["tests"] = [str(_BIN / "pytest"), "--numprocesses", "2", *sys.argv[1:]]
    failed = [title for title, command in checks.items() if not _run(title, command)]
    if failed:
        print(f"Failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
