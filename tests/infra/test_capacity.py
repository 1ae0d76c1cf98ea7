"""The arithmetic of the capacity plan, and that what it calls measured was measured."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from infra.host import capacity
from infra.host.capacity import Load
from infra.settings import Identity
from stacks.home import PROJECT

RESULTS = (PROJECT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def test_the_busiest_hour_and_what_is_kept() -> None:
    load = Load(
        members=360,
        sessions=10,
        events=100,
        minutes=30,
        busiest=0.1,
        working_days=15,
        requests=0.5,
        days=10,
    )
    assert load.sessions_at_once == 180  # 360 sessions in that hour, each half of it
    assert load.requests_a_second == 90
    assert load.events_a_second == 10  # 36,000 events in 3,600 seconds
    assert load.events_kept == 1_800_000  # 360,000 on every other day of ten
    gib = 1_800_000 * 24 * (1 + 207_151 / 245_877) / 1024**3
    assert load.gib == pytest.approx(gib)


def test_cores_are_the_measured_ones_at_the_measured_load() -> None:
    asked = Load(members=1, sessions=1, busiest=1, minutes=60, requests=332, events=0)
    assert asked.door_cores == pytest.approx(0.71 + 332 * 0.0008)
    assert asked.store_cores(1) == pytest.approx(0.82)
    stored = Load(members=1_000_000, sessions=1, events=1, days=100, working_days=30, busiest=0)
    assert stored.events_kept == 100_000_000
    assert stored.store_cores(0) == pytest.approx(2 * 32.1 / 600)
    flood = Load(members=36_000_000, sessions=1, events=10, busiest=1, days=0)
    assert flood.store_cores(1) == pytest.approx(100_000 * 0.000035)


def test_one_machine_as_long_as_one_is_enough() -> None:
    small, large = capacity.plan(Load(members=10)), capacity.plan(Load(members=100_000))
    assert (small.doors, small.shards) == (1, 0)
    assert large.doors >= 100_000 / (capacity.MEMBERS_A_LIST * capacity.LISTS)
    assert large.shards > 1
    for plan in (small, large):
        load, headroom = plan.load, capacity.HEADROOM
        stores = plan.shards * plan.shard_cpus or plan.door_cpus
        assert plan.doors * plan.door_cpus >= headroom * load.door_cores
        assert stores >= headroom * load.store_cores(plan.doors)
        assert max(plan.shards, 1) * plan.disk_gib >= headroom * load.gib
        assert max(plan.door_cpus, plan.shard_cpus) <= capacity.LARGEST


def test_who_asks_more_needs_more() -> None:
    load = Load(members=3000)
    base = capacity.plan(load)
    assert capacity.plan(replace(load, requests=2)).door_cpus > base.door_cpus
    longer = capacity.plan(replace(load, days=730))
    assert longer.disk_gib > base.disk_gib
    assert longer.usd > base.usd
    assert capacity.plan(replace(load, requests=20)).shards > 0


def test_what_it_calls_measured_stands_in_the_results() -> None:
    """Figures of a later `make bench` must be carried over by hand."""
    [eighty] = re.findall(r"^\| 80 \| .*\|$", RESULTS, re.MULTILINE)
    cells = [each.strip() for each in eighty.strip("|").split("|")]
    acknowledged, clickhouse, collector = (float(cells[number]) for number in (2, -3, -2))
    assert collector / acknowledged == capacity.COLLECTOR_SECONDS
    assert clickhouse == capacity.STORE_CORES
    assert re.search(r"clickhouse (\d+), collector", RESULTS)[1] == "35"  # type: ignore[index]
    assert capacity.STORE_SECONDS == 0.000035
    assert f"25 bytes an event on disk | {capacity.ROW_BYTES}" in RESULTS
    assert "sessions_daily 32.1" in RESULTS
    assert capacity.REFRESH_SECONDS == 2 * 32.1
    logs, metrics = re.findall(r"of ([\d,]+) rows of (?:logs|metrics)", RESULTS)
    assert int(metrics.replace(",", "")) / int(logs.replace(",", "")) == capacity.POINTS


def test_so_many_lists_of_members_there_may_be() -> None:
    most = next(each.le for each in Identity.model_fields["lists"].metadata if hasattr(each, "le"))
    assert most == capacity.LISTS
