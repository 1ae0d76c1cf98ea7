"""`telemetry up` and its neighbours, as a member meets them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psutil
import pytest

from scripts import warehouse
from scripts.supervise import PROGRAMS
from stacks import stores
from stacks.home import PROJECT
from tests import recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack


def secrets(stack: Stack) -> list[str]:
    """Every value that must stay in its file."""
    found = stack.home.secrets()
    return [
        found.admin_password,
        found.ingest_password,
        found.member_password,
        found.pseudonym_key,
    ]


def test_a_second_up_changes_nothing_and_says_so(stack: Stack) -> None:
    before = {name: stack.pid(name) for name in PROGRAMS}
    assert "Nothing to change" in stack.ok("up")
    assert {name: stack.pid(name) for name in PROGRAMS} == before


def test_a_changed_setting_restarts_only_what_it_concerns(own_stack: Stack) -> None:
    own_stack.ok("up")
    clickhouse, collector = (own_stack.pid(name) for name in PROGRAMS)
    own_stack.change(queue={"maxMib": 128})
    said = own_stack.ok("up")
    assert "restarted collector" in said
    assert "restarted clickhouse" not in said
    assert own_stack.pid("clickhouse") == clickhouse
    assert own_stack.pid("collector") != collector
    collector = own_stack.pid("collector")
    own_stack.change(retention={"eventsDays": 30})
    own_stack.ok("up")
    assert own_stack.pid("collector") == collector
    [(table,)] = own_stack.admin(
        "SELECT create_table_query FROM system.tables WHERE name = 'telemetry_events'"
    )
    assert "toIntervalDay(30)" in table


def test_a_bad_setting_is_refused_before_anything_is_made(own_stack: Stack) -> None:
    own_stack.change(retention={"eventsDays": 0})
    done = own_stack.run("up")
    assert done.returncode == 2
    assert "telemetry:retention.eventsDays is 0" in done.stderr
    assert "pulumi config set" in done.stderr
    assert not own_stack.home.run.exists()


def test_nothing_listens_outside_loopback(stack: Stack) -> None:
    listening = [
        connection.laddr
        for name in PROGRAMS
        for process in (
            psutil.Process(stack.pid(name)),
            *psutil.Process(stack.pid(name)).children(),
        )
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} == set(
        stack.settings.ports.model_dump(exclude={"prometheus"}).values()
    )
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_password_is_on_a_command_line_in_an_environment_or_in_a_log(stack: Stack) -> None:
    stack.ok("verify")
    shown = []
    for process in psutil.process_iter():
        try:
            shown += [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue  # ended, or another user's
    everything = "\0".join(shown) + "".join(
        file.read_text(errors="replace") for file in stack.home.log.rglob("*") if file.is_file()
    )
    assert [value for value in secrets(stack) if value in everything] == []


def test_no_password_is_in_a_rendered_file(stack: Stack) -> None:
    rendered = "".join(
        file.read_text(errors="replace") for file in stack.home.run.rglob("*") if file.is_file()
    )
    assert [value for value in secrets(stack) if value in rendered] == []


def test_only_its_owner_reads_the_state_folder(stack: Stack) -> None:
    assert PROJECT not in stack.home.path.parents
    open_to_others = [
        path
        for path in (
            stack.home.path,
            *stack.home.path.iterdir(),
            *stack.home.secrets_folder.iterdir(),
        )
        if path.name != "settings.yaml" and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_verify_leaves_no_row_behind_and_people_never_see_its_rows(stack: Stack) -> None:
    before = stack.admin("SELECT count() FROM telemetry.telemetry_events")
    found = json.loads(stack.ok("verify", "--json"))
    assert found["well"] is True
    assert found["events_sent"] > 10
    assert stack.admin("SELECT count() FROM telemetry.telemetry_events") == before
    assert stack.admin("SELECT count() FROM telemetry.metric_points WHERE synthetic != ''") == [
        (0,)
    ]


def test_verify_fails_when_rows_do_not_arrive_as_sent(own_stack: Stack) -> None:
    own_stack.ok("up")
    admin = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    view = str(admin.command("SHOW CREATE TABLE telemetry.telemetry_events_mv"))
    query = view.replace("\\n", "\n").replace("\\'", "'").partition("\nAS ")[2]
    wrong = query.replace("number(a['output_tokens']) AS output_tokens", "1 AS output_tokens")
    assert wrong != query
    admin.command(f"ALTER TABLE telemetry.telemetry_events_mv MODIFY QUERY {wrong}")
    done = own_stack.run("verify")
    assert done.returncode == 1
    assert "output_tokens is 1, " in done.stderr


def test_the_stack_of_another_state_folder_is_not_taken_for_ones_own(
    stack: Stack, tmp_path: Path
) -> None:
    other = Stack(tmp_path)
    other.change(ports=stack.settings.ports.model_dump(by_alias=True))
    asked = other.run("query", "--sql", "SELECT 1")
    assert asked.returncode == 1
    assert "started from another state folder" in asked.stderr
    seen = other.run("status", "--json")
    assert seen.returncode == 1
    assert json.loads(seen.stdout)["stack"] == "foreign"


def test_pause_closes_the_port_and_resume_opens_it(own_stack: Stack) -> None:
    own_stack.ok("up")
    assert "Paused" in own_stack.ok("pause")
    assert own_stack.pid("collector") == 0
    assert json.loads(own_stack.ok("status", "--json"))["paused_since"]
    assert "CLAUDE_CODE_ENABLE_TELEMETRY=0" in own_stack.ok("env")
    assert "Paused" in own_stack.ok("up"), "a second up does not undo a choice"
    assert own_stack.pid("collector") == 0
    own_stack.ok("resume")
    [request] = recorded.shifted([next(recorded.requests("logs"))])
    assert own_stack.post("logs", json.dumps(request.body).encode()) == 200


def test_rows_are_counted_when_the_programs_stop(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.ok("down")
    assert stores.beside_plain_processes(own_stack.settings, own_stack.home) == "", "a self-test"
    own_stack.ok("up")
    [request] = recorded.shifted([next(recorded.requests("logs"))])
    assert own_stack.post("logs", json.dumps(request.body).encode()) == 200
    sent = sum(1 for _ in recorded.events(request))
    until(lambda: own_stack.member("SELECT count() FROM telemetry_events")[0][0] == sent)
    own_stack.ok("down")
    assert f"left {sent} rows" in stores.beside_plain_processes(own_stack.settings, own_stack.home)


@pytest.mark.parametrize("answer", ["echo telemetry-local-clickhouse-data", "exit 1"])
def test_up_beside_the_rows_of_containers_is_refused(own_stack: Stack, answer: str) -> None:
    """The engine is a stand-in that says there is such a volume, or does not answer."""
    own_stack.home.prepare()
    stores.note_containers(own_stack.home, "local")
    path = {"PATH": f"{stand_in(own_stack, 'docker', answer)}:{os.environ['PATH']}"}
    done = own_stack.run("up", env=path)
    assert done.returncode == 1
    assert "telemetry-local-clickhouse-data" in done.stderr or "cannot be asked" in done.stderr
    assert "keepBoth: true" in done.stderr
    assert not own_stack.pid("clickhouse")


def test_containers_whose_volume_is_gone_are_forgotten(own_stack: Stack) -> None:
    own_stack.home.prepare()
    stores.note_containers(own_stack.home, "local")
    path = {"PATH": f"{stand_in(own_stack, 'docker', 'echo another')}:{os.environ['PATH']}"}
    own_stack.ok("up", env=path)
    assert stores.stacks(own_stack.home) == []


def stand_in(stack: Stack, name: str, script: str) -> Path:
    """A folder for the PATH with a program of this name."""
    tools = stack.user / "bin"
    tools.mkdir()
    program = tools / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return tools


def test_down_keeps_the_data_unless_told_and_asks_before_it_deletes(own_stack: Stack) -> None:
    own_stack.ok("up")
    [request] = recorded.shifted([next(recorded.requests("logs"))])
    assert own_stack.post("logs", json.dumps(request.body).encode()) == 200
    until(lambda: own_stack.member("SELECT count() FROM telemetry_events")[0][0] > 0)
    own_stack.ok("down")
    own_stack.ok("up")
    assert own_stack.member("SELECT count() FROM telemetry_events")[0][0] > 0
    refused = own_stack.run("down", "--delete-data")
    assert refused.returncode == 2
    assert str(own_stack.home.data) in refused.stdout
    assert own_stack.pid("clickhouse"), "nothing was done unasked"
    own_stack.ok("down", "--delete-data", "--yes")
    assert not own_stack.home.data.exists()
    assert own_stack.home.secrets_folder.exists()


def test_at_login_installs_and_removes_a_user_service(own_stack: Stack) -> None:
    """systemd itself does not run in most test machines: a stand-in records how it is called."""
    tools = stand_in(own_stack, "systemctl", f'echo "$@" >> {own_stack.user}/calls')
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    own_stack.ok("up", "--at-login", env=path)
    unit: Path = own_stack.user / ".config" / "systemd" / "user" / "telemetry.service"
    assert str(own_stack.home.path) in unit.read_text()
    calls = (own_stack.user / "calls").read_text()
    assert "--user enable telemetry.service" in calls
    assert json.loads(own_stack.ok("status", "--json"))["at_login"] is True
    assert "Removed" in own_stack.ok("up", "--no-at-login", env=path)
    assert not unit.exists()
    assert "--user disable telemetry.service" in (own_stack.user / "calls").read_text()
    assert "Installed" in own_stack.ok("tick", "--timer", env=path)
    timer = unit.with_name("telemetry-tick.timer")
    assert "OnUnitActiveSec=3600" in timer.read_text()
    service = unit.with_name("telemetry-tick.service").read_text()
    assert "tick" in service
    assert str(own_stack.home.path) in service
    assert "--user enable --now telemetry-tick.timer" in (own_stack.user / "calls").read_text()
    assert "Removed" in own_stack.ok("tick", "--no-timer", env=path)
    assert not timer.exists()
    assert not unit.with_name("telemetry-tick.service").exists()
