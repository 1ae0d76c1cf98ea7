"""A machine that boots what is rendered for the `cloud` stack: real systemd, cloud-init and Docker.

It is a container of a Debian root with these programs, in a network namespace of its own, with a
disk of its own. What differs from Container-Optimized OS: the distribution (its shell is dash, its
awk is mawk), and that Google's endpoints are those of google.py.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker

from tests.engine.debian_root import debian_root

PACKAGES = (
    "bash",
    "ca-certificates",
    "cloud-init",
    "coreutils",
    "curl",
    "dash",
    "dbus",
    "diffutils",
    "docker.io",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "iproute2",
    "iptables",
    "login",
    "mawk",
    "mount",
    "passwd",
    "procps",
    "sed",
    "systemd",
    "systemd-sysv",
    "tar",
    "udev",
    "util-linux",
)
NAME = "telemetry-test-machine:1"
_CAPABILITIES = [
    *("AUDIT_CONTROL", "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"),
    *("FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MKNOD", "NET_ADMIN"),
    *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID"),
    *("SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT"),
    *("SYS_PTRACE", "SYS_RAWIO", "SYS_TIME", "SYS_TTY_CONFIG"),
]
"""What systemd and Docker need; not all there are, which not every test machine may give."""
_INIT = """\
#!/bin/sh
# A container's cgroups and kernel settings are read-only, and its /dev has no names of disks.
awk '$2 ~ "^/(sys/fs/cgroup|proc/sys)" { print $2 }' /proc/mounts | while read -r place; do
    mount -o remount,rw,bind "$place"
done
mkdir -p /dev/disk/by-id
[ -z "${DATA_DISK:-}" ] || ln -sf "$DATA_DISK" /dev/disk/by-id/google-telemetry-data
exec /lib/systemd/systemd
"""
_USERS = {
    "root": 0,
    "messagebus": 100,
    "systemd-network": 998,
    "nobody": 65534,
}
_GROUPS = {
    "root": 0,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "kmem": 15,
    "dialout": 20,
    "cdrom": 24,
    "tape": 26,
    "audio": 29,
    "video": 44,
    "utmp": 43,
    "messagebus": 100,
    "docker": 105,
    "input": 106,
    "render": 107,
    "kvm": 108,
    "sgx": 109,
    "systemd-journal": 997,
    "systemd-network": 998,
    "nogroup": 65534,
}
_DOCKER = """\
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd -H unix:///run/docker.sock -H unix:///outside/docker.sock -l warn
"""
# The modules that Container-Optimized OS knows, as far as they concern us.
_CLOUD_INIT = """\
datasource_list: [NoCloud]
cloud_init_modules: [bootcmd, write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
"""
_ENABLED = (
    "cloud-config.service",
    "cloud-final.service",
    "cloud-init-local.service",
    "cloud-init.service",
    "docker.service",
)


@contextlib.contextmanager
def machine_image(client: docker.DockerClient) -> Iterator[str]:
    """The packages, as an image of the engine that the machine runs on."""
    repository, _, tag = NAME.rpartition(":")
    client.api.import_image(src=str(debian_root(PACKAGES)), repository=repository, tag=tag)
    yield NAME
    client.images.remove(NAME, force=True)


def _set_up(user_data: str) -> bytes:
    """What their installation would have left, and what cloud-init is to find, as a tar file."""
    files = {
        "etc/passwd": "".join(
            f"{name}:x:{number}:{number}::/root:/bin/bash\n" for name, number in _USERS.items()
        ),
        "etc/group": "".join(f"{name}:x:{number}:\n" for name, number in _GROUPS.items()),
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/machine-id": "",
        "etc/cloud/cloud.cfg": _CLOUD_INIT,
        "etc/systemd/system/docker.service.d/outside.conf": _DOCKER,
        "usr/sbin/machine-init": _INIT,
        "var/lib/cloud/seed/nocloud/meta-data": "instance-id: machine\nlocal-hostname: machine\n",
        "var/lib/cloud/seed/nocloud/user-data": user_data,
    }
    links = {
        "var/run": "/run",
        "etc/systemd/system/systemd-udevd.service": "/dev/null",
        **{
            f"etc/systemd/system/multi-user.target.wants/{unit}": f"/lib/systemd/system/{unit}"
            for unit in _ENABLED
        },
        **{
            f"usr/sbin/{name}": "xtables-nft-multi"
            for name in ("iptables", "ip6tables", "iptables-save", "iptables-restore")
        },
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size, entry.mtime = 0o755, len(text.encode()), int(time.time())
            tar.addfile(entry, io.BytesIO(text.encode()))
        for name in ("home", "mnt"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


@dataclass(frozen=True)
class Disk:
    """A disk that a machine has, and the next machine too: a file behind a loop device."""

    device: str


@contextlib.contextmanager
def disk(gib: int = 4) -> Iterator[Disk]:
    """A blank one. Takes no room until something is written."""
    with tempfile.NamedTemporaryFile(prefix="telemetry-disk-") as file:
        file.truncate(gib * 1024**3)
        found = _run("losetup", "--find", "--show", file.name).strip()
        try:
            yield Disk(found)
        finally:
            _run("losetup", "--detach", found)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Machine:
    """One that runs."""

    container: Any
    address: str
    """Of its network interface, as the outside sees it."""
    docker: docker.DockerClient
    """The engine inside."""

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints as root, errors included."""
        code, output = self.container.exec_run(list(command))
        said: str = output.decode(errors="replace")
        assert not check or code == 0, f"{command}: {said}"
        return said

    def shell(self, script: str, *, check: bool = True) -> str:
        """The same of a shell script."""
        return self.run("sh", "-c", script, check=check)

    def journal(self, *units: str) -> str:
        """What units said, or all."""
        named = [word for unit in units for word in ("-u", unit)]
        return self.run("journalctl", "--no-pager", "-o", "cat", *named)

    def file(self, path: str) -> str:
        """A file's text."""
        return self.run("cat", path)

    def containers(self) -> dict[str, str]:
        """Ids of the services' containers that run inside, by name."""
        running = self.docker.containers.list(filters={"name": "telemetry-"})
        return {str(each.name): str(each.id) for each in running}


@contextlib.contextmanager
def machine(
    client: docker.DockerClient,
    *,
    network: str,
    user_data: str,
    data: Disk,
    images: str,
    address: str,
) -> Iterator[Machine]:
    """Boots one, and takes it away again as if its plug were pulled.

    `images`: name of a volume for the engine inside, so that images are loaded once.
    """
    name = f"telemetry-machine-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="telemetry-outside-") as outside:
        endpoint = client.api.create_endpoint_config(ipv4_address=address)
        networking = client.api.create_networking_config({network: endpoint})  # type: ignore[arg-type]
        host = client.api.create_host_config(
            cap_add=_CAPABILITIES,
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            binds=[f"{images}:/var/lib/docker", f"{outside}:/outside"],
            tmpfs={"/run": "rw,mode=755", "/tmp": "rw,mode=1777"},
            devices=[f"{data.device}:{data.device}:rwm"],
        )
        # What the command line calls systempaths=unconfined.
        host.update(MaskedPaths=[], ReadonlyPaths=[])
        made = client.api.create_container(
            NAME,
            command="/usr/sbin/machine-init",
            name=name,
            hostname="machine",
            environment={"container": "docker", "DATA_DISK": data.device},
            host_config=host,
            networking_config=networking,
        )
        container = client.containers.get(made["Id"])
        try:
            container.put_archive("/", _set_up(user_data))
            container.start()
            inside = _answering(f"unix://{outside}/docker.sock", container)
            try:
                yield Machine(container, address, inside)
            finally:
                inside.close()
        finally:
            container.remove(force=True, v=True)


def _answering(host: str, container: Any) -> docker.DockerClient:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(Exception):
            client = docker.DockerClient(base_url=host, timeout=600)
            client.ping()
            return client
        time.sleep(0.2)
    raise AssertionError(f"no Docker inside the machine: {container.logs()[-2000:]}")
