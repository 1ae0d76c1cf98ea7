"""Two ways of running, a store each: rows are not divided between them unnoticed."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest

from infra.settings import Settings, validated
from stacks import local, stores
from stacks.embedded.processes import Layout
from stacks.home import Home

from .registry import CONTAINER, home_with_secrets, run

KEEP_BOTH = validated([{"stores": {"keepBoth": True}}])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_with_secrets(tmp_path / "home")


@pytest.fixture
def running(home: Home) -> Iterator[None]:
    """Something listens where supervisord does."""
    path = Layout(home).socket(Path(tempfile.gettempdir()))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield
    path.unlink()


def stored(home: Home, rows: int | None) -> None:
    """Plain processes have run and were stopped; None: they were not stopped in order."""
    Layout(home).clickhouse_data.mkdir()
    if rows is not None:
        stores.note_rows(home, rows)


def test_a_first_start_is_beside_nothing(home: Home) -> None:
    assert stores.beside_plain_processes(Settings(), home) == ""


@pytest.mark.usefixtures("running")
def test_running_plain_processes_are_in_the_way_even_if_both_stores_are_kept(home: Home) -> None:
    for settings in (Settings(), KEEP_BOTH):
        assert "`telemetry down`" in stores.beside_plain_processes(settings, home)


@pytest.mark.parametrize(("rows", "said"), [(12, "12 rows"), (None, "what may be rows")])
def test_rows_that_plain_processes_left_are_said_with_the_ways_out(
    home: Home, rows: int | None, said: str
) -> None:
    stored(home, rows)
    problem = stores.beside_plain_processes(Settings(), home)
    assert said in problem
    assert "keepBoth: true" in problem
    assert "telemetry down --delete-data" in problem
    assert stores.beside_plain_processes(KEEP_BOTH, home) == ""


def test_an_empty_store_is_not_in_the_way(home: Home) -> None:
    stored(home, 0)
    assert stores.beside_plain_processes(Settings(), home) == ""


def test_a_note_of_rows_does_not_outlive_a_start(home: Home) -> None:
    stored(home, 0)
    stores.forget_rows(home)
    assert stores.beside_plain_processes(Settings(), home) != ""


def test_an_update_beside_rows_makes_nothing_and_a_preview_goes_on(home: Home) -> None:
    stored(home, 3)
    with pytest.raises(pulumi.RunError, match="3 rows"):
        run(lambda: local.deploy(Settings(), home, "local"))
    assert stores.stacks(home) == []
    previewed = run(lambda: local.deploy(Settings(), home, "local"), preview=True)
    assert len(previewed.of(CONTAINER)) == 4
    assert stores.stacks(home) == [], "a preview makes no containers"


def test_the_stacks_that_made_containers_are_known_until_their_volumes_are_gone(home: Home) -> None:
    run(lambda: local.deploy(Settings(), home, "local-b"))
    run(lambda: local.deploy(Settings(), home, "local"))
    assert stores.stacks(home) == ["local", "local-b"]
    stores.forget_containers(home, "local-b")
    assert stores.stacks(home) == ["local"]
