"""`telemetry status --on STACK`: what can be seen of a shared endpoint from outside its machine.

Its edge is asked as anybody would, its store through the tunnel. The collector's queue and what it
set aside are out of reach: alerts tell of those (docs/CLOUD.md).
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.host import names as host
from infra.settings import Settings
from infra.warehouse import migrations, names
from scripts import administration, backup, certificates, limit, purge
from scripts.administration import EndpointHome
from scripts.cloud import Cloud
from scripts.errors import Failure
from scripts.member_list import InSecretManager
from scripts.status import store_shown
from stacks.copies import Copy

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SECONDS = 10
_SOON = timedelta(days=14)
"""A public certificate is renewed a month before its end, so this near to it that has failed."""
_AUTHORITY_SOON = timedelta(days=60)
_WEEK = timedelta(days=8)
LATE = timedelta(hours=6)


@dataclass(frozen=True)
class Edge:
    """What answers on its address."""

    answers: bool = False
    certificate_until: str = ""
    """UTC; empty where none was shown that is to be trusted."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """The store. None and empty: it could not be asked."""

    events: int | None = None
    last_event: str = ""
    """UTC."""
    bytes: int | None = None
    schema: str = ""
    """The last schema file that was applied."""
    clickhouse: str = ""
    """Its version."""
    last_report: str = ""
    """When the last weekly one was made, UTC."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """A shared endpoint."""

    well: bool
    stack: str
    host: str
    edge_answers: bool
    certificate_until: str
    authority_until: str
    """Of the endpoint's own CA; empty where a public issuer is used."""
    members: dict[str, int]
    """How many logins, by role."""
    events: int | None
    last_event: str
    stored_bytes: int | None
    stored_limit_bytes: int
    schema: str
    schema_here: str
    """The last schema file of this clone."""
    clickhouse: str
    last_report: str
    last_backup: str
    """UTC; empty where there is none that is known here."""
    last_backup_place: str
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def status(cloud: Cloud, home: EndpointHome) -> Status:
    """Look at everything; changes nothing there."""
    settings, problems = cloud.settings, list[str]()
    address, own = "", ""
    edge, logins, stored = Edge(), Counter[str](), Stored()
    try:
        if not settings.edge.acme:
            text = cloud.read(cloud.names.secret(host.EDGE))
            own = certificates.pair(text).certificate if text else ""
        address = cloud.host()
        edge = at_edge(address, 443, own=own, client_certificates=settings.edge.client_certificates)
        logins = Counter(str(each.role) for each in InSecretManager(cloud).logins())
    except Failure as error:
        problems.append(str(error))
    authority = certificates.ends(own) if own else None
    if authority and authority - datetime.now(UTC) < _AUTHORITY_SOON:
        problems.append(
            f"the edge's own CA ends on {authority:%Y-%m-%d}: `telemetry member keys --rotate edge "
            f"--on {cloud.names.stack}`"
        )
    if not logins and not problems:
        problems.append(f"there is no member: `telemetry member add --on {cloud.names.stack}`")
    if logins:
        try:
            with administration.tunnelled(cloud, home.secrets()) as reached:
                stored = _stored(reached, home)
        except Failure as error:
            problems.append(str(error))
    saved = _backups(settings, home, problems)
    problems += [*edge.problems, *stored.problems]
    return Status(
        well=not problems,
        stack=cloud.names.stack,
        host=address,
        edge_answers=edge.answers,
        certificate_until=edge.certificate_until,
        authority_until=f"{authority:%Y-%m-%d}" if authority else "",
        members=dict(logins),
        events=stored.events,
        last_event=stored.last_event,
        stored_bytes=stored.bytes,
        stored_limit_bytes=int(settings.limits.store_gib * limit.GIB),
        schema=stored.schema,
        schema_here=migrations.migrations()[-1].name,
        clickhouse=stored.clickhouse,
        last_report=stored.last_report,
        last_backup=f"{saved.made_at:%Y-%m-%d %H:%M:%S}" if saved else "",
        last_backup_place=saved.place if saved else "",
        problems=problems,
    )


def at_edge(address: str, port: int, *, own: str, client_certificates: bool) -> Edge:
    """What answers there. `own`: the certificate of the endpoint's own CA, in PEM, if it has one.

    Where client certificates are asked for and we show none, a handshake is all there is.
    """
    context = ssl.create_default_context(cadata=own or None)
    try:
        with (
            socket.create_connection((address, port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address) as secure,
        ):
            shown: Any = secure.getpeercert()
            until = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
            answers = client_certificates or _healthy(address, secure)
    except ssl.SSLError as error:
        return Edge(problems=(f"the certificate of {address} is not to be trusted: {error}",))
    except OSError as error:
        return Edge(
            problems=(
                f"{address} does not answer ({error}): does the machine run, and does your address "
                "lie in `edge.allowedRanges`?",
            )
        )
    problems = []
    if not answers:
        problems.append(f"{address} answers, but the collector behind it is not well (/healthz)")
    if not own and until - datetime.now(UTC) < _SOON:
        problems.append(
            f"the certificate of {address} ends on {until:%Y-%m-%d} and was not renewed: does the "
            "domain lead there, and is port 80 open?"
        )
    return Edge(answers, f"{until:%Y-%m-%d %H:%M}", tuple(problems))


def _healthy(address: str, secure: ssl.SSLSocket) -> bool:
    asked = f"GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    secure.sendall(asked.encode())
    answer = http.client.HTTPResponse(secure)
    try:
        answer.begin()
    except http.client.HTTPException:
        return False
    return answer.status == 200


def _stored(settings: Settings, home: EndpointHome) -> Stored:
    with backup.clickhouse(settings, home) as client:
        [(events, last)] = client.query(
            f"SELECT count(), toString(max(ts)) FROM {names.DATABASE}.{names.EVENTS} "
            "WHERE synthetic = ''"
        ).result_rows
        [(version, schema, report)] = client.query(
            f"SELECT version(), (SELECT max(name) FROM {names.DATABASE}.{names.MIGRATIONS}), "
            f"(SELECT max(made_at) FROM {names.DATABASE}.{names.RETENTION_REPORTS})"
        ).result_rows
        store = limit.store(settings, client)
        report = report.replace(tzinfo=UTC)
        return Stored(
            events=int(events),
            last_event=str(last) if events else "",
            bytes=store.bytes,
            schema=str(schema),
            clickhouse=str(version),
            last_report=f"{report:%Y-%m-%d %H:%M:%S}",
            problems=(
                *store.said,
                *_schema(str(schema), home),
                *_late_report(report),
                *_late_purges(client, home),
            ),
        )


def _schema(there: str, home: EndpointHome) -> list[str]:
    here = migrations.migrations()[-1].name
    if there == here:
        return []
    mend = (
        f"`pulumi up -s {home.cloud.names.stack}` brings it up to date"
        if there < here
        else "this clone is older: update it before you administer the endpoint"
    )
    return [f"the endpoint has the schema of {there}, and this clone that of {here}: {mend}"]


def _late_report(made: datetime) -> list[str]:
    if datetime.now(UTC) - made < _WEEK:
        return []
    return [f"the weekly report on retention is overdue: the last one is of {made:%Y-%m-%d}"]


def _late_purges(client: Client, home: EndpointHome) -> list[str]:
    return [f"{each} --on {home.cloud.names.stack}" for each in purge.overdue(client)]


def _backups(settings: Settings, home: EndpointHome, problems: list[str]) -> Copy | None:
    """The newest; what is wrong with them is added."""
    stack, place = home.cloud.names.stack, backup.destination(settings, home, "")
    try:
        backup.look(settings, home, place)
    except Failure as error:
        problems.append(f"the backups of the endpoint cannot be looked at: {error}")
        return backup.last(home)
    last, every = backup.last(home), settings.backup.every_days
    if every and last is None:
        problems.append(f"there is no backup in {place}: `telemetry backup --on {stack}`")
    elif every and backup.late_by(settings, home) >= LATE:
        problems.append(f"a backup is overdue: `telemetry backup --on {stack}`")
    problems += [
        each.replace("`telemetry tick`", f"`telemetry backup --on {stack}` removes them")
        for each in backup.kept_too_long(home, LATE)
    ]
    return last


def lines(found: Status) -> list[str]:
    """The same for people."""
    members = ", ".join(f"{count} {role}" for role, count in sorted(found.members.items()))
    rows = [
        ("Endpoint", f"{found.stack}, {found.host or 'address unknown'}"),
        ("Edge", "answers" if found.edge_answers else "does not answer"),
        ("Certificate", f"until {found.certificate_until} UTC" if found.certificate_until else "-"),
        *([("Own CA", f"until {found.authority_until}")] if found.authority_until else []),
        ("Members", members or "none"),
        ("Events stored", "unknown" if found.events is None else f"{found.events:,}"),
        ("Last event", f"{found.last_event} UTC" if found.last_event else "none known"),
        ("Store", store_shown(found.stored_bytes, found.stored_limit_bytes)),
        ("Schema", f"{found.schema or 'unknown'}; this clone's: {found.schema_here}"),
        ("ClickHouse", found.clickhouse or "unknown"),
        ("Weekly report", f"{found.last_report} UTC" if found.last_report else "unknown"),
        ("Last backup", _saved(found)),
        ("Queue, set aside", "on the machine, out of reach from here; alerts tell of them"),
    ]
    return [
        *(f"{name:<22}{value}" for name, value in rows),
        *(f"Problem: {problem}" for problem in found.problems),
    ]


def _saved(found: Status) -> str:
    if not found.last_backup:
        return "none known"
    return f"{found.last_backup} UTC, in {found.last_backup_place}"
