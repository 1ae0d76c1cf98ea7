"""The ClickHouse of this machine's stack: asking it, and bringing its schema up to date."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import urllib3

from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import migrations, names
from scripts.errors import Failure

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Connect = Callable[[], "Client"]
"""Logs in to a store, as whoever asks."""

_INSERT_SECONDS = 60
"""Longest that an insert is waited for; the collector itself gives up after 30 s."""


def url(settings: Settings) -> str:
    """Its HTTP endpoint."""
    return f"http://127.0.0.1:{settings.ports.clickhouse_http}"


def answers(address: str, seconds: float = 2) -> bool:
    """Whether an HTTP address answers 200."""
    try:
        # Kept open, it would hold up the end of the server that it asks.
        reply = urllib3.request(
            "GET", address, headers={"Connection": "close"}, timeout=seconds, retries=False
        )
    except urllib3.exceptions.HTTPError:
        return False
    return reply.status == 200


def wait(address: str, seconds: float) -> bool:
    """Wait until an HTTP address answers 200."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answers(address):
            return True
        time.sleep(0.1)
    return False


def quiet_client(**options: Any) -> Client:
    """A client. It would log each failure that it raises; we say ourselves what is wrong."""
    import clickhouse_connect  # slow to import, and most commands do without

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    return clickhouse_connect.get_client(autogenerate_session_id=False, **options)


def _client(settings: Settings, user: str, password: str, seconds: int = 120) -> Client:
    from clickhouse_connect.driver.exceptions import Error
    from clickhouse_connect.driver.httputil import get_pool_manager

    try:
        return quiet_client(
            host="127.0.0.1",
            port=settings.ports.clickhouse_http,
            username=user,
            password=password,
            # Of its own: the default one would look for this machine behind HTTP_PROXY.
            pool_mgr=get_pool_manager(),
            send_receive_timeout=seconds,
        )
    except Error as error:
        if "AUTHENTICATION_FAILED" in str(error):
            raise Failure(
                f"The ClickHouse at {url(settings)} does not take the password of {user}: it was "
                "started from another state folder. Name that folder in TELEMETRY_HOME, or give "
                "this one other ports in its settings.yaml."
            ) from None
        raise Failure(
            f"ClickHouse does not answer at {url(settings)} as {user}: {str(error).strip()}\n"
            "Start the stack with `telemetry up`."
        ) from None


def as_admin(settings: Settings, secrets: Secrets, *, seconds: int = 120) -> Client:
    """For schema, verification and upkeep. Reads are de-duplicated (the profile says final).

    No answer for so many seconds is an error.
    """
    return _client(settings, names.ADMIN_USER, secrets.admin_password, seconds)


def as_member(settings: Settings, secrets: Secrets) -> Client:
    """As the member, who sees their own rows."""
    return reading(_client(settings, secrets.member, secrets.member_password))


def reading(client: Client) -> Client:
    """The same; its questions need not name the database."""
    client.database = names.DATABASE
    return client


def count(client: Client, table: str, *, synthetic: str = "") -> int:
    """Rows of a table; those of a self-test by its run id."""
    counted = client.command(
        f"SELECT count() FROM {names.DATABASE}.{table} WHERE synthetic = {{run:String}}",
        parameters={"run": synthetic},
    )
    return int(str(counted))


def text_columns(client: Client, tables: Sequence[str]) -> Iterator[tuple[str, str]]:
    """For each column with texts: its table, and a SELECT of day, place (such as extra[status])
    and value."""
    columns = client.query(
        "SELECT table, name, type FROM system.columns WHERE database = {db:String} "
        "AND table IN {tables:Array(String)} AND type LIKE '%String%' ORDER BY table, position",
        parameters={"db": names.DATABASE, "tables": list(tables)},
    )
    for table, column, kind in columns.result_rows:
        place, value, source = f"'{column}'", f"{column}::String", ""
        if kind.startswith("Map"):
            place, value = f"concat('{column}[', each.1, ']')", "each.2"
            source = f"arrayJoin({column}::Array(Tuple(String, String))) AS each, "
        elif kind.startswith("Array"):
            value, source = "each", f"arrayJoin({column})::String AS each, "
        yield (
            str(table),
            f"SELECT {source}toDate(ts) AS day, {place} AS place, {value} AS value "
            f"FROM {names.DATABASE}.{table}",
        )


def refresh(client: Client) -> None:
    """Bring the summaries up to date, now. They follow what arrives by themselves, but learn of
    deletions and labels only when they are refreshed."""
    for database, views in (
        (names.DATABASE, names.SUMMARY_REFRESHES),
        (names.DATABASE, (names.DAILY_METRICS_KEEP,)),
        (names.TEAM_DATABASE, names.TEAM_REFRESHES),
    ):
        _refresh(client, database, views)


def refresh_audit(client: Client) -> None:
    """Bring the access audit up to date, now: it follows the server's logs by a minute."""
    client.command("SYSTEM FLUSH LOGS")
    _refresh(client, names.DATABASE, names.ACCESS_KEEPS)


@contextlib.contextmanager
def audit_stopped(client: Client) -> Iterator[None]:
    """Keep the access audit from following the server's logs meanwhile."""
    try:
        _command(client, ("STOP", "WAIT"), names.DATABASE, names.ACCESS_KEEPS)
        yield
    finally:
        _command(client, ("START",), names.DATABASE, names.ACCESS_KEEPS)


def _refresh(client: Client, database: str, views: Sequence[str]) -> None:
    _command(client, ("REFRESH", "WAIT"), database, views)


def _command(client: Client, steps: Sequence[str], database: str, views: Sequence[str]) -> None:
    """Each step of all views before the next."""
    for step in steps:
        for view in views:
            client.command(f"SYSTEM {step} VIEW {database}.{view}")


def migrate(client: Client, settings: Settings) -> list[str]:
    """Apply what is pending, set the retention, and name what was done.

    Raises SchemaError where the files and the database disagree.
    """
    from clickhouse_connect.driver.exceptions import Error

    for statement in migrations.BOOTSTRAP:
        client.command(statement)
    recorded = client.query(f"SELECT name, checksum FROM {names.DATABASE}.{names.MIGRATIONS}")
    done = []
    pending = migrations.pending(
        migrations.migrations(), {row[0]: row[1] for row in recorded.result_rows}
    )
    if pending:
        _close(client)
    for file in pending:
        try:
            for statement in file.statements:
                client.command(migrations.closed(statement))
        except Error as error:
            raise migrations.SchemaError(
                f"{file.name} could not be applied; it is tried again from its start at the next "
                f"`up`. ClickHouse says: {str(error).strip()}"
            ) from None
        client.insert(
            names.MIGRATIONS,
            [[file.name, file.checksum]],
            column_names=["name", "checksum"],
            database=names.DATABASE,
        )
        done.append(f"applied {file.name}")
    for table in _landing_tables(client):
        client.command(migrations.opening(table))
    tables = client.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = {db:String}",
        parameters={"db": names.DATABASE},
    )
    made = {name: query for name, query in tables.result_rows}  # noqa: C416 (typed loosely)
    for ttl in migrations.retention(settings):
        if f"TTL {ttl.expression}" not in made[ttl.table]:
            client.command(ttl.statement)
            done.append(f"{ttl.table} keeps {ttl.days} days")
    return done + write_standing_views(client, settings)


def _landing_tables(client: Client) -> list[str]:
    return [str(row[0]) for row in client.query(migrations.LANDING_TABLES).result_rows]


def _close(client: Client) -> None:
    """Let no row in while files are applied, and wait for those that are on their way."""
    for table in _landing_tables(client):
        client.command(migrations.closing(table))
    end = time.monotonic() + _INSERT_SECONDS
    while int(str(client.command(migrations.INSERTS))) and time.monotonic() < end:
        time.sleep(0.1)


def write_standing_views(client: Client, settings: Settings) -> list[str]:
    """Tell ClickHouse of settings and prices that changed; what was done."""
    tables = client.query(
        "SELECT name, comment FROM system.tables WHERE database = {db:String}",
        parameters={"db": names.DATABASE},
    )
    written = {name: checksum for name, checksum in tables.result_rows}  # noqa: C416
    done = []
    for view in migrations.standing_views(settings):
        if written.get(view.name) != view.checksum:
            client.command(view.statement)
            done.append(f"wrote {view.name}")
    return done
