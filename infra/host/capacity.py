"""How much of everything a number of members takes: plain arithmetic on what was measured.

What was measured stands as constants, each with its place in benchmarks/RESULTS.md; what nobody can
know beforehand is assumed in `Load`, to be changed by whoever knows better. docs/SCALE.md shows the
answers for the assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from infra.host import cost
from infra.settings import Settings, validated

COLLECTOR_SECONDS = 0.71 / 332
"""CPU of the collector for a request. Load: of 80 sessions 332 requests a second are taken by 0.71
cores, each synced to disk; the last step that keeps up on two cores."""
LOGIN_SECONDS = 0.0008
"""CPU for comparing an ingest password (bcrypt, cost 4): measured apart, on the same machine."""
STORE_CORES = 0.82
"""CPU of ClickHouse while one collector inserts. Same step; not more with more sessions, because
what comes within 200 ms is one insert."""
STORE_SECONDS = 0.000035
"""CPU of ClickHouse for an event. Volume: 35 us, where inserts are large."""
REFRESH_SECONDS = 2 * 32.1
"""CPU that counting all summaries anew takes for 100 M events. Volume: 32.1 s on two cores."""
REFRESH_EVERY = 600
"""Seconds; so often they are counted anew."""
ROW_BYTES = 24.0
"""On disk, of an event. Volume. Of a metric point the same is assumed."""
POINTS = 207_151 / 245_877
"""Metric points for each event. Load: what all its sessions left behind."""

HEADROOM = 2
"""Cores and disk are twice what the busiest hour takes: merges, questions, growth."""
LARGEST = 16
"""CPUs of a machine; more of them rather than larger ones."""
MEMBERS_A_LIST, LISTS = 200, 32
"""Identity: of the secrets that hold the list of members (`identity.lists`)."""
_GIB = 1024**3
_SMALLEST_DISK = 10


@dataclass(frozen=True, kw_only=True)
class Load:
    """What members do. The defaults are assumptions."""

    members: int
    sessions: float = 5
    """Of a member, on a working day."""
    events: float = 200
    """Of a session: ten prompts, each with 19 events as recorded (five tools), and the start."""
    minutes: float = 30
    """That a session is at work."""
    busiest: float = 0.2
    """Share of a day's sessions that fall into its busiest hour."""
    working_days: float = 22
    """Of thirty."""
    requests: float = 0.6
    """A second, that a session at work makes at most, by the intervals of `telemetry env`. Load."""
    days: int = 90
    """That events are kept (`retention.eventsDays`)."""

    @property
    def sessions_at_once(self) -> float:
        """In the busiest hour."""
        return self.members * self.sessions * self.busiest * self.minutes / 60

    @property
    def requests_a_second(self) -> float:
        """In the busiest hour, at most."""
        return self.sessions_at_once * self.requests

    @property
    def events_a_second(self) -> float:
        """In the busiest hour."""
        return self.members * self.sessions * self.events * self.busiest / 3600

    @property
    def events_kept(self) -> float:
        """At any time, once that many days have passed."""
        daily = self.members * self.sessions * self.events * self.working_days / 30
        return daily * self.days

    @property
    def gib(self) -> float:
        """On disk, events and metric points, merged."""
        return self.events_kept * (1 + POINTS) * ROW_BYTES / _GIB

    @property
    def door_cores(self) -> float:
        """Busy with taking requests, in the busiest hour."""
        return self.requests_a_second * (COLLECTOR_SECONDS + LOGIN_SECONDS)

    def store_cores(self, doors: int) -> float:
        """Busy with storing and summing up, where so many collectors insert."""
        inserting = max(doors * STORE_CORES, self.events_a_second * STORE_SECONDS)
        return inserting + self.events_kept / 100_000_000 * REFRESH_SECONDS / REFRESH_EVERY


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Machines for a load. A machine of `e2-standard`; it has 4 GiB of memory for each CPU."""

    load: Load
    doors: int
    """Endpoints: edge and collector."""
    door_cpus: int
    shards: int
    """Servers of ClickHouse of their own; 0: it is on the one endpoint's machine."""
    shard_cpus: int
    disk_gib: int
    """Of each machine that stores."""

    @property
    def usd(self) -> Decimal:
        """A month, by list price (cost.py), each machine as if it were an endpoint's."""
        doors = self.doors * _usd(self.door_cpus, _SMALLEST_DISK if self.shards else self.disk_gib)
        return doors + self.shards * (_usd(self.shard_cpus, self.disk_gib) if self.shards else 0)


def plan(load: Load) -> Plan:
    """One machine as long as one is enough; then endpoints, and shards behind them."""
    by_list = ceil(load.members / (MEMBERS_A_LIST * LISTS))
    alone = HEADROOM * (load.door_cores + load.store_cores(1))
    if by_list <= 1 and alone <= LARGEST:
        disk = _disk(load.gib)
        return Plan(
            load=load, doors=1, door_cpus=_cpus(alone), shards=0, shard_cpus=0, disk_gib=disk
        )
    doors = max(by_list, ceil(HEADROOM * load.door_cores / LARGEST))
    stores = HEADROOM * load.store_cores(doors)
    shards = ceil(stores / LARGEST)
    return Plan(
        load=load,
        doors=doors,
        door_cpus=_cpus(HEADROOM * load.door_cores / doors),
        shards=shards,
        shard_cpus=_cpus(stores / shards),
        disk_gib=_disk(load.gib / shards),
    )


def _cpus(cores: float) -> int:
    """The smallest machine that has them."""
    return next(each for each in (2, 4, 8, LARGEST) if cores <= each)


def _disk(gib: float) -> int:
    """With its headroom, in tens."""
    return max(_SMALLEST_DISK, ceil(HEADROOM * gib / 10) * 10)


def _usd(cpus: int, disk_gib: int) -> Decimal:
    settings: Settings = validated(
        [{"cloud": {"machineType": f"e2-standard-{cpus}", "dataDiskGib": disk_gib}}]
    )
    return cost.total(cost.estimate(settings, cost.Use(stored_gib=disk_gib / HEADROOM)))
