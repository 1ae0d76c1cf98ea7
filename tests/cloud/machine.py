"""A machine below a folder: the scripts run for real, `docker` and `systemctl` write down what they
are asked to do."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.host import bundle, cloud_init
from infra.host.names import Names
from infra.identity import Hash, Login, table
from infra.settings import Settings
from stacks.home import PROJECT
from tests.cloud.certificates import Authority
from tests.cloud.google import Google

SCRIPTS = PROJECT / "infra" / "host"
NAMES = Names(stack="cloud", project="my-project")
NOW = 1_800_000_000
KEYS = "admin_password=Aadmin\ningest_password=Aingest\npseudonym_key=Akey\n"
QUERY = ("a" * 64, "b" * 64)
INGEST = ("$2b$04$" + "a" * 53, "$2b$04$" + "b" * 53)
ANNA = Login(
    id="m-annaaaaaaa",
    team="book",
    query=(Hash(QUERY[0]),),
    ingest=(Hash(INGEST[0]), Hash(INGEST[1], NOW + 60)),
)
BORIS = Login(id="m-borissssss", query=(Hash(QUERY[1]),), ingest=(Hash(INGEST[1]), Hash("")))
CLARA = Login(id="m-claraaaaaa", role="coordinator", team="book", query=(Hash(QUERY[1]),))

_DOCKER = """#!/bin/sh
printf 'docker' >> "$FAKE/calls"
for word; do printf ' %s' "$word" >> "$FAKE/calls"; done
printf '\\n' >> "$FAKE/calls"
case "$1 $2" in
    'image inspect') [ ! -f "$FAKE/no-image" ] ;;
    'pull --quiet') [ ! -f "$FAKE/no-registry" ] || { echo 'no such host' >&2; exit 1; } ;;
    'run --rm')
        for refused in "$FAKE"/refuse-*; do
            case "$*" in *"${refused##*refuse-}"*) echo 'line 7: what is this?' >&2; exit 1 ;; esac
        done
        ;;
    'exec telemetry-edge' | 'kill --signal') [ ! -f "$FAKE/fail-reload" ] ;;
esac
"""
_SYSTEMCTL = """#!/bin/sh
printf 'systemctl %s\\n' "$*" >> "$FAKE/calls"
[ "$1" != list-units ] || cat "$FAKE/failed-units" 2> /dev/null
[ ! -f "$FAKE/fail-$1" ]
"""


def cloud(**more: Any) -> Settings:
    """Settings of a shared endpoint."""
    return Settings.model_validate(
        {"cloud": {"project": "my-project"}, "edge": {"allowedRanges": ["0.0.0.0/0"]}, **more}
    )


@cache
def _bundle(settings: str) -> str:
    """Rendering takes a second, and most tests need the same."""
    return bundle.bundle(Settings.model_validate_json(settings), "cloud")


class Machine:
    """One, and what it asks."""

    def __init__(self, folder: Path) -> None:
        self.root, self.fake = folder / "root", folder / "fake"
        self.scripts = folder / "scripts"
        self.run_folder, self.units = self.root / "run/telemetry", self.root / "etc/systemd/system"
        self.config = self.run_folder / "config"
        self.disk = self.root / "mnt/disks/telemetry"
        for path in (
            self.root,
            self.fake / "bin",
            self.scripts,
            self.disk / "oidc",
            self.disk / "edge-log",
        ):
            path.mkdir(parents=True)
        for name in cloud_init.SCRIPTS:
            (self.scripts / name).write_text((SCRIPTS / name).read_text())
        self.program("docker", _DOCKER)
        self.program("systemctl", _SYSTEMCTL)
        self.google = Google()
        self.google.start()
        self.google.user_data = cloud_init.user_data(cloud(), NAMES)
        [environment] = (
            file["content"]
            for file in yaml.safe_load(self.google.user_data)["write_files"]
            if file["path"] == "/etc/telemetry/host.env"
        )
        (folder / "host.env").write_text(
            f"{environment}ROOT={self.root}\nMETADATA={self.google.url}\n"
            f"SECRET_MANAGER={self.google.url}\nSTORAGE={self.google.url}\n"
            f"LOGGING={self.google.url}\nOWNER={os.getgid()}\n"
        )
        self.environment = {
            "PATH": f"{self.fake / 'bin'}:{os.environ['PATH']}",
            "FAKE": str(self.fake),
            "TELEMETRY_ENV": str(folder / "host.env"),
            "NOW": str(NOW),
        }

    def program(self, name: str, text: str) -> None:
        """A program of the machine."""
        path = self.fake / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def has(self, settings: Settings) -> None:
        """The bucket has what is rendered from these."""
        self.google.bundle = _bundle(settings.model_dump_json())

    def members(self, *logins: Login) -> None:
        """The list of members."""
        self.google.secrets[NAMES.secret("members-1")] = table(logins)

    def prepare(self, settings: Settings | None = None) -> None:
        """Everything is there that a first start needs."""
        self.has(settings or cloud())
        authority = Authority()
        self.google.secrets |= {
            NAMES.secret("keys"): KEYS,
            NAMES.secret("edge"): authority.certificate + authority.key,
        }
        self.members(ANNA, CLARA)

    def fetch(self, *, code: int = 0, **environment: str) -> list[str]:
        """Let twenty seconds pass; what was asked of docker and systemctl."""
        return self.run(self.scripts / "fetch.sh", code=code, **environment)

    def run(self, script: Path, *, code: int = 0, **environment: str) -> list[str]:
        """One of its scripts; what was asked of docker and systemctl."""
        (self.fake / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            ["/bin/sh", script],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.said = done.stderr
        assert done.returncode == code, done.stderr + done.stdout
        calls = self.fake / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def text(self, path: str) -> str:
        """A file of its configuration."""
        return (self.config / path).read_text()


def acts(calls: list[str]) -> list[str]:
    """What was done, but for looking and checking."""
    looking = ("docker image inspect", "docker run --rm", "systemctl daemon-reload")
    return [call for call in calls if not call.startswith(looking)]


def checked(calls: list[str]) -> set[str]:
    """Services whose program looked at its configuration."""
    runs = [call for call in calls if call.startswith("docker run --rm")]
    words = {
        "clickhouse": "extract-from-config",
        "collector": "validate --config /etc/otelcol",
        "edge": "validate --config /etc/caddy",
    }
    return {name for name, word in words.items() if any(word in run for run in runs)}
