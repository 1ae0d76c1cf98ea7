"""What a person is given to reach a store that others use too: a small file, for them alone.

`telemetry member add --output FILE` writes it, `telemetry member accept FILE` takes it in. It is
kept among the secrets of the state folder, one file a store.
"""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from infra.identity import ID
from scripts.errors import Failure, Misuse
from stacks.home import Home, write_private

MACHINE = "machine"
"""What stands for a store on this machine that several people share, beside names of stacks."""
_LASTING = ("stack", "id", "role", "team", "ingest", "query", "certificate_authority")
_HEAD = """\
# Credentials of {id}. Whoever has this file is that member: hand it on by a way that nobody else
# reads, take it in with `telemetry member accept FILE`, then delete it.
"""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Of one person and one store. What is empty was not made anew."""

    stack: str
    """The Pulumi stack of the shared endpoint, or MACHINE."""
    id: str
    role: str
    team: str = ""
    ingest: str = ""
    """OTLP/HTTP endpoint, without the path of a signal."""
    query: str = ""
    """ClickHouse over HTTP."""
    query_password: str = field(default="", repr=False)
    ingest_login: str = ""
    ingest_password: str = field(default="", repr=False)
    certificate_authority: str = ""
    """PEM, where the endpoint's certificate comes from a CA of its own."""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """As a file."""
        given = {key: value for key, value in asdict(self).items() if value}
        return _HEAD.format(id=self.id) + yaml.dump(given, Dumper=_Dumper, sort_keys=False)

    def authority_file(self, home: Home) -> Path:
        """The CA's certificate in a file of its own, for programs that want one."""
        return home.secrets_folder / f"shared-{self.stack}-ca.pem"

    def client_file(self, home: Home) -> Path:
        """The same of the client certificate and its key."""
        return home.secrets_folder / f"shared-{self.stack}-client.pem"

    @property
    def authorization(self) -> str:
        """The HTTP header's value for ingest."""
        joined = f"{self.ingest_login}:{self.ingest_password}"
        return "Basic " + base64.b64encode(joined.encode()).decode()


class _Dumper(yaml.SafeDumper):
    """Writes certificates as blocks that people recognise."""


def _written(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _written)


def parse(text: str, where: str) -> Credentials:
    """Raises Failure, and never shows what stands in it."""
    try:
        data = yaml.safe_load(text)
        known = {each.name for each in fields(Credentials)}
        if not isinstance(data, dict) or not {"stack", "id", "role"} <= set(data) <= known:
            raise ValueError
        if not all(isinstance(value, str) for value in data.values()):
            raise ValueError
        made = Credentials(**data)
        if not re.fullmatch(r"[a-z0-9-]+", made.stack) or not ID.fullmatch(made.id):
            raise ValueError  # they become parts of file names
        return made
    except (ValueError, yaml.YAMLError):
        raise Failure(
            f"{where} is no file of credentials, such as `telemetry member add --output FILE` "
            "writes."
        ) from None


def _file(home: Home, stack: str) -> Path:
    return home.secrets_folder / f"shared-{stack}.yaml"


def accept(home: Home, file: Path) -> Credentials:
    """Take in a file; what it has anew replaces what was there. Raises Failure, Misuse."""
    try:
        given = parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"{file} cannot be read: {error}") from None
    there = known(home, given.stack)
    if there is not None and there.id == given.id:
        fresh: dict[str, Any] = {key: value for key, value in asdict(given).items() if value}
        lasting = {key: getattr(given, key) for key in _LASTING}
        given = Credentials(**{**asdict(there), **fresh, **lasting})
    write_private(_file(home, given.stack), given.text)
    if given.certificate_authority:
        write_private(given.authority_file(home), given.certificate_authority)
    if given.client_certificate:
        write_private(given.client_file(home), given.client_certificate + given.client_key)
    return given


def known(home: Home, stack: str) -> Credentials | None:
    """Those taken in for that store."""
    file = _file(home, stack)
    return parse(file.read_text(encoding="utf-8"), str(file)) if file.exists() else None


def needed(home: Home, stack: str) -> Credentials:
    """The same. Raises Failure where there are none."""
    found = known(home, stack)
    if found is None:
        raise Failure(
            f"You have no credentials for {stack!r} here. Whoever administers it makes them "
            "(`telemetry member add NAME --output FILE`); then `telemetry member accept FILE`."
        )
    return found
