"""What the shared endpoint costs a month, before it is made: list prices times amounts.

An estimate. The prices are in prices.yaml, with source and day; the amounts that nobody can know
beforehand are assumed (`Use`), and each line says what was assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from infra.host.names import ALERTS, CLIENT_CA, CLIENTS, EDGE, KEYS
from infra.settings import HYPERDISK_ONLY, Settings

FILE = Path(__file__).parent / "prices.yaml"
FETCH_SECONDS = 20
"""How often the machine looks for a changed configuration and changed secrets."""
_DAYS = 30
_MONTH_SECONDS = _DAYS * 86_400
_ENDS = Decimal("0.01")


class _Priced(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str
    """The page that a price is from."""


class Family(BaseModel):
    """Of machines. USD an hour; GiB of memory for each CPU by kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cpu: Decimal
    gib: Decimal
    standard: int
    highmem: int
    highcpu: int


class Shared(BaseModel):
    """A machine with a share of a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: str
    cpus: Decimal
    gib: Decimal


class Machines(_Priced):
    """Prices of machine types."""

    families: dict[str, Family]
    shared: dict[str, Shared]


class Disks(_Priced):
    """USD a GiB and month, by type of disk."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def gib(self, kind: str) -> Decimal | None:
        """Of one type, where it is known."""
        found = (self.model_extra or {}).get(kind)
        return None if found is None else Decimal(str(found))


class ByGib(_Priced):
    """USD a GiB (and month)."""

    gib: Decimal


class Address(_Priced):
    """USD an hour."""

    hour: Decimal


class Storage(ByGib):
    """Besides, USD for 10,000 reads."""

    reads: Decimal


class Logging(ByGib):
    """The first GiB of a month are free."""

    free_gib: Decimal


class Monitoring(_Priced):
    """USD a month for each condition of an alert."""

    condition: Decimal


class SecretManager(_Priced):
    """USD for a version and month, and for 10,000 reads."""

    version: Decimal
    free_versions: int
    reads: Decimal
    free_reads: int


class Prices(BaseModel):
    """The whole list."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checked: date
    region: str
    hours: int
    machines: Machines
    disks: Disks
    snapshots: ByGib
    address: Address
    egress: ByGib
    storage: Storage
    logging: Logging
    monitoring: Monitoring
    secrets: SecretManager


@dataclass(frozen=True, kw_only=True)
class Use:
    """Amounts that only time will tell; None means: derived from the settings."""

    stored_gib: float | None = None
    """On the data disk; by default `limits.storeGib`, as far as the disk goes."""
    changed_daily: float = 0.02
    """Share of what is stored that differs from one day's snapshot to the next."""
    backup_gib: float | None = None
    """In the backup bucket; by default a quarter of what is stored."""
    egress_gib: float = 10
    """Answers to questions, in a month. What members send comes in, and that is free."""
    logs_gib: float = 5
    """Written to Cloud Logging, in a month."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that costs. `usd` is for a month; None: no price is known."""

    what: str
    amount: str
    usd: Decimal | None
    source: str


@cache
def price_list() -> Prices:
    """The list as it is shipped."""
    return Prices.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def machine(machine_type: str) -> Decimal | None:
    """USD an hour; None for a type that is not in the list."""
    machines = price_list().machines
    if shared := machines.shared.get(machine_type):
        family = machines.families[shared.family]
        return shared.cpus * family.cpu + shared.gib * family.gib
    shape = re.fullmatch(r"(\w+)-(standard|highmem|highcpu)-(\d+)", machine_type)
    if shape is None or shape[1] not in machines.families:
        return None
    family, cpus = machines.families[shape[1]], int(shape[3])
    per_cpu: int = getattr(family, shape[2])
    return cpus * family.cpu + cpus * per_cpu * family.gib


def estimate(settings: Settings, use: Use | None = None) -> tuple[Line, ...]:
    """Line by line, the machine first."""
    use = use or Use()
    cloud, prices = settings.cloud, price_list()
    stored = min(
        settings.limits.store_gib if use.stored_gib is None else use.stored_gib,
        cloud.data_disk_gib,
    )
    hourly = machine(cloud.machine_type)
    boot = "hyperdisk-balanced" if cloud.machine_type.startswith(HYPERDISK_ONLY) else "pd-balanced"
    return (
        Line(
            what="machine",
            amount=cloud.machine_type,
            usd=None if hourly is None else hourly * prices.hours,
            source=prices.machines.source,
        ),
        _disk("boot disk", cloud.boot_disk_gib, boot),
        _disk("data disk", cloud.data_disk_gib, cloud.data_disk_type),
        _snapshots(stored, cloud.snapshot_days, use.changed_daily),
        Line(
            what="address",
            amount="one, in use",
            usd=prices.address.hour * prices.hours,
            source=prices.address.source,
        ),
        _by_gib("traffic out", use.egress_gib, prices.egress, "assumed"),
        _by_gib(
            "backups",
            stored / 4 if use.backup_gib is None else use.backup_gib,
            prices.storage,
            "assumed",
        ),
        Line(
            what="configuration",
            amount=f"read every {FETCH_SECONDS} s",
            usd=prices.storage.reads * _fetches() / 10_000,
            source=prices.storage.source,
        ),
        _secrets(settings),
        _logging(use.logs_gib),
        *((_alerts(settings),) if cloud.alert_email else ()),
    )


def total(lines: tuple[Line, ...]) -> Decimal:
    """Of the lines that have a price."""
    return sum((each.usd for each in lines if each.usd is not None), Decimal(0))


def text(settings: Settings, use: Use | None = None) -> tuple[str, ...]:
    """For people: a line for each thing, the sum, and where the prices are from."""
    lines, prices = estimate(settings, use), price_list()
    unknown = [each.what for each in lines if each.usd is None]
    shown = [f"{each.what} ({each.amount}): {_usd(each.usd)}" for each in lines]
    besides = f", without {' and '.join(unknown)}" if unknown else ""
    elsewhere = (
        f"; {settings.cloud.region} differs" if settings.cloud.region != prices.region else ""
    )
    return (
        *shown,
        f"together: {_usd(total(lines))} a month{besides}",
        f"list prices of {prices.region} of {prices.checked}, before tax{elsewhere}",
    )


def _usd(amount: Decimal | None) -> str:
    return "no price known" if amount is None else f"{amount.quantize(_ENDS)} USD"


def _disk(what: str, gib: int, kind: str) -> Line:
    disks = price_list().disks
    price = disks.gib(kind)
    return Line(
        what=what,
        amount=f"{gib} GiB {kind}",
        usd=None if price is None else price * gib,
        source=disks.source,
    )


def _snapshots(stored: float, days: int, changed_daily: float) -> Line:
    """The oldest is whole, the others are what changed since the one before."""
    gib = stored * (1 + changed_daily * (days - 1))
    note = f"{days} days, {changed_daily:.0%} changed a day: assumed"
    return _by_gib("snapshots", gib, price_list().snapshots, note)


def _by_gib(what: str, gib: float, price: ByGib, note: str) -> Line:
    return Line(
        what=what,
        amount=f"{gib:.0f} GiB, {note}",
        usd=price.gib * Decimal(str(gib)),
        source=price.source,
    )


def _secrets(settings: Settings) -> Line:
    """One version of each, read at every look; the client CA's is never read."""
    price, secrets = price_list().secrets, len((KEYS, EDGE, CLIENTS)) + settings.identity.lists
    versions = max(secrets + len((CLIENT_CA,)) - price.free_versions, 0)
    reads = max(secrets * _fetches() - price.free_reads, 0)
    return Line(
        what="secrets",
        amount=f"{secrets}, read every {FETCH_SECONDS} s",
        usd=price.version * versions + price.reads * reads / 10_000,
        source=price.source,
    )


def _logging(gib: float) -> Line:
    price = price_list().logging
    paid = max(Decimal(str(gib)) - price.free_gib, Decimal(0))
    return Line(
        what="logs",
        amount=f"{gib:.0f} GiB, assumed; {price.free_gib} are free",
        usd=price.gib * paid,
        source=price.source,
    )


def _alerts(settings: Settings) -> Line:
    price = price_list().monitoring
    number = 1 + len(ALERTS) + ("0.0.0.0/0" in settings.edge.allowed_ranges)
    return Line(
        what="alerts", amount=f"{number}", usd=price.condition * number, source=price.source
    )


def _fetches() -> int:
    """In a month."""
    return _MONTH_SECONDS // FETCH_SECONDS
