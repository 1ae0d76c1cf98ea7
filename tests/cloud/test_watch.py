"""What the machine says of itself: the words that make an alert, when, and how often."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import services
from infra.collector import queue
from infra.host.names import ALERTS
from infra.settings import Settings
from tests.cloud.google import INSTANCE, TOKEN, ZONE
from tests.cloud.machine import ANNA, NAMES, NOW, Machine, cloud
from tests.stacks.registry import deployed_cloud

ADDRESSES = services.ADDRESSES
_CURL = f"""#!/bin/sh
printf '%s\\n' "$*" >> "$FAKE/words"
answer() {{ exit "$(cat "$FAKE/$1" 2> /dev/null || echo 0)"; }}
case "$*" in
    *http://{ADDRESSES["collector"]}:8888/metrics)
        [ ! -f "$FAKE/metrics" ] || cp "$FAKE/metrics" "$3"
        [ -f "$FAKE/metrics" ] || exit 7
        ;;
    *http://{ADDRESSES["collector"]}:13133/) answer collector ;;
    *http://{ADDRESSES["clickhouse"]}:8123/ping) answer clickhouse ;;
    *::{ADDRESSES["edge"]}:8443\\ https://*/healthz) answer edge ;;
    *) exec {shutil.which("curl")} "$@" ;;
esac
"""
REFUSED, TIMED_OUT, HANDSHAKE, RESET = "7", "28", "35", "55"
"""What curl ends with."""


class Watched(Machine):
    """One that runs, where all is well."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder)
        self.program("curl", _CURL)
        self.disk_is(10)
        self.metrics()
        self.prepare(settings)
        self.minute = 0
        self.fetch()

    def disk_is(self, percent: int) -> None:
        """Full."""
        self.program(
            "df",
            "#!/bin/sh\necho Filesystem 1024-blocks Used Available Capacity Mounted on\n"
            f"echo /dev/sdb 100 {percent} {100 - percent} {percent}% $2\n",
        )

    def metrics(self, *, logs: float = 0, points: float = 0, sent: int = 0) -> None:
        """What the collector's counters show: bytes that wait of either signal, records stored."""
        labels = 'exporter="clickhouse",otel_scope_name="exporterhelper",server="a b"'
        (self.fake / "metrics").write_text(
            "# TYPE otelcol_exporter_queue_size gauge\n"
            f'otelcol_exporter_queue_size{{data_type="logs",{labels}}} {logs}\n'
            f'otelcol_exporter_queue_size{{data_type="metrics",{labels}}} {points}\n'
            'otelcol_exporter_queue_size{data_type="logs",exporter="file/aside"} 5\n'
            f"otelcol_exporter_sent_log_records{{{labels}}} {sent}\n"
        )

    def does_not_answer(self, service: str, code: str = REFUSED) -> None:
        """From now on; with what curl ends."""
        (self.fake / service).write_text(code)

    def answers(self, service: str) -> None:
        """Again."""
        (self.fake / service).unlink()

    def look(self, times: int = 1) -> list[tuple[str, str]]:
        """So many minutes pass; (severity, text) of what Cloud Logging got meanwhile."""
        before = len(self.google.logged)
        for _ in range(times):
            self.minute += 1
            self.run(
                self.run_folder / "bundle/watch.sh",
                COMMON=str(self.scripts / "common.sh"),
                NOW=str(NOW + 60 * self.minute),
            )
        return [
            (entry["severity"], entry["textPayload"])
            for request in self.google.logged[before:]
            for entry in request["entries"]
        ]

    def ten_minutes_pass(self) -> None:
        """For what it remembers having said."""
        for file in (self.run_folder / "watch").glob("s*-*"):
            os.utime(file, (time.time() - 601,) * 2)


def words(what: str) -> str:
    """Of an alert."""
    return NAMES.alert(what)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path, cloud())
    yield found
    found.google.stop()


def test_where_all_is_well_nothing_is_said_and_nobody_asked(machine: Watched) -> None:
    asked = len(machine.google.asked)
    assert machine.look(5) == []
    assert machine.said == ""
    assert len(machine.google.asked) == asked
    assert not list(machine.run_folder.glob("watch.*"))


def test_a_full_disk_is_said_in_the_journal_and_to_cloud_logging(machine: Watched) -> None:
    machine.disk_is(85)
    assert machine.look() == []
    machine.disk_is(86)
    text = f"{words('disk')}: the data disk is 86% full"
    assert machine.look() == [("ERROR", text)]
    assert machine.said == f"telemetry: {text}\n"
    [request] = machine.google.logged
    assert request["logName"] == "projects/my-project/logs/telemetry"
    assert request["resource"] == {
        "type": "gce_instance",
        "labels": {"project_id": "my-project", "instance_id": INSTANCE, "zone": ZONE},
    }


def test_it_is_repeated_every_ten_minutes_and_once_when_it_is_over(machine: Watched) -> None:
    machine.disk_is(90)
    assert len(machine.look()) == 1
    machine.disk_is(91)
    assert machine.look(5) == []
    assert machine.said == ""
    machine.ten_minutes_pass()
    assert machine.look(5) == [("ERROR", f"{words('disk')}: the data disk is 91% full")]
    machine.disk_is(50)
    assert machine.look(5) == [("NOTICE", "telemetry-cloud: disk is in order again")]
    assert words("disk") not in machine.said
    machine.disk_is(90)
    assert len(machine.look()) == 1, "what comes again is said at once"


@pytest.mark.parametrize("service", ["clickhouse", "collector", "edge"])
@pytest.mark.parametrize("code", [REFUSED, TIMED_OUT])
def test_a_service_that_does_not_answer_three_times_is_said(
    machine: Watched, service: str, code: str
) -> None:
    machine.does_not_answer(service, code)
    assert machine.look(2) == []
    machine.answers(service)
    assert machine.look() == []
    machine.does_not_answer(service, code)
    assert machine.look(2) == [], "those before do not count"
    assert machine.look() == [("ERROR", f"{words('health')}: {service} does not answer")]
    machine.answers(service)
    assert machine.look() == [("NOTICE", "telemetry-cloud: health is in order again")]


def test_a_service_is_given_time_to_start(machine: Watched) -> None:
    machine.does_not_answer("clickhouse")
    due = machine.run_folder / "due/restart-clickhouse"
    due.touch()
    assert machine.look(5) == []
    due.unlink()
    assert len(machine.look(3)) == 1


def test_a_service_that_does_not_start_is_said(machine: Watched) -> None:
    (machine.fake / "fail-restart").touch()
    machine.has(cloud(retention={"eventsDays": 30}))
    machine.fetch(code=1)
    text = f"{words('health')}: restart of schema failed and is tried again"
    assert machine.look(3) == [("ERROR", text)]
    (machine.fake / "fail-restart").unlink()
    machine.fetch()
    assert machine.look() == [("NOTICE", "telemetry-cloud: health is in order again")]


def test_where_the_store_is_elsewhere_it_is_not_asked(tmp_path: Path) -> None:
    store = {"store": "managed", "url": "https://store.example.org:8443"}
    machine = Watched(tmp_path, cloud(scale=store))
    machine.does_not_answer("clickhouse")
    assert machine.look(5) == []
    machine.google.stop()


@pytest.mark.parametrize(
    ("edge", "code", "well"),
    [
        ({"clientCertificates": True}, HANDSHAKE, True),
        ({"clientCertificates": True}, RESET, True),
        ({"clientCertificates": True}, TIMED_OUT, False),
        ({"clientCertificates": True}, REFUSED, False),
        ({"domain": "t.example.org"}, HANDSHAKE, False),
    ],
)
def test_the_edge_is_asked_by_its_name_and_may_ask_for_a_certificate(
    tmp_path: Path, edge: dict[str, Any], code: str, *, well: bool
) -> None:
    machine = Watched(tmp_path, cloud(edge={"allowedRanges": ["0.0.0.0/0"], **edge}))
    units = machine.units / "telemetry-edge.service"
    units.parent.mkdir(parents=True, exist_ok=True)
    units.touch()  # without certificates of clients it still waits
    machine.does_not_answer("edge", code)
    found = [text for _, text in machine.look(3)]
    assert any("edge does not answer" in text for text in found) is not well
    name = edge.get("domain", "203.0.113.9")
    assert f"https://{name}/healthz" in (machine.fake / "words").read_text()
    machine.google.stop()


def test_a_failed_unit_is_said(machine: Watched) -> None:
    line = "telemetry-limit.service loaded failed failed Telemetry: limit on new connections\n"
    (machine.fake / "failed-units").write_text(line)
    assert machine.look(3) == [
        ("ERROR", f"{words('health')}: telemetry-limit.service has failed"),
    ]
    (machine.fake / "failed-units").write_text("")
    assert machine.look() == [("NOTICE", "telemetry-cloud: health is in order again")]


def test_a_refused_configuration_is_said_without_what_a_program_said(machine: Watched) -> None:
    good = machine.google.bundle
    machine.has(cloud(content="prompts"))
    (machine.fake / "refuse-otelcol-contrib").touch()
    machine.fetch(code=1)
    [(severity, text)] = machine.look()
    assert severity == "ERROR"
    assert text == (
        f"{words('health')}: what was fetched is refused: "
        "collector does not accept its new configuration"
    )
    machine.fetch(code=1)
    assert machine.look() == []
    # The one before is there again.
    machine.google.bundle = good
    machine.fetch()
    assert machine.look() == [("NOTICE", "telemetry-cloud: health is in order again")]


def test_that_the_last_good_one_still_takes_a_new_list_does_not_end_it(machine: Watched) -> None:
    machine.has(cloud(content="prompts"))
    (machine.fake / "no-image").touch()
    (machine.fake / "no-registry").touch()
    machine.fetch(code=1)
    (machine.fake / "no-image").unlink()
    (machine.fake / "refuse-otelcol-contrib").touch()
    machine.fetch(code=1)
    machine.members(ANNA)
    machine.fetch(code=1)
    assert len(machine.look()) == 1
    machine.fetch(code=1)
    assert machine.look() == []


@pytest.mark.parametrize("broken", ["metadata", "storage", "secrets"])
def test_what_cannot_be_fetched_for_long_is_said(machine: Watched, broken: str) -> None:
    machine.google.broken = {broken}
    machine.fetch()
    machine.look(2)
    assert machine.said == ""
    machine.look()
    assert words("health") in machine.said
    machine.google.broken = set()
    machine.fetch()
    machine.look()
    assert "health is in order again" in machine.said


def test_waiting_for_people_is_said_once_it_has_run(machine: Watched, tmp_path: Path) -> None:
    keys = machine.google.secrets.pop(NAMES.secret("keys"))
    machine.fetch()
    assert machine.look(3) == [("ERROR", f"{words('health')}: there are no keys yet")]
    machine.google.secrets[NAMES.secret("keys")] = keys
    new = Machine(tmp_path / "new")
    new.prepare()
    new.members()
    new.fetch()
    new.program("curl", _CURL)
    for _ in range(5):
        new.run(new.run_folder / "bundle/watch.sh", COMMON=str(new.scripts / "common.sh"))
        assert new.said == ""
    new.google.stop()


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        # (bytes that wait, records stored), minute by minute
        ([(2000.0, 5)] * 16, False),
        ([(2000.0, 5)] * 17, True),
        ([(2000.0, 5)] * 16 + [(0.0, 6)] + [(2000.0, 6)] * 15, False),
        ([(2000.0, number) for number in range(40)], False),  # always busy
        ([(2.5e7, number) for number in range(17)], True),  # slower than what comes
        ([(2000.0, 5)] * 8 + [(2000.0, 0)] * 9, True),  # the collector was started again
    ],
)
def test_events_that_wait_for_a_quarter_of_an_hour_are_said(
    machine: Watched, minutes: list[tuple[float, int]], *, said: bool
) -> None:
    assert queue.at_work(cloud()) == 16 * MIB
    found = []
    for waiting, sent in minutes:
        machine.metrics(logs=waiting, sent=sent)
        found += machine.look()
    assert len(found) == said
    if said:
        severity, text = found[0]
        assert (severity, text.partition(": ")[0]) == ("ERROR", words("queue"))
        assert text.endswith("logs have waited in the collector's queue for 16 minutes")


def test_of_metrics_too_and_a_collector_that_is_away_changes_nothing(machine: Watched) -> None:
    machine.metrics(points=9, sent=1)
    assert machine.look(10) == []
    (machine.fake / "metrics").unlink()
    assert machine.look(5) == []
    machine.metrics(points=9, sent=1)
    assert len(machine.look(3)) == 1
    machine.metrics()
    assert machine.look() == [("NOTICE", "telemetry-cloud: queue is in order again")]


def test_what_cloud_logging_does_not_take_is_tried_again(machine: Watched) -> None:
    machine.google.broken = {"logging"}
    machine.disk_is(90)
    machine.look()
    assert words("disk") in machine.said
    assert "Cloud Logging takes nothing (500)" in machine.said
    machine.look()
    assert machine.said == ""
    machine.google.broken = set()
    assert len(machine.look()) == 1
    assert machine.said == ""
    machine.google.broken = {"metadata"}
    machine.disk_is(10)
    machine.look()
    assert "disk is in order again" in machine.said
    machine.google.broken = set()
    assert machine.look(3) == [("NOTICE", "telemetry-cloud: disk is in order again")]


def test_the_alerts_of_the_stack_find_these_lines_and_no_other(machine: Watched) -> None:
    machine.disk_is(99)
    machine.metrics(logs=1)
    machine.does_not_answer("edge")
    lines = machine.look(20)
    machine.disk_is(1)
    machine.metrics()
    machine.answers("edge")
    over = machine.look()
    assert len(over) == len(ALERTS)
    alerts = deployed_cloud(cloud={"alertEmail": "ops@example.org"})
    policies = alerts.plain("gcp:monitoring/alertPolicy:AlertPolicy")
    for what in ALERTS:
        [condition] = policies[f"said-{what}"]["conditions"]
        text = condition["conditionMatchedLog"]["filter"]
        [searched] = re.fullmatch(r'resource\.type = "gce_instance" AND "([^"]+)"', text).groups()  # type: ignore[union-attr]
        assert len([line for _, line in lines if searched in line]) == 1, lines
        assert not [line for _, line in over if searched in line]


def test_the_token_stands_on_no_command_line(machine: Watched) -> None:
    machine.disk_is(99)
    assert machine.look()
    assert "entries:write" in (machine.fake / "words").read_text()
    assert TOKEN not in (machine.fake / "words").read_text()


def test_records_set_aside_are_gone_after_three_weeks(machine: Watched) -> None:
    """No purge reaches them there. A file is closed after a week and deleted two weeks later."""
    aside, calls = machine.disk / "queue" / "aside", machine.fake / "calls"
    aside.mkdir(parents=True)
    (aside / "aside.jsonl").write_text("{}\n")
    machine.look()
    assert (aside / "aside.jsonl").exists(), "it is young"
    a_week_ago = time.time() - 8 * 86400
    os.utime(aside / ".since", (a_week_ago, a_week_ago))
    calls.unlink(missing_ok=True)
    machine.look()
    assert "docker kill --signal HUP telemetry-collector" in calls.read_text().splitlines()
    [closed] = aside.glob("aside-*.jsonl")
    assert closed.read_text() == "{}\n"
    assert not (aside / "aside.jsonl").exists()
    machine.look()
    assert closed.exists()
    long_ago = time.time() - 15 * 86400
    os.utime(closed, (long_ago, long_ago))
    machine.look()
    assert not closed.exists()


def test_a_disk_that_was_made_larger_is_used_without_a_restart(machine: Watched) -> None:
    device = machine.root / "sdb"
    device.touch()
    (machine.root / "blocks" / "sdb").mkdir(parents=True)
    size, asked = machine.root / "blocks/sdb/size", machine.fake / "resized"
    machine.environment |= {"DEVICE": str(device), "BLOCKS": str(machine.root / "blocks")}
    machine.program("resize2fs", '#!/bin/sh\necho "$1" >> "$FAKE/resized"\n')
    size.write_text("200\n")
    machine.look(2)
    assert asked.read_text().splitlines() == [str(device)]
    size.write_text("400\n")
    assert machine.look(2) == []
    assert asked.read_text().splitlines() == 2 * [str(device)]
    machine.program("resize2fs", "#!/bin/sh\nexit 1\n")
    size.write_text("800\n")
    [(severity, text)] = machine.look()
    assert severity == "ERROR"
    assert "its file system does not grow" in text
