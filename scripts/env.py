"""`telemetry env` and `telemetry run`: Claude Code's environment, printed or used."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from infra import client
from infra.settings import Settings
from scripts import context, credentials, member
from scripts.credentials import MACHINE
from scripts.errors import Failure
from stacks.home import Home

Shell = Literal["bash", "fish", "json"]


def variables(
    settings: Settings, home: Home, folder: Path, *, chapter: str = "", frozen: bool = False
) -> tuple[client.Variable, ...]:
    """The variables for work in `folder`; those that switch it off while paused.

    `frozen`: for a settings file, where branch and chapter would stay what they are now.
    """
    if home.paused.exists():
        return client.disabled()
    given = member.own_credentials(settings, home) or credentials.known(home, MACHINE)
    login = client.Login(given.ingest, given.authorization) if given and given.ingest else None
    if frozen:
        return client.enabled(settings, client.WorkContext(team=settings.context.team), login)
    return client.enabled(settings, context.of_folder(settings, folder, chapter=chapter), login)


def rendered(found: Sequence[client.Variable], shell: Shell) -> str:
    """Lines to evaluate in a shell, or the `env` block of Claude Code's user settings."""
    if shell == "json":
        return json.dumps({"env": {each.name: each.value for each in found}}, indent=2)
    if shell == "fish":
        return "\n".join(f"set -gx {each.name} {_fish(each.value)};" for each in found)
    return "\n".join(f"export {each.name}={shlex.quote(each.value)}" for each in found)


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def run(command: Sequence[str], found: Sequence[client.Variable]) -> None:
    """Become `command`, with the variables set. Raises Failure where there is no such program."""
    environment = {**os.environ, **{each.name: each.value for each in found}}
    try:
        os.execvpe(command[0], list(command), environment)
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run: {error.strerror}") from None
