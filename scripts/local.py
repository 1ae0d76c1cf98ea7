"""`make local`: `pulumi up -s local` in one go, with a file backend in the state folder, checked.

Pulumi keeps the salt of a passphrase beside the configuration of a stack. Here that is a copy of
the team's file in the state folder, so the one in git stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from infra.settings import Settings, SettingsError, load
from scripts import canary, login, member, verify
from scripts.console import say, step
from scripts.errors import Failure
from scripts.up import locked
from stacks import home as homes
from stacks import stores
from stacks.home import PROJECT, Home, HomeError, write_private

_SALT = "encryptionsalt"
_TEAM = "Pulumi.local.yaml"
_READS_THE_COPY = frozenset({"destroy", "preview", "refresh", "up", "update", "watch"})
"""Commands that take another configuration file; the others do without or mean the team's."""


def environment(home: Home) -> dict[str, str]:
    """Pulumi's own environment: state and passphrase in the state folder."""
    backend = home.path / "pulumi"
    backend.mkdir(mode=0o700, exist_ok=True)
    home.secret("pulumi-passphrase")
    # A passphrase of another project must not win over this stack's own.
    others = {k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE"}
    return {
        **others,
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(home.secrets_folder / "pulumi-passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def copied(home: Home) -> Path:
    """The team's configuration with this member's own salt, if there is one already."""
    folder = home.path / "pulumi" / "project"
    copy = folder / _TEAM
    mine = _mapping(copy).get(_SALT)
    values = {key: value for key, value in _mapping(PROJECT / _TEAM).items() if key != _SALT}
    write_private(copy, yaml.safe_dump({**values, **({_SALT: mine} if mine else {})}))
    project = (PROJECT / "Pulumi.yaml").read_text(encoding="utf-8")
    write_private(folder / "Pulumi.yaml", project)
    return copy


def _mapping(file: Path) -> dict[str, object]:
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    return found if isinstance(found, dict) else {}


def commands(arguments: list[str], copy: Path) -> list[list[str]]:
    """Select the stack, making it first where it is new (which writes the salt); then the rest."""
    reads = ["--config-file", str(copy)] if arguments[0] in _READS_THE_COPY else []
    return [
        ["-C", str(copy.parent), "stack", "select", "--create", "local"],
        [*arguments, "-s", "local", *reads],
    ]


def check(settings: Settings, home: Home) -> None:
    """What `telemetry up` ends with, too. Raises Failure with what is wrong."""
    with step("Verifying with a recorded session"):
        verdict = verify.verify(settings, home.secrets(), member.own_authorization(settings, home))
    if not verdict.well:
        raise Failure("Verification failed:\n  " + "\n  ".join(verdict.differences))
    with step("Looking for made-up secrets"):
        found = canary.canary(settings, home)
    if not found.well:
        raise Failure(found.said)
    say(found.said)
    if not login.timer_file().exists():
        say("To have that looked for every day: telemetry tick --timer")


def main() -> int:
    """Select the stack, making it first where it is new, bring it up, and check it."""
    try:
        if shutil.which("pulumi") is None:
            raise Failure(
                "Missing on this machine:\n  - pulumi (https://www.pulumi.com/docs/install)\n"
                "Without it, `make up` runs the same services as plain processes."
            )
        home = homes.find()
        home.prepare()
        with locked(home):
            settings = environment(home)
            arguments = sys.argv[1:] or ["up", "--yes"]
            goes_up = arguments[0] in ("up", "update") and not {"-h", "--help"} & set(arguments)
            if goes_up:
                problem = stores.beside_plain_processes(load(PROJECT, home.path), home)
                if problem:
                    raise Failure(problem)
            for command in commands(arguments, copied(home)):
                done = subprocess.run(["pulumi", *command], cwd=PROJECT, env=settings)
                if done.returncode != 0:
                    return done.returncode
            if goes_up:
                check(load(PROJECT, home.path), home)
    except (Failure, HomeError, SettingsError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
