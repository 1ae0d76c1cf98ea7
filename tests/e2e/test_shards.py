"""Two real servers as shards of one store, asked and fed over native TCP by each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.settings import validated
from infra.warehouse import names, scale
from scripts import queries
from scripts.scale import schema_files
from stacks.home import PROJECT
from tests import servers
from tests.conftest import free_ports, until
from tests.servers import Server

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(servers.without_wget(), reason="the schema runner needs wget"),
]

CLUSTER = validated(
    [
        {
            "scale": {
                "store": "cluster",
                "url": "https://store.example.org:8443",
                "shards": ["one.example.org", "two.example.org"],
            }
        }
    ]
)
SESSIONS = 60
ANNA, BEN = servers.MEMBERS
MADE = (PROJECT / "benchmarks" / "generate.sql").read_text(encoding="utf-8")
LANDING = names.LOGS_LANDING
SILENT = {"dropped-attributes", "quiet-members"}
"""Questions that have no answer of these events."""


@dataclass
class Stores:
    """The same events twice: on one server, and on two."""

    alone: Server
    shards: tuple[Server, Server]
    batches: list[bytes]

    def feed(self, server: Server, database: str, batch: bytes) -> tuple[int, str]:
        """What the collector does with a batch."""
        return server.insert(f"INSERT INTO {database}.{LANDING} FORMAT Native", batch)


def configuration(ports: list[int], own: int) -> str:
    """What `cluster_xml` writes, with both hosts on this machine."""
    text = scale.cluster_xml(CLUSTER, port=0, secure=False)
    for host, port in zip(CLUSTER.scale.shards, ports, strict=True):
        text = text.replace(f"<host>{host}</host>", "<host>127.0.0.1</host>", 1)
        text = text.replace("<port>0</port>", f"<port>{port}</port>", 1)
    return text.replace("<clickhouse>", f"<clickhouse>\n  <tcp_port>{own}</tcp_port>", 1)


@contextlib.contextmanager
def shard(folder: Path, http: int, native: list[int], number: int) -> Iterator[Server]:
    with servers.running(
        folder,
        http,
        users_xml=servers.users(across=True),
        more=configuration(native, native[number]),
        native=True,
        environment={scale.SECRET_VARIABLE: "what-the-servers-know-each-other-by"},
    ) as found:
        yield found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("shards")
    http, native = free_ports(3), free_ports(2)
    plain = validated([{}])
    with (
        servers.running(folder / "alone", http[0], users_xml=servers.users(across=False)) as alone,
        shard(folder / "one", http[1], native, 0) as one,
        shard(folder / "two", http[2], native, 1) as two,
    ):
        for server, settings in ((alone, plain), (one, CLUSTER), (two, CLUSTER)):
            files = schema_files(settings, folder / "schema" / server.folder.name)
            done = servers.apply(files, server.url)
            assert done.returncode == 0, done.stderr
        made = Stores(alone, (one, two), batches(alone))
        for number, batch in enumerate(made.batches):
            for server, database in (
                (alone, names.DATABASE),
                (made.shards[number % 2], names.EVERYWHERE),
            ):
                status, said = made.feed(server, database, batch)
                assert status == 200, said
        yield made


def batches(server: Server) -> list[bytes]:
    """Some thousand events of ten members, two of whom may log in, as the exporter sends them."""
    staged = f"{names.DATABASE}.staged"
    server.rows(f"CREATE TABLE {staged} AS {names.DATABASE}.{LANDING} ENGINE = Memory")
    parameters = {"first": 0, "sessions": SESSIONS, "seconds": 5 * 86400, "member": ANNA}
    end = int(server.rows("SELECT toUnixTimestamp(now())")[0][0])
    server.rows(
        MADE.replace(f"{names.DATABASE}.{LANDING}", staged),
        **{f"param_{key}": str(value) for key, value in parameters.items()},
        param_begin=str(end - 6 * 86400),
    )
    server.rows(
        f"ALTER TABLE {staged} UPDATE ResourceAttributes = mapUpdate(ResourceAttributes, "
        f"map('member', '{BEN}')) WHERE ResourceAttributes['member'] = (SELECT "
        f"max(ResourceAttributes['member']) FROM {staged}) SETTINGS mutations_sync = 1"
    )
    session = "cityHash64(LogAttributes['session.id'])"
    server.rows(  # some sessions are of no chapter, and of some an event is missing
        f"ALTER TABLE {staged} UPDATE "
        "ResourceAttributes = mapUpdate(ResourceAttributes, map('chapter', '')), "
        "LogAttributes = mapUpdate(LogAttributes, map('chapter', '')) "
        f"WHERE {session} % 3 = 0 SETTINGS mutations_sync = 1"
    )
    server.rows(
        f"ALTER TABLE {staged} DELETE WHERE {session} % 3 = 1 "
        "AND LogAttributes['event.sequence'] = '50' SETTINGS mutations_sync = 1"
    )
    found = []
    for number in range(4):
        select = f"SELECT * FROM {staged} WHERE cityHash64(LogAttributes) % 4 = {number}"
        found.append(server.taken(f"{select} FORMAT Native"))
    server.rows(f"DROP TABLE {staged}")
    return found


def test_each_member_lives_on_one_shard_and_nothing_is_lost(stores: Stores) -> None:
    by_member = f"SELECT member, count() FROM {names.DATABASE}.{names.EVENTS} GROUP BY member"
    one, two = (dict(server.rows(by_member)) for server in stores.shards)
    assert one.keys().isdisjoint(two)
    assert min(len(one), len(two)) > 0
    assert one | two == dict(stores.alone.rows(by_member))


def test_what_comes_again_at_another_server_is_still_one_row(stores: Stores) -> None:
    counted = f"SELECT count() FROM {names.EVERYWHERE}.{names.EVENTS}"
    physical = f"{counted} SETTINGS final = 0"
    before = stores.shards[0].rows(counted)
    for number, batch in enumerate(stores.batches):
        status, said = stores.feed(stores.shards[(number + 1) % 2], names.EVERYWHERE, batch)
        assert status == 200, said
    assert stores.shards[0].rows(counted) == stores.shards[1].rows(counted) == before
    assert int(stores.shards[0].rows(physical)[0][0]) >= int(before[0][0])
    events = f"SELECT count() FROM {names.DATABASE}.{names.EVENTS}"
    assert before == stores.alone.rows(events) != [["0"]]


@pytest.mark.parametrize("user", [names.ADMIN_USER, ANNA])
@pytest.mark.parametrize("name", queries.shipped())
def test_every_shipped_question_has_the_answer_of_one_store(
    stores: Stores, name: str, user: str
) -> None:
    question = queries.shipped()[name]
    given = {"limit": "100000"} if "limit" in {p.name for p in question.parameters} else {}
    if "session" in {p.name for p in question.parameters}:
        found = stores.alone.rows(f"SELECT max(session_id) FROM {names.DATABASE}.sessions", ANNA)
        given["session"] = found[0][0]
    arguments = {f"param_{k}": v for k, v in question.arguments(given).items()}
    status, alone = stores.alone.answer(question.sql, user, database=names.DATABASE, **arguments)
    assert alone or name in SILENT
    for server in stores.shards:
        same, both = server.answer(question.sql, user, database=names.EVERYWHERE, **arguments)
        assert same == status, both
        if status == 200:
            assert comparable(both) == comparable(alone)
        else:
            assert "ACCESS_DENIED" in both


def comparable(text: str) -> list[list[str]]:
    """Rows in any order. Sums of fractions differ in their last digits by the order in which they
    were added."""
    return sorted([rounded(cell) for cell in line.split("\t")] for line in text.splitlines())


def rounded(cell: str) -> str:
    try:
        return f"{float(cell):.6g}"
    except ValueError:
        return cell


def test_row_filters_hold_on_every_shard_whichever_is_asked(stores: Stores) -> None:
    for member in (ANNA, BEN):
        for table in (names.EVENTS, "sessions", "usage_daily", "sessions_daily_store"):
            own = f"SELECT DISTINCT member FROM {table}"
            for server in stores.shards:
                found = server.rows(own, member)
                assert found in ([[member]], []), (table, found)
        assert stores.shards[0].rows(f"SELECT count() > 0 FROM {names.EVENTS}", member) == [["1"]]
    others = f"SELECT count() FROM {names.EVENTS} WHERE member != '{ANNA}'"
    assert [server.rows(others, ANNA) for server in stores.shards] == [[["0"]], [["0"]]]


def test_a_member_cannot_write_or_look_beside_the_tables(stores: Stores) -> None:
    for sql in (
        f"INSERT INTO {names.EVERYWHERE}.{LANDING} (ServiceName) VALUES ('x')",
        f"SELECT * FROM cluster('{scale.CLUSTER}', {names.DATABASE}.{names.EVENTS})",
        f"SELECT * FROM remote('127.0.0.1', {names.DATABASE}.{names.EVENTS})",
        "SELECT * FROM system.clusters",
    ):
        status, said = stores.shards[0].answer(sql, ANNA)
        assert status >= 400, f"{sql}: {said}"


def test_a_batch_for_a_shard_that_is_away_is_refused_and_stored_once_when_it_is_back(
    tmp_path: Path, stores: Stores
) -> None:
    """The collector keeps what is refused and sends it again."""
    http, native = free_ports(2), free_ports(2)
    with shard(tmp_path / "one", http[0], native, 0) as one:
        with shard(tmp_path / "two", http[1], native, 1) as two:
            for number, server in enumerate((one, two)):
                files = schema_files(CLUSTER, tmp_path / f"schema{number}")
                assert servers.apply(files, server.url).returncode == 0
        status, said = stores.feed(one, names.EVERYWHERE, stores.batches[0])
        assert status >= 400, said
        with shard(tmp_path / "two", http[1], native, 1):
            until(lambda: stores.feed(one, names.EVERYWHERE, stores.batches[0])[0] == 200)
            events = (
                f"SELECT count(), uniqExact(session_id, seq) FROM {names.EVERYWHERE}.{names.EVENTS}"
            )
            [[rows, different]] = one.rows(events)
            assert rows == different != "0"
