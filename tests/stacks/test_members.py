"""A machine that several people share: what its containers are told of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra import identity, services
from infra.identity import Hash, Login
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse.access import password_hash
from scripts.member import ingest_hash
from scripts.toolchain import COLLECTOR
from stacks import members
from stacks.home import Home

NOW = 1_800_000_000
ANNA = Login(
    id="m-annaannaan",
    team="lighthouse",
    query=(Hash(password_hash("asks")),),
    ingest=(ingest_hash("sends"), Hash(ingest_hash("sent").value, NOW)),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "state")
    made.prepare()
    return made


def share(home: Home, *logins: Login) -> None:
    members.file(home).write_text(identity.table(logins))


def files(home: Home, now: int = NOW) -> dict[str, services.File]:
    """Files of all containers, by path."""
    settings = Settings()
    found = services.services(
        settings, home.secrets(), logins=members.sharing(settings, home), now=now
    )
    return {each.path: each for service in found for each in service.files}


def test_alone_on_the_list_one_is_asked_nothing(home: Home) -> None:
    before = files(home)
    share(home, members.owner(Settings(), home))
    assert members.sharing(Settings(), home) == ()
    assert files(home) == before


def test_what_the_owner_changes_elsewhere_holds_for_them_at_once(home: Home) -> None:
    old = Login(id=home.secrets().member, query=(Hash("0" * 64),), ingest=ANNA.ingest)
    share(home, old, ANNA)
    settings = Settings.model_validate({"context": {"team": "owners"}})
    [own] = [each for each in members.sharing(settings, home) if each.id == old.id]
    assert own.query == (Hash(password_hash(home.secrets().member_password)),)
    assert (own.team, own.ingest) == ("owners", old.ingest)


def test_containers_let_in_whose_login_holds(home: Home) -> None:
    share(home, members.owner(Settings(), home), ANNA)
    earlier, now = files(home, NOW - 1), files(home)
    logins = "/etc/otelcol-contrib/secrets/htpasswd"
    users = "/etc/clickhouse-server/users.d/telemetry.xml"
    assert earlier[logins].text.splitlines() == [
        f"{ANNA.id}+lighthouse:{ANNA.ingest[0].value}",
        f"{ANNA.id}.2+lighthouse:{ANNA.ingest[1].value}",
    ]
    assert now[logins].text.splitlines() == earlier[logins].text.splitlines()[:1]
    assert now[logins].secret
    assert f"<{ANNA.id}>" in now[users].text
    assert ANNA.query[0].value in now[users].text
    assert f"<{home.secrets().member}>" in now[users].text


@pytest.mark.stack
def test_the_collector_takes_its_configuration(home: Home, tmp_path: Path) -> None:
    share(home, members.owner(Settings(), home), ANNA)
    secrets: Secrets = home.secrets()
    for name, text in services.collector_secrets(secrets).items():
        (tmp_path / name).write_text(text)
    found = files(home)
    (tmp_path / "htpasswd").write_text(found["/etc/otelcol-contrib/secrets/htpasswd"].text)
    config = found["/etc/otelcol-contrib/config.yaml"].text
    text = config.replace("/etc/otelcol-contrib/secrets", str(tmp_path))
    text = text.replace("/var/lib/otelcol", str(tmp_path))
    (tmp_path / "config.yaml").write_text(text)
    done = subprocess.run(
        [COLLECTOR, "validate", "--config", tmp_path / "config.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "basicauth" in text
