"""`telemetry scale`: what a store beyond one machine is set up with, as files for its operator."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from infra.identity import IdentityError, Login, parse
from infra.settings import Settings
from infra.warehouse import access, migrations, names, rbac, scale
from scripts.errors import Failure, Misuse
from stacks.home import write_private

_OWN = "http://clickhouse:8123"
_KEYS = ("admin_password", "ingest_password")


def write(settings: Settings, folder: Path, *, members: Path, keys: Path) -> list[str]:
    """Everything for the store that the settings name; what was written, and what to do with it.

    `members`: the list of logins; `keys`: lines `name=value`, of which the two passwords of
    ClickHouse are read. Raises Misuse where the store is the endpoint's own.
    """
    if settings.scale.store == "machine":
        raise Misuse(
            "telemetry:scale.store is `machine`: the endpoint sets up its own ClickHouse. Set it "
            "to `managed` or `cluster` first; docs/SCALE.md."
        )
    users_xml = _users_xml(settings, _logins(members), _passwords(keys))
    done = [f"schema/: {_schema(settings, folder)}"]
    if settings.scale.store == "managed":
        script = "".join(f"{each};\n" for each in rbac.statements(users_xml))
        write_private(folder / "users.sql", script)
        return ["users.sql: run it as the service's administrator, first", *done]
    write_private(folder / "users.d" / "telemetry.xml", users_xml)
    write_private(folder / "config.d" / "telemetry-cluster.xml", scale.cluster_xml(settings))
    return [
        "config.d/, users.d/: put them on every server of the cluster, and set "
        f"{scale.SECRET_VARIABLE} there",
        *done,
    ]


def schema_files(settings: Settings, folder: Path) -> Path:
    """What `runner.sh` reads, but for its login."""
    for name, text in scale.schema_files(settings).items():
        write_private(folder / "ddl" / name, text)
    for name, text in (
        ("runner.sh", migrations.RUNNER.read_text(encoding="utf-8")),
        ("before.sql", scale.text(scale.before(settings))),
        ("after.sql", scale.text(scale.after(settings))),
        ("retention.tsv", migrations.retention_table(settings)),
        ("views.tsv", migrations.views_table(settings)),
    ):
        write_private(folder / name, text)
    return folder


def _schema(settings: Settings, folder: Path) -> str:
    schema_files(settings, folder / "schema")
    runs = " and ".join(
        f"CLICKHOUSE_URL={each} SCHEMA_DIR=schema sh schema/runner.sh apply"
        for each in scale.schema_endpoints(settings, _OWN)
    )
    return f"write schema/wgetrc (http_user = {names.ADMIN_USER}, http_password), then run {runs}"


def _users_xml(settings: Settings, logins: Iterable[Login], passwords: dict[str, str]) -> str:
    templates = access.templates(loopback_default=False, alone=False)
    if settings.scale.store == "cluster":
        templates = scale.across(templates)
    return access.expand(
        templates,
        logins,
        now=int(time.time()),
        admin=access.password_hash(passwords["admin_password"]),
        ingest=access.password_hash(passwords["ingest_password"]),
    )


def _logins(file: Path) -> tuple[Login, ...]:
    try:
        return parse(_text(file))
    except IdentityError as error:
        message = f"{file}: {error}"
        raise Failure(message) from None


def _passwords(file: Path) -> dict[str, str]:
    found = {
        name: value
        for name, mark, value in (line.partition("=") for line in _text(file).splitlines())
        if mark and name in _KEYS
    }
    missing = [name for name in _KEYS if not found.get(name)]
    if missing:
        message = f"{file} has no line {' and no line '.join(f'{name}=...' for name in missing)}."
        raise Failure(message)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise Failure(message) from None
