"""The machine's scripts, run for real: what they do when what they are given changes, or is bad."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import identity
from infra.host import bundle
from infra.host.names import KEYS as KEYS_SECRET
from infra.identity import Hash, Login
from infra.warehouse import access
from tests.cloud.certificates import Authority
from tests.cloud.google import TOKEN
from tests.cloud.machine import (
    ANNA,
    BORIS,
    CLARA,
    INGEST,
    KEYS,
    NAMES,
    NOW,
    QUERY,
    Machine,
    acts,
    checked,
    cloud,
)

RESTARTS = [
    f"systemctl restart telemetry-{name}.service"
    for name in ("limit", "clickhouse", "schema", "collector", "edge")
]
RELOAD_COLLECTOR = "docker kill --signal HUP telemetry-collector"
RELOAD_EDGE = (
    "docker exec telemetry-edge caddy reload --force --config /etc/caddy/caddy.json "
    "--address unix//run/caddy/admin"
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A new one; nothing is there for it yet."""
    found = Machine(tmp_path)
    yield found
    found.google.stop()


@pytest.fixture
def started(machine: Machine) -> Machine:
    """One that runs, with a member and a coordinator."""
    machine.prepare()
    machine.fetch()
    return machine


def test_a_first_start_checks_everything_and_starts_it_in_order(machine: Machine) -> None:
    machine.prepare()
    calls = machine.fetch()
    assert checked(calls) == {"clickhouse", "collector", "edge"}
    assert "systemctl daemon-reload" in calls
    assert acts(calls) == RESTARTS
    for unit in RESTARTS:
        text = (machine.units / unit.split()[-1]).read_text()
        assert "@" not in text.replace("@sha256:", "")
    assert f"{machine.config}/collector:/etc/otelcol-contrib:ro" in "".join(
        path.read_text() for path in machine.units.iterdir()
    )
    edge = machine.text("edge/caddy.json")
    assert "203.0.113.9" in edge
    [folder] = (machine.disk / "edge-log").iterdir()
    assert len(folder.name) == 32
    assert f"/var/log/caddy/{folder.name}/access.log" in edge
    assert "@" not in edge


def test_nothing_is_done_when_nothing_changed(started: Machine) -> None:
    assert started.fetch() == []
    assert started.said == ""
    assert started.google.downloads == 1, "the bundle was fetched again"


def test_secrets_are_files_in_memory_that_only_their_service_reads(started: Machine) -> None:
    secret = ("Aadmin", "Aingest", "Akey", TOKEN)
    holding = [
        path
        for path in started.root.rglob("*")
        if path.is_file() and any(word in path.read_text() for word in secret)
    ]
    assert {str(path.relative_to(started.run_folder)) for path in holding} == {
        "config/collector/secrets/clickhouse-ingest",
        "config/collector/secrets/pseudonym-key",
        "config/schema/wgetrc",
        "secrets/keys",
    }
    for path in [*holding, *started.config.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, path
    assert not list(started.run_folder.glob("fetch.*"))
    assert not list(started.run_folder.glob("apply.*"))


def test_no_secret_stands_in_a_command_line_or_a_unit(machine: Machine) -> None:
    """curl, awk and docker are watched, and so is every unit."""
    for name in ("curl", "awk", "sed"):
        real = next(
            Path(folder) / name
            for folder in os.environ["PATH"].split(":")
            if (Path(folder) / name).exists()
        )
        machine.program(
            name, f'#!/bin/sh\nprintf \'%s\\n\' "$*" >> "$FAKE/words"\nexec {real} "$@"\n'
        )
    machine.prepare()
    calls = machine.fetch()
    words = (machine.fake / "words").read_text() + "\n".join(calls)
    words += "".join(path.read_text() for path in machine.units.iterdir())
    for secret in ("Aadmin", "Aingest", "Akey", TOKEN, *INGEST, *QUERY):
        assert secret not in words, secret
    assert machine.said.count("\n") == 1, machine.said


def test_a_member_who_joins_is_let_in_and_nothing_starts_again(started: Machine) -> None:
    started.members(ANNA, BORIS, CLARA)
    calls = started.fetch()
    assert checked(calls) == {"clickhouse", "collector"}
    assert acts(calls) == [RELOAD_COLLECTOR]
    assert BORIS.id in started.text("collector/secrets/htpasswd")
    assert BORIS.id in started.text("clickhouse/users.d/telemetry.xml")


def test_a_member_who_leaves_is_out_everywhere(started: Machine) -> None:
    started.members(CLARA)
    assert acts(started.fetch()) == [RELOAD_COLLECTOR]
    assert started.text("collector/secrets/htpasswd") == identity.NOBODY
    assert ANNA.id not in started.text("clickhouse/users.d/telemetry.xml")


def test_a_password_ends_by_time_even_when_google_is_away(started: Machine) -> None:
    assert INGEST[1] in started.text("collector/secrets/htpasswd")
    started.google.broken |= {"metadata"}
    assert acts(started.fetch(NOW=str(NOW + 61))) == [RELOAD_COLLECTOR]
    assert INGEST[1] not in started.text("collector/secrets/htpasswd")
    assert "metadata server" in started.said
    assert started.fetch(NOW=str(NOW + 62)) == []
    assert started.said == "", "said again"


@pytest.mark.parametrize(
    ("change", "done"),
    [
        ({"retention": {"eventsDays": 30}}, [RESTARTS[2]]),
        ({"content": "prompts"}, [RELOAD_COLLECTOR]),
        ({"queue": {"fsync": False}}, [RELOAD_COLLECTOR, RESTARTS[1]]),
        ({"images": {"edge": "caddy:2.11.5-alpine"}}, [RESTARTS[4]]),
        ({"limits": {"collectorMemoryMib": 512}}, [RESTARTS[3]]),
        ({"edge": {"allowedRanges": ["0.0.0.0/0"], "connectionsBurst": 7}}, [RESTARTS[0]]),
    ],
)
def test_only_what_is_concerned_is_touched(
    started: Machine, change: dict[str, object], done: list[str]
) -> None:
    started.has(cloud(**change))
    assert acts(started.fetch()) == done
    assert started.fetch() == []


def test_a_new_ca_is_a_matter_of_the_edge(started: Machine) -> None:
    authority = Authority()
    started.google.secrets[NAMES.secret("edge")] = authority.key + authority.certificate
    before = started.text("edge/caddy.json")
    of_before = started.disk / "caddy" / re.findall(r"/data/(own-\w{16})", before)[0]
    of_before.mkdir(parents=True)
    # Reloaded, it would go on with what the old one has signed.
    assert acts(started.fetch()) == [RESTARTS[4]]
    assert of_before.name not in started.text("edge/caddy.json")
    assert not of_before.exists(), "what it signed is used again when it starts again"
    assert started.text("edge/secrets/ca.pem") == authority.certificate
    assert started.text("edge/secrets/ca.key") == authority.key


def test_client_certificates_are_a_ca_and_those_on_the_list(machine: Machine) -> None:
    edge = {"allowedRanges": ["0.0.0.0/0"], "clientCertificates": True}
    machine.prepare(cloud(edge=edge))
    machine.fetch()
    assert "member rotate NAME" in machine.said
    authority = Authority("Clients")
    one, two = (authority.client(name)[0] for name in ("anna", "boris"))
    secret = NAMES.secret("client-certificates")
    machine.google.secrets[secret] = authority.certificate + one + two
    assert acts(machine.fetch()) == RESTARTS
    folder = machine.config / "edge/secrets/clients"
    assert (folder / "ca.pem").read_text() == authority.certificate
    assert sorted(path.read_text() for path in (folder / "allowed").iterdir()) == sorted((one, two))
    machine.google.secrets[secret] = authority.certificate + two
    assert acts(machine.fetch()) == [RELOAD_EDGE]
    assert [path.read_text() for path in (folder / "allowed").iterdir()] == [two]
    machine.google.secrets[secret] = authority.certificate
    assert acts(machine.fetch()) == [RELOAD_EDGE]
    assert list((folder / "allowed").iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (KEYS_SECRET, "no keys yet"),
        ("members-1", "no member yet"),
        ("edge", "no CA yet"),
    ],
)
def test_it_waits_for_what_is_missing_and_says_what_to_run(
    machine: Machine, missing: str, said: str
) -> None:
    machine.prepare()
    there = machine.google.secrets.pop(NAMES.secret(missing))
    assert machine.fetch() == []
    assert said in machine.said
    assert "run `telemetry member add NAME --on cloud`" in machine.said
    assert machine.fetch() == []
    assert machine.said == "", "said again"
    machine.google.secrets[NAMES.secret(missing)] = there
    assert acts(machine.fetch()) == RESTARTS


def test_without_a_configuration_it_says_so(machine: Machine) -> None:
    assert machine.fetch() == []
    assert "run `pulumi up -s cloud`" in machine.said


@pytest.mark.parametrize("broken", ["metadata", "storage", "secrets"])
def test_what_cannot_be_fetched_stays_as_it_was(started: Machine, broken: str) -> None:
    started.google.broken = {broken}
    started.google.secrets[NAMES.secret("members-1")] = ""
    started.has(cloud(retention={"eventsDays": 30}))
    before = started.text("collector/secrets/htpasswd")
    started.fetch()
    assert "stay" in started.said
    if broken != "storage":
        assert started.text("collector/secrets/htpasswd") == before
    started.google.broken = set()
    started.members(ANNA)
    started.fetch()
    assert CLARA.id not in started.text("clickhouse/users.d/telemetry.xml")
    assert "30" in started.text("schema/retention.tsv")


def test_a_first_start_without_a_metadata_server_waits(machine: Machine) -> None:
    machine.prepare()
    machine.google.broken = {"metadata"}
    assert machine.fetch() == []
    machine.google.broken = set()
    assert acts(machine.fetch()) == RESTARTS


@pytest.mark.parametrize("how", ["breaks off", "no base64", "another file", "a manifest that lies"])
def test_a_bundle_that_did_not_arrive_whole_is_not_used(started: Machine, how: str) -> None:
    before = {p: p.read_bytes() for p in started.config.rglob("*") if p.is_file()}
    settings = cloud(retention={"eventsDays": 30})
    if how == "breaks off":
        started.has(settings)
        started.google.half = True
    elif how == "no base64":
        started.google.bundle = "!" * 10_000
    elif how == "another file":
        started.google.bundle = bundle.packed({"apply.sh": "touch /tmp/never\n"})[:-40]
    else:
        found = bundle.files(settings, "cloud") | {bundle.MANIFEST + "2": "x"}
        started.google.bundle = _with_another_manifest(found)
    assert started.fetch() == []
    assert "the last one stays" in started.said
    assert {p: p.read_bytes() for p in started.config.rglob("*") if p.is_file()} == before
    started.google.half = False
    started.has(settings)
    assert acts(started.fetch()) == [RESTARTS[2]]


def _with_another_manifest(found: dict[str, str]) -> str:
    import base64
    import gzip

    tar = gzip.decompress(base64.b64decode(bundle.packed(found)))
    changed = tar.replace(b"telemetry_admin", b"telemetry_ADMIN")
    assert changed != tar
    return base64.encodebytes(gzip.compress(changed, mtime=0)).decode()


@pytest.mark.parametrize("service", ["clickhouse", "collector", "edge"])
def test_what_a_program_does_not_accept_is_kept_out_and_said(
    started: Machine, service: str
) -> None:
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "clickhouse": ({"queue": {"fsync": False}}, "extract-from-config"),
        "collector": ({"content": "prompts"}, "otelcol-contrib"),
        "edge": (
            {"edge": {"allowedRanges": ["0.0.0.0/0"], "domain": "t.example.org"}},
            "caddy.json",
        ),
    }
    change, word = changes[service]
    before = {p: p.read_bytes() for p in started.config.rglob("*") if p.is_file()}
    started.has(cloud(**change))
    (started.fake / f"refuse-{word}").touch()
    assert acts(started.fetch(code=1)) == []
    assert f"{service} does not accept its new configuration: line 7: what is this?" in started.said
    assert {p: p.read_bytes() for p in started.config.rglob("*") if p.is_file()} == before
    assert started.fetch(code=1) == [], "it is not asked again every twenty seconds"
    assert started.said == ""


def test_who_leaves_is_out_even_when_a_new_bundle_is_bad(started: Machine) -> None:
    started.has(cloud(content="prompts"))
    started.members(CLARA)
    # Its rules are bad, whoever is on the list; the last good ones are not.
    started.program("docker", _REFUSES_PROMPTS)
    assert acts(started.fetch(code=1)) == [RELOAD_COLLECTOR]
    assert started.text("collector/secrets/htpasswd") == identity.NOBODY


@pytest.mark.parametrize(
    "waiting",
    [
        {
            "identity": {
                # Nobody answers there.
                "oidcIssuer": "https://127.0.0.1:9",
                "oidcAudience": "telemetry",
            }
        },
        {"edge": {"allowedRanges": ["0.0.0.0/0"], "clientCertificates": True}},
    ],
    ids=["for an issuer", "for client certificates"],
)
def test_who_leaves_is_out_even_while_a_new_bundle_waits(
    started: Machine, waiting: dict[str, Any]
) -> None:
    started.has(cloud(**waiting))
    started.members(CLARA)
    assert acts(started.fetch()) == [RELOAD_COLLECTOR]
    assert started.text("collector/secrets/htpasswd") == identity.NOBODY
    started.fetch()
    assert started.said == "", "said again"


def test_who_leaves_is_out_even_while_a_secret_of_the_edge_is_damaged(started: Machine) -> None:
    certificates = started.disk / "caddy" / f"own-{'a' * 16}"
    certificates.mkdir(parents=True)
    edge = {p: p.read_bytes() for p in (started.config / "edge").rglob("*") if p.is_file()}
    damaged = Authority()
    started.google.secrets[NAMES.secret("edge")] = damaged.certificate + damaged.key
    (started.fake / "refuse-caddy.json").touch()
    started.members(CLARA)
    assert acts(started.fetch(code=1)) == [RELOAD_COLLECTOR]
    assert "edge does not accept its new configuration" in started.said
    assert "a new configuration is in place: collector clickhouse." in started.said
    assert started.text("collector/secrets/htpasswd") == identity.NOBODY
    assert ANNA.id not in started.text("clickhouse/users.d/telemetry.xml")
    assert {p: p.read_bytes() for p in (started.config / "edge").rglob("*") if p.is_file()} == edge
    assert certificates.is_dir(), "those of the CA that still signs"
    assert started.fetch(code=1) == [], "it is not asked again every twenty seconds"
    assert started.said == ""
    (started.fake / "refuse-caddy.json").unlink()
    for said in started.run_folder.glob("rejected-*"):
        os.utime(said, (0, 0))
    assert acts(started.fetch()) == ["systemctl restart telemetry-edge.service"]
    assert started.text("edge/secrets/ca.pem") == damaged.certificate


def test_no_name_that_the_edge_has_made_is_taken_for_its_log(machine: Machine) -> None:
    """It may write where the folder is; the name goes into units, and root starts those."""
    (machine.disk / "edge-log" / "|e id |").mkdir()
    machine.prepare()
    assert acts(machine.fetch()) == RESTARTS
    assert re.search(r"/var/log/caddy/[0-9a-f]{32}/access[.]log", machine.text("edge/caddy.json"))


_REFUSES_PROMPTS = """#!/bin/sh
printf 'docker %s\\n' "$*" >> "$FAKE/calls"
case "$*" in
    run*config.yaml)
        for word; do
            case "$word" in
                *:/etc/otelcol-contrib:ro) ! grep -q '"prompt"' "${word%%:*}/config.yaml" ;;
            esac || exit 1
        done
        ;;
esac
"""


@pytest.mark.parametrize(
    "line",
    [
        "m-annaaaaaaa\tmember\t-\t-",
        "anna\tmember\t-\t-\t-,-",
        "m-annaaaaaaa\troot\t-\t-\t-,-",
        "m-annaaaaaaa\tmember\t../x\t-\t-,-",
        "m-annaaaaaaa\tmember\t-\t<x/>\t-,-",
        f"m-annaaaaaaa\tmember\t-\t{'a' * 64}@soon\t-,-",
        f"m-annaaaaaaa\tmember\t-\t{'a' * 63}\t-,-",
        f"m-annaaaaaaa\tmember\t-\t{'g' * 64}\t-,-",
        f"m-annaaaaaaa\tmember\t-\t{'a' * 64},\t-,-",
        f"m-annaaaaaaa\tmember\t-\t-\t{INGEST[0][:-1]},-",
        f"m-annaaaaaaa\tmember\t-\t-\t-,{'a' * 60}",
        "m-annaaaaaaa\tmember\t-\t-\t{SHA}" + "a" * 27 + "=,-",
        "m-annaaaaaaa\tmember\t-\t-\t-",
        "m-claraaaaaa\tmember\t-\t-\t-,-",
    ],
)
def test_a_list_that_is_none_is_refused_as_python_refuses_it(started: Machine, line: str) -> None:
    before = started.text("collector/secrets/htpasswd")
    text = identity.table([CLARA]) + line + "\n"
    with pytest.raises(identity.IdentityError):
        identity.parse(text)
    started.google.secrets[NAMES.secret("members-1")] = text
    started.fetch(code=1)
    assert "of the list of members" in started.said
    assert started.text("collector/secrets/htpasswd") == before


def test_the_list_may_be_spread_over_several_secrets(machine: Machine) -> None:
    machine.prepare(cloud(identity={"lists": 3}))
    machine.google.secrets[NAMES.secret("members-3")] = identity.table([BORIS])
    machine.fetch()
    assert [
        line.split(":")[0] for line in machine.text("collector/secrets/htpasswd").splitlines()
    ] == [
        f"{ANNA.id}+book",
        f"{ANNA.id}.2+book",
        BORIS.id,
    ]


LISTS: list[list[Login]] = [
    [],
    [ANNA, BORIS, CLARA],
    [
        Login(
            id="m-dddddddddd", role="auditor", query=(Hash(QUERY[0], NOW), Hash(QUERY[1], NOW + 1))
        )
    ],
    [
        Login(
            id="m-eeeeeeeeee",
            query=(Hash(QUERY[0], NOW - 1),),
            ingest=(Hash("$2y$10$" + "a./" * 17 + "Zz"), Hash(INGEST[0], NOW)),
        )
    ],
    [
        Login(
            id=f"m-{number:010d}",
            team="t" * 64,
            query=tuple(map(Hash, QUERY)),
            ingest=(Hash(INGEST[0]), Hash(INGEST[1], NOW + 9)),
        )
        for number in range(50)
    ],
]


@pytest.mark.parametrize("logins", LISTS[1:])
def test_awk_makes_what_python_makes(machine: Machine, logins: list[Login]) -> None:
    machine.prepare()
    machine.members(*logins)
    machine.fetch()
    assert machine.text("collector/secrets/htpasswd") == identity.htpasswd(logins, NOW)
    templates = {
        path.removeprefix("users/").removesuffix(".xml"): text
        for path, text in bundle.files(cloud(), "cloud").items()
        if path.startswith("users/")
    }
    assert machine.text("clickhouse/users.d/telemetry.xml") == access.expand(
        templates,
        logins,
        now=NOW,
        admin=access.password_hash("Aadmin"),
        ingest=access.password_hash("Aingest"),
    )


def test_what_failed_is_tried_again(started: Machine) -> None:
    (started.fake / "fail-restart").touch()
    started.has(cloud(retention={"eventsDays": 30}))
    assert acts(started.fetch(code=1)) == [RESTARTS[2]]
    assert "restart of schema failed" in started.said
    assert acts(started.fetch(code=1)) == [RESTARTS[2]]
    (started.fake / "fail-restart").unlink()
    assert acts(started.fetch()) == [RESTARTS[2]]
    assert started.fetch() == []


def test_an_image_that_cannot_be_fetched_leaves_the_old_one_running(started: Machine) -> None:
    (started.fake / "no-image").touch()
    (started.fake / "no-registry").touch()
    started.has(cloud(images={"edge": "caddy:2.11.5-alpine"}))
    assert [c for c in acts(started.fetch(code=1)) if not c.startswith("docker pull")] == []
    assert "the image caddy:2.11.5-alpine cannot be fetched: no such host" in started.said
    (started.fake / "no-registry").unlink()
    assert RESTARTS[4] in started.fetch()


def test_after_a_restart_of_the_machine_everything_comes_back(started: Machine) -> None:
    import shutil

    shutil.rmtree(started.run_folder)
    shutil.rmtree(started.units)
    assert acts(started.fetch()) == RESTARTS


def test_files_are_replaced_and_folders_stay(started: Machine) -> None:
    """Folders are mounted in containers: another of the same name would not be seen there."""
    folder = started.config / "collector/secrets"
    before = folder.stat().st_ino, (folder / "htpasswd").stat().st_ino
    started.members(ANNA, BORIS)
    started.fetch()
    assert folder.stat().st_ino == before[0]
    assert (folder / "htpasswd").stat().st_ino != before[1]


@pytest.mark.parametrize(
    ("store", "left"),
    [
        ({"store": "managed", "url": "https://store.example.org:8443"}, {"schema"}),
        ({"store": "cluster", "url": "https://a.example.org", "shards": ["a.example.org"]}, set()),
    ],
)
def test_a_store_elsewhere_ends_the_one_here_and_members_still_come_and_go(
    started: Machine, store: dict[str, object], left: set[str]
) -> None:
    started.has(cloud(scale=store))
    calls = acts(started.fetch())
    for service in ("clickhouse", "schema"):
        unit = started.units / f"telemetry-{service}.service"
        stopped = f"systemctl stop telemetry-{service}.service" in calls
        assert (unit.exists(), stopped) == (service in left, service not in left)
    assert str(store["url"]) in started.text("collector/config.yaml")
    started.members(ANNA, BORIS, CLARA)
    assert acts(started.fetch()) == [RELOAD_COLLECTOR]
    assert BORIS.id in started.text("collector/secrets/htpasswd")
    assert acts(started.fetch()) == []


def test_a_bundle_is_the_same_for_the_same_settings() -> None:
    one, other = (bundle.bundle(cloud(), "cloud") for _ in range(2))
    assert one == other
    assert one.isascii()
    assert bundle.bundle(cloud(content="prompts"), "cloud") != one
    assert len(one) < 1024**2


def test_no_secret_and_nothing_of_a_member_is_in_the_bundle() -> None:
    text = "".join(bundle.files(cloud(), "cloud").values())
    for word in (*KEYS.split(), "-----BEGIN EC", ANNA.id):
        assert word.split("=")[-1] not in text


def test_the_last_member_is_shut_out_too(started: Machine) -> None:
    """The collector would not start with an empty list, and then the old one would hold."""
    started.members(CLARA)
    assert acts(started.fetch()) == [RELOAD_COLLECTOR]
    assert started.text("collector/secrets/htpasswd") == identity.NOBODY
    started.members()
    started.fetch()
    assert CLARA.id not in started.text("clickhouse/users.d/telemetry.xml")
