"""What the shared endpoint costs: the sums are right, and what is not known is said."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest
import yaml

from infra.host import cost
from infra.host.cost import Line, Use
from infra.settings import Settings, validated

PRICES = cost.price_list()


def lines(use: Use | None = None, **groups: object) -> dict[str, Line]:
    settings = validated([groups])
    return {each.what: each for each in cost.estimate(settings, use)}


def usd(line: Line) -> Decimal:
    assert line.usd is not None
    return line.usd


def test_a_machine_costs_its_cpus_and_its_memory() -> None:
    e2 = PRICES.machines.families["e2"]
    assert cost.machine("e2-standard-2") == 2 * e2.cpu + 8 * e2.gib
    assert cost.machine("e2-highmem-4") == 4 * e2.cpu + 32 * e2.gib
    assert cost.machine("e2-medium") == e2.cpu + 4 * e2.gib
    assert usd(lines()["machine"]) == 730 * (2 * e2.cpu + 8 * e2.gib)


@pytest.mark.parametrize("unknown", ["c4a-standard-2", "e2-mega-2", "e2-standard-x", "f1-micro"])
def test_a_machine_that_is_not_in_the_list_is_unknown_and_not_free(unknown: str) -> None:
    assert cost.machine(unknown) is None
    told = cost.text(validated([{"cloud": {"machineType": unknown}}]))
    assert f"machine ({unknown}): no price known" in told
    [together] = [each for each in told if each.startswith("together")]
    assert together.endswith("a month, without machine")


def test_a_disk_costs_its_size_by_its_kind() -> None:
    found = lines(cloud={"dataDiskGib": 300, "dataDiskType": "pd-ssd", "bootDiskGib": 10})
    assert usd(found["data disk"]) == Decimal("0.17") * 300
    assert usd(found["boot disk"]) == Decimal("0.10") * 10
    modern = lines(cloud={"machineType": "c4a-standard-2", "dataDiskType": "hyperdisk-balanced"})
    assert modern["boot disk"].amount == "20 GiB hyperdisk-balanced"


def test_snapshots_cost_one_whole_and_the_changes_of_each_day() -> None:
    use = Use(stored_gib=50, changed_daily=0.1)
    found = lines(use, cloud={"snapshotDays": 11})
    assert usd(found["snapshots"]) == Decimal("0.05") * (50 + 50)
    assert usd(lines(use, cloud={"snapshotDays": 1})["snapshots"]) == Decimal("0.05") * 50


def test_what_is_stored_is_what_the_limit_allows_as_far_as_the_disk_goes() -> None:
    one_day = {"snapshotDays": 1, "dataDiskGib": 40}
    small = lines(cloud=one_day, limits={"storeGib": 20})
    full = lines(cloud=one_day, limits={"storeGib": 500})
    assert usd(small["snapshots"]) == Decimal("0.05") * 20
    assert usd(full["snapshots"]) == Decimal("0.05") * 40
    assert usd(small["backups"]) == Decimal("0.02") * 5


def test_traffic_and_logs_are_what_was_assumed() -> None:
    found = lines(Use(egress_gib=100, logs_gib=60))
    assert usd(found["traffic out"]) == Decimal("0.12") * 100
    assert usd(found["logs"]) == Decimal("0.5") * 10
    assert usd(lines(Use(logs_gib=49))["logs"]) == 0


def test_secrets_are_read_at_every_look_and_some_versions_are_free() -> None:
    looks = 30 * 24 * 3600 // 20
    assert usd(lines()["secrets"]) == Decimal("0.03") * (4 * looks - 10_000) / 10_000
    nine = lines(identity={"lists": 6})["secrets"]
    # Ten versions: that of the client CA, which the machine never reads, is one.
    assert usd(nine) == Decimal("0.06") * 4 + Decimal("0.03") * (9 * looks - 10_000) / 10_000
    assert usd(lines()["configuration"]) == Decimal("0.004") * looks / 10_000


def test_alerts_cost_where_there_are_some() -> None:
    assert "alerts" not in lines()
    mail = {"alertEmail": "ops@example.org"}
    closed = usd(lines(cloud=mail)["alerts"])
    assert closed == Decimal("0.10") * 4
    assert usd(lines(cloud=mail, edge={"allowedRanges": ["0.0.0.0/0"]})["alerts"]) > closed


def test_the_sum_is_that_of_the_lines() -> None:
    found = cost.estimate(Settings())
    assert cost.total(found) == sum(usd(each) for each in found)
    told = cost.text(Settings())
    shown = [Decimal(each) for line in told[:-2] for each in re.findall(r"([\d.]+) USD$", line)]
    [together] = re.findall(r"together: ([\d.]+) USD", told[-2])
    assert len(shown) == len(found)
    assert abs(Decimal(together) - sum(shown)) < Decimal("0.1")


def test_another_region_is_said_to_differ() -> None:
    assert "differs" not in cost.text(Settings())[-1]
    elsewhere = validated([{"cloud": {"region": "us-east1"}}])
    assert cost.text(elsewhere)[-1].endswith("; us-east1 differs")


def test_every_kind_of_disk_that_can_be_chosen_has_a_price() -> None:
    for kind in ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"):
        assert PRICES.disks.gib(kind), kind


def test_every_price_has_a_source_and_the_list_a_day() -> None:
    assert date(2026, 1, 1) < PRICES.checked
    groups = yaml.safe_load(cost.FILE.read_text())
    for name, group in groups.items():
        if isinstance(group, dict):
            assert group["source"].startswith("https://cloud.google.com/"), name
    assert {each.source for each in cost.estimate(Settings())} <= {
        group["source"] for group in groups.values() if isinstance(group, dict)
    }
