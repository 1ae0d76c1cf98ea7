"""What the cloud's machine is given, checked by the programs that read it; its other scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from infra import services
from infra.host import bundle, cloud_init, units
from infra.host.names import DATA_DEVICE, Names
from infra.settings import Settings
from infra.warehouse import migrations
from tests.cloud.machine import NAMES, SCRIPTS, Machine, cloud
from tests.debian import NoProgramError, need
from tests.infra.test_collector_config import SECRETS, differences

WITH_ALL = cloud(
    edge={
        "allowedRanges": ["0.0.0.0/0"],
        "domain": "telemetry.example.org",
        "clientCertificates": True,
    },
    identity={"oidcIssuer": "https://login.example.org", "oidcAudience": "telemetry"},
)
BOTH = pytest.mark.parametrize("settings", [cloud(), WITH_ALL], ids=["plain", "with all"])


def needed(program: str, package: str) -> str:
    """Path of a program of Debian; skips where it cannot be had."""
    try:
        need((program,), (package,))
    except NoProgramError as reason:
        pytest.skip(str(reason))
    found = shutil.which(program)
    assert found
    return found


def user_data() -> dict[str, Any]:
    """What cloud-init is given."""
    found: dict[str, Any] = yaml.safe_load(cloud_init.user_data(cloud(), NAMES))
    return found


def test_cloud_init_accepts_the_user_data(tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_text(cloud_init.user_data(cloud(), NAMES))
    done = subprocess.run(
        [needed("cloud-init", "cloud-init"), "schema", "-c", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_user_data_is_the_same_whatever_the_settings() -> None:
    """Another one would be a matter of the machine; members, rules and images are not."""
    assert cloud_init.user_data(cloud(), NAMES) == cloud_init.user_data(WITH_ALL, NAMES)
    assert len(cloud_init.user_data(cloud(), NAMES)) < 64 * 1024


@BOTH
def test_systemd_accepts_every_unit(tmp_path: Path, settings: Settings) -> None:
    analyze = needed("systemd-analyze", "systemd")
    found = {**units.units(settings), **cloud_init.UNITS}
    # Docker's program and unit are those of the machine.
    found["docker.service"] = "[Service]\nExecStart=/bin/true\n"
    for name, text in found.items():
        (tmp_path / name).write_text(text.replace("/usr/bin/docker", "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", *(tmp_path / name for name in found)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    about_ours = [line for line in done.stderr.splitlines() if "telemetry" in line]
    assert about_ours == []
    assert done.returncode == 0, done.stderr


@BOTH
def test_containers_are_given_no_more_than_they_need(settings: Settings) -> None:
    for service in services.cloud_services(settings):
        text = units.unit(service)
        for word in ("--read-only", "--cap-drop ALL", "--security-opt no-new-privileges"):
            assert word in text, service.name
        assert f"--ip {services.ADDRESSES[service.name]}" in text
        assert "--user 101:101" in text
        assert f"--memory {service.memory_mib}m" in text
        assert "--log-opt max-size=10m" in text
        assert "--privileged" not in text
        kept = [word for word in text.split() if word == "--cap-add"]
        assert len(kept) == (service.name == services.EDGE)
        assert "docker.sock" not in text
        writable = {m.container for m in service.mounts if not m.read_only}
        assert all(m.machine.startswith(services.DISK) for m in service.mounts if not m.read_only)
        assert "/etc" not in writable


def test_every_property_of_a_service_is_in_its_unit() -> None:
    """A new field of Service that no unit shows would be lost without a sound."""
    text = "".join((SCRIPTS / name).read_text() for name in ("units.py", "bundle.py"))
    for each in fields(services.MachineService):
        if each.name == "volumes":
            assert all(not found.volumes for found in services.cloud_services(WITH_ALL))
        else:
            assert f"service.{each.name}" in text, f"{each.name} is not declared"


@BOTH
def test_what_a_container_is_given_are_folders(settings: Settings) -> None:
    """A file that is replaced would stay what it was in the container."""
    found = bundle.files(settings, "cloud")
    for service in services.cloud_services(settings):
        for mount in service.mounts:
            if mount.machine.startswith(services.RUN):
                folder = mount.machine.removeprefix(f"{services.RUN}/")
                assert folder not in found
                # ClickHouse's users are made on the machine.
                assert folder.endswith("users.d") or any(p.startswith(f"{folder}/") for p in found)


@pytest.mark.parametrize(
    ("settings", "ports"),
    [(cloud(), {443, 8123}), (WITH_ALL, {443, 80, 8123})],
    ids=["plain", "with all"],
)
def test_published_are_the_edge_and_what_the_tunnel_needs(
    settings: Settings, ports: set[int]
) -> None:
    found = services.cloud_services(settings)
    assert {port.machine for service in found for port in service.ports} == ports


def _collectors(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    local = next(s for s in services.services(settings, SECRETS) if s.name == "collector")
    there = next(s for s in services.cloud_services(settings) if s.name == "collector")
    texts = [
        next(file.text for file in service.files if file.path.endswith("config.yaml"))
        for service in (local, there)
    ]
    one, other = (yaml.safe_load(text) for text in texts)
    return one, other


def test_collectors_of_local_and_cloud_differ_only_in_who_is_asking() -> None:
    local, there = _collectors(cloud())
    assert differences(local, there) == {
        "receivers.otlp.protocols.grpc",
        "receivers.otlp.protocols.http.auth",
        "extensions.basicauth/members",
        "processors.resource/login",
        "processors.transform/login",
        "service.extensions",
        "service.pipelines.logs.processors",
        "service.pipelines.metrics.processors",
        *(
            f"processors.transform/identify.{kind}_statements[{number}].statements"
            for kind in ("log", "metric")
            for number in (0, 1)
        ),
        "processors.transform/identify.log_statements[2].statements[4]",
        "processors.transform/identify.metric_statements[2].statements[4]",
    }
    pipelines = there["service"]["pipelines"]
    for signal in ("logs", "metrics"):
        steps = pipelines[signal]["processors"]
        before = local["service"]["pipelines"][signal]["processors"]
        assert [step for step in steps if not step.endswith("/login")] == before
        assert steps.index("transform/identify") < steps.index("resource/login")
        assert steps.index("transform/login") < steps.index("transform/sanitize")


def test_schema_of_local_and_cloud_is_the_same() -> None:
    settings = cloud(retention={"eventsDays": 30})
    local = next(s for s in services.services(settings, SECRETS) if s.name == "schema")
    there = next(s for s in services.cloud_services(settings) if s.name == "schema")
    assert {f.path: f.text for f in there.files} == {
        f.path: f.text for f in local.files if not f.secret
    }
    names = {f"/schema/ddl/{each.name}" for each in migrations.migrations()}
    assert names < {file.path for file in there.files}


def test_clickhouse_of_local_and_cloud_differs_only_in_whose_address_counts() -> None:
    texts = [
        next(f.text for f in service.files if f.path.endswith("config.d/telemetry.xml"))
        for found in (services.services(cloud(), SECRETS), services.cloud_services(cloud()))
        for service in found
        if service.name == "clickhouse"
    ]
    local, there = (set(text.splitlines()) for text in texts)
    assert there - local == {"  <auth_use_forwarded_address>1</auth_use_forwarded_address>"}
    assert local - there == set()


def test_users_of_the_cloud_come_from_where_they_belong() -> None:
    found = bundle.files(cloud(), "cloud")
    root = ElementTree.fromstring(found["users/head.xml"] + found["users/tail.xml"])
    ranges = {
        user: [each.text for each in root.findall(f"users/{user}/networks/ip")]
        for user in ("telemetry_admin", "telemetry_ingest")
    }
    assert ranges == {
        "telemetry_admin": ["172.30.77.5/32", "35.235.240.0/20"],
        "telemetry_ingest": ["172.30.77.4/32"],
    }


# The data disk.

_RECORDER = '#!/bin/sh\nprintf \'%s %s\\n\' "${0##*/}" "$*" >> "$FAKE/calls"\n'
_MIB = 1024 * 1024


class Disk:
    """A disk that is a file, and programs that write down what they are asked to do with it."""

    def __init__(self, folder: Path, content: bytes, kind: str = "") -> None:
        self.folder, self.device = folder, folder / f"google-{DATA_DEVICE}"
        self.device.write_bytes(content)
        (folder / "mounts").write_text("tmpfs /run tmpfs rw 0 0\n")
        (folder / "bin").mkdir()
        programs = dict.fromkeys(("mkfs.ext4", "fsck.ext4", "mount", "resize2fs"), _RECORDER)
        answer = f"echo {kind}" if kind else "exit 2"
        programs["blkid"] = f"#!/bin/sh\n{answer}\n"
        for name, text in programs.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def mount(self) -> subprocess.CompletedProcess[str]:
        """Run the script; its calls are in `calls`."""
        (self.folder / "calls").write_text("")
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAKE": str(self.folder),
            "ROOT": str(self.folder),
            "DEVICE": str(self.device),
            "DEVICE_SECONDS": "0",
            "MOUNTS": str(self.folder / "mounts"),
            "OWNER": str(os.getgid()),
            "TELEMETRY_ENV": "/nowhere",
        }
        return subprocess.run(
            ["/bin/sh", SCRIPTS / "disk.sh"], env=environment, capture_output=True, text=True
        )

    @property
    def calls(self) -> list[str]:
        """Programs that were called."""
        return [line.split()[0] for line in (self.folder / "calls").read_text().splitlines()]


def test_a_blank_disk_is_formatted_and_mounted(tmp_path: Path) -> None:
    disk = Disk(tmp_path, bytes(2 * _MIB))
    done = disk.mount()
    assert done.returncode == 0, done.stderr
    assert disk.calls == ["mkfs.ext4", "mount", "resize2fs"]
    mount = (tmp_path / "calls").read_text().splitlines()[1]
    assert f"-o noatime,nosuid,nodev {disk.device} {tmp_path}/mnt/disks/telemetry" in mount
    for folder in ("clickhouse", "queue", "caddy", "edge-log"):
        made = tmp_path / "mnt/disks/telemetry" / folder
        assert made.stat().st_gid == os.getgid()
        assert made.stat().st_mode & 0o777 == 0o750


def test_a_disk_with_our_file_system_is_mounted_and_never_formatted(tmp_path: Path) -> None:
    disk = Disk(tmp_path, b"\1" * 2 * _MIB, "ext4")
    assert disk.mount().returncode == 0
    assert disk.calls == ["fsck.ext4", "mount", "resize2fs"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bytes(2 * _MIB), "xfs"),  # blkid knows it
        (bytes(_MIB - 1) + b"\1" + bytes(_MIB), ""),  # blkid does not, yet it is not blank
        (b"\1" * 2 * _MIB, ""),
        (b"", ""),  # cannot be read
    ],
)
def test_a_disk_with_anything_else_is_left_alone(tmp_path: Path, content: bytes, kind: str) -> None:
    disk = Disk(tmp_path, content, kind)
    done = disk.mount()
    assert done.returncode == 1
    assert "it is not touched" in done.stderr
    assert disk.calls == []


def test_a_disk_that_is_not_attached_is_said(tmp_path: Path) -> None:
    disk = Disk(tmp_path, b"")
    disk.device.unlink()
    done = disk.mount()
    assert done.returncode == 1
    assert "not attached" in done.stderr


def test_a_mounted_disk_stays_mounted(tmp_path: Path) -> None:
    disk = Disk(tmp_path, bytes(2 * _MIB))
    (tmp_path / "mounts").write_text(f"/dev/sdb {tmp_path}/mnt/disks/telemetry ext4 rw 0 0\n")
    assert disk.mount().returncode == 0
    assert disk.calls == []


def test_a_link_among_the_folders_is_not_followed(tmp_path: Path) -> None:
    """A service that was taken over could have a folder of the machine given to itself."""
    disk = Disk(tmp_path, b"\1" * 2 * _MIB, "ext4")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    folder = tmp_path / "mnt/disks/telemetry/clickhouse"
    folder.mkdir(parents=True)
    (folder / "user_files").symlink_to(elsewhere)
    done = disk.mount()
    assert done.returncode == 1
    assert "clickhouse/user_files is a link" in done.stderr
    assert elsewhere.stat().st_mode & 0o777 == 0o755


# The limit on new connections, and updates.


@pytest.mark.skipif(os.geteuid() != 0, reason="rules of a network are root's to set")
def test_the_limit_is_set_once_however_often_it_is_set() -> None:
    """In a network of its own, with the real iptables."""
    needed("iptables", "iptables")
    needed("unshare", "util-linux")
    limit = f"/bin/sh {SCRIPTS / 'limit.sh'} 443 10 100 8123"
    script = f"iptables -N DOCKER-USER && {limit} && {limit} && iptables -S"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True)
    if "hashlimit" in done.stderr or "Could not fetch rule set" in done.stderr:
        pytest.skip(f"the kernel here has no hashlimit: {done.stderr}")
    assert done.returncode == 0, done.stderr
    rules = done.stdout.splitlines()
    assert rules.count("-A DOCKER-USER -j TELEMETRY") == 1
    [drop] = [rule for rule in rules if "hashlimit" in rule]
    for word in ("--ctorigdstport 443", "--hashlimit-above 10/sec", "--hashlimit-burst 100"):
        assert word in drop
    assert "srcip" in drop
    assert drop.endswith("-j DROP")
    query = [rule for rule in rules if "8123" in rule]
    assert [rule.split()[-1] for rule in query] == ["RETURN", "RETURN", "DROP"]
    [metadata] = [rule for rule in rules if "169.254.169.254" in rule]
    assert metadata.startswith("-A TELEMETRY -s 172.30.77.0/24 -d 169.254.169.254/32 -p tcp")
    assert metadata.endswith("! --dport 53 -j DROP")
    assert rules.index(metadata) < min(map(rules.index, [drop, *query])), "none returns before it"


@pytest.mark.parametrize("lacking", ["hashlimit", "DOCKER-USER"])
def test_a_limit_that_cannot_be_set_is_loud(tmp_path: Path, lacking: str) -> None:
    program = tmp_path / "iptables"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{lacking}*) exit 2 ;; esac\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", SCRIPTS / "limit.sh", "443", "10", "100", "8123"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "there is NO limit on new connections" in done.stderr


def test_a_kernel_without_that_limit_has_all_other_rules(tmp_path: Path) -> None:
    program = tmp_path / "iptables"
    program.write_text(
        '#!/bin/sh\nprintf \'%s\\n\' "$*" >> "${0%/*}/calls"\n'
        'case "$*" in *hashlimit* | *-C*) exit 2 ;; esac\n'
    )
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", SCRIPTS / "limit.sh", "443", "10", "100", "8123"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == 1
    calls = (tmp_path / "calls").read_text()
    for word in ("--ctorigdstport 8123 -j DROP", "169.254.169.254", "-I DOCKER-USER -j TELEMETRY"):
        assert word in calls


IDLE = "echo CURRENT_OP=UPDATE_STATUS_IDLE"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One that has started with the user-data that the metadata server has."""
    found = Machine(tmp_path)
    found.program("update_engine_client", f"#!/bin/sh\n{IDLE}\n")
    yield found
    found.google.stop()


def updates(machine: Machine, code: int = 0) -> list[str]:
    """What the weekly window asks of systemd."""
    return machine.run(machine.scripts / "updates.sh", code=code)


def test_the_machine_starts_again_where_an_update_waits(machine: Machine) -> None:
    assert updates(machine) == []
    waits = "echo CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT"
    machine.program("update_engine_client", f"#!/bin/sh\n{waits}\n")
    assert updates(machine) == ["systemctl reboot"]
    assert "an update of the system waits: the machine starts again" in machine.said


def test_the_machine_starts_again_where_another_user_data_waits(machine: Machine) -> None:
    elsewhere = Names(stack="cloud-test", project="my-project")
    machine.google.user_data = cloud_init.user_data(cloud(), elsewhere)
    assert updates(machine) == ["systemctl reboot"]
    assert "another user-data waits" in machine.said


def test_what_waits_is_looked_for_though_half_of_it_cannot_be_asked(machine: Machine) -> None:
    machine.program("update_engine_client", "#!/bin/sh\necho no bus >&2\nexit 1\n")
    assert updates(machine, code=1) == []
    assert "updates of the system cannot be asked for: no bus" in machine.said
    machine.google.user_data = "#cloud-config\n"
    assert updates(machine) == ["systemctl reboot"]
    machine.program("update_engine_client", f"#!/bin/sh\n{IDLE}\n")
    machine.google.broken = {"metadata"}
    assert updates(machine, code=1) == []
    assert "does not tell the user-data" in machine.said


@pytest.mark.parametrize("changed", ["a script", "a unit"])
def test_the_user_data_knows_when_it_is_another(
    tmp_path: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own_hash() -> str:
        [found] = re.findall(
            r"USER_DATA=([0-9a-f]{64})$", cloud_init.user_data(cloud(), NAMES), re.M
        )
        return str(found)

    before = own_hash()
    assert own_hash() == before
    if changed == "a unit":
        monkeypatch.setitem(cloud_init.UNITS, "telemetry-disk.service", "[Unit]\n")
    else:
        for name in cloud_init.SCRIPTS:
            (tmp_path / name).write_text("#!/bin/sh\n")
        monkeypatch.setattr(cloud_init, "_HERE", tmp_path)
    assert own_hash() != before


def test_every_script_of_the_machine_is_in_the_user_data_or_the_bundle() -> None:
    written = {Path(file["path"]).name for file in user_data()["write_files"]}
    bundled = {Path(path).name for path in bundle.files(cloud(), "cloud")}
    scripts = {path.name for path in SCRIPTS.glob("*.sh")} | {"expand.awk"}
    assert scripts <= written | bundled
