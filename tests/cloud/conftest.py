"""A clone whose team has a shared endpoint, and a stand-in for `gcloud` on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.host.names import Names
from stacks.home import PROJECT, Home

STAND_IN = Path(__file__).parent / "gcloud.py"
NAMES = Names("cloud", "lighthouse-1234")
DECLARED = (
    "lock", "keys", "edge", "client-certificates", "client-ca", "members-1", "members-2",
)  # fmt: skip
"""What `pulumi up -s cloud` declares, without a version."""


@dataclass
class Desk:
    """Where someone administers the endpoint: a clone, a state folder, a `gcloud`."""

    folder: Path
    clone: Path
    gcloud: Path
    """What the stand-in keeps."""

    @property
    def home(self) -> Home:
        return Home(self.folder / "state")

    def configure(self, **settings: Any) -> None:
        """What the team chose for `cloud`, beside the project."""
        chosen: dict[str, dict[str, Any]] = {
            "cloud": {"project": NAMES.project},
            "edge": {"allowedRanges": ["0.0.0.0/0"]},
            "identity": {"lists": 2},
        }
        for group, values in settings.items():
            chosen.setdefault(group, {}).update(values)
        config = {f"telemetry:{group}": values for group, values in chosen.items()}
        (self.clone / "Pulumi.cloud.yaml").write_text(yaml.safe_dump({"config": config}))

    @property
    def environment(self) -> dict[str, str]:
        """The stand-in comes first on the PATH."""
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TELEMETRY_HOME": str(self.home.path),
            "PYTHONPATH": str(self.clone),
            "GCLOUD_STAND_IN": str(self.gcloud),
            "NO_COLOR": "1",
            "LANG": "C.UTF-8",
        }

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """The `telemetry` command."""
        return subprocess.Popen(
            [PROJECT / ".venv" / "bin" / "python", "-m", "scripts.cli", *words],
            cwd=self.clone,
            env={**self.environment, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """The same to its end."""
        process = self.start(*words, **env)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def ok(self, *words: str, **env: str) -> str:
        """Run it and require success; its standard output."""
        done = self.run(*words, **env)
        assert done.returncode == 0, f"telemetry {words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def data(self, *words: str) -> Any:
        """What it prints as JSON."""
        return json.loads(self.ok(*words, "--json"))

    def member(self, *words: str) -> Any:
        """`telemetry member ... --on cloud --json`."""
        return self.data("member", *words, "--on", "cloud")

    # --- what Secret Manager has

    def versions(self, which: str) -> dict[int, str]:
        """Texts by number, without those destroyed."""
        folder = self.gcloud / "secrets" / NAMES.secret(which)
        found = {int(file.stem): file.read_text() for file in folder.glob("*.ENABLED")}
        return dict(sorted(found.items()))

    def newest(self, which: str) -> str:
        """What a secret holds."""
        return list(self.versions(which).values())[-1]

    def annotations(self) -> dict[str, str]:
        """Of the secret that is the lock."""
        file = self.gcloud / "secrets" / f"{NAMES.secret('lock')}.json"
        found: dict[str, str] = json.loads(file.read_text())["annotations"]
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Every call of `gcloud`: arguments and environment."""
        lines = (self.gcloud / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def another(desk: Desk, folder: Path) -> Desk:
    """Someone else who administers the same endpoint."""
    folder.mkdir()
    (folder / "bin").symlink_to(desk.folder / "bin")
    return Desk(folder, desk.clone, desk.gcloud)


def new_desk(folder: Path) -> Desk:
    """Nothing was given out yet."""
    folder.mkdir(exist_ok=True)
    made = Desk(folder, folder / "clone", folder / "google")
    made.clone.mkdir()
    for name in ("infra", "scripts", "stacks", "queries"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, made.clone / name, ignore=ignored)
    shutil.copy(PROJECT / "Pulumi.yaml", made.clone)
    shutil.copy(PROJECT / "Pulumi.local.yaml", made.clone)
    made.configure()
    for secret in DECLARED:
        (made.gcloud / "secrets" / NAMES.secret(secret)).mkdir(parents=True)
    program = folder / "bin" / "gcloud"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    return made


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One's own."""
    return new_desk(tmp_path)
