"""The whole shared endpoint on one machine: what is rendered, started by the machine's own means.

The machine is that of vm.py, Google's endpoints those of google.py; Caddy, collector and ClickHouse
run in containers inside, from images made here.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bcrypt
import docker
import yaml

from infra import versions
from infra.host import bundle, cloud_init
from infra.host.names import EDGE, KEYS
from infra.identity import NONE, Hash, Login, Role, table
from infra.settings import Settings, validated
from infra.warehouse.access import password_hash
from tests.cloud import vm
from tests.cloud.certificates import Authority
from tests.cloud.conftest import NAMES
from tests.cloud.google import Google
from tests.cloud.outside import Outside, basic
from tests.engine import images

SUBNET, GATEWAY, ADDRESS = "172.29.7.0/24", "172.29.7.1", "172.29.7.10"
TUNNEL = "35.235.240.5"
"""One of Google's IAP tunnel, here an address of this machine."""
STRANGERS = tuple(f"198.51.100.{number}" for number in range(1, 9))
"""Others from which somebody may come, also of this machine."""


@dataclass(frozen=True)
class Person:
    """Somebody with credentials."""

    login: Login
    query: str = field(repr=False)
    ingest: str = field(repr=False)

    @property
    def id(self) -> str:
        """Opaque."""
        return self.login.id

    @property
    def ingest_login(self) -> str:
        """Of the collector."""
        return self.login.ingest_name(0)

    @staticmethod
    def made(name: str, *, role: Role = "member", team: str = "") -> Person:
        """`name`: four letters or so, for a readable id."""
        query, ingest = secrets.token_hex(16), secrets.token_hex(16)
        hashed = bcrypt.hashpw(ingest.encode(), bcrypt.gensalt(4)).decode()
        return Person(
            Login(
                id=f"m-{(name + 'xxxxxxxxxx')[:10]}",
                role=role,
                team=team,
                query=(Hash(password_hash(query)),),
                ingest=(Hash(hashed), NONE) if role == "member" else (NONE, NONE),
            ),
            query,
            ingest,
        )


def until(true: Callable[[], object], seconds: float = 60, what: str = "") -> None:
    """Wait for something that comes by itself."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not so after {seconds} s {what}"
        time.sleep(0.3)


@dataclass
class Endpoint:
    """One that runs, and what it was given."""

    client: docker.DockerClient
    google: Google
    disk: vm.Disk
    network: str
    images: str
    folder: Path
    authority: Authority
    values: dict[str, Any]
    people: list[Person] = field(default_factory=list)
    admin_password: str = field(default_factory=lambda: f"A{secrets.token_hex(16)}", repr=False)
    machine: vm.Machine = None  # type: ignore[assignment]

    @property
    def settings(self) -> Settings:
        """As they stand in Pulumi.cloud.yaml."""
        return validated([self.values])

    @property
    def ca(self) -> Path:
        """The endpoint's own CA, as members get it."""
        return self.folder / "ca.pem"

    def outside(self, source: str = "") -> Outside:
        """From this machine, or one of its other addresses."""
        return Outside(ADDRESS, self.ca, source=source)

    def render(self) -> None:
        """What `pulumi up` does where settings changed: another object in the bucket."""
        self.google.bundle = bundle.bundle(self.settings, NAMES.stack)

    def publish(self) -> None:
        """What `telemetry member` does: another version of the list."""
        self.google.secrets[NAMES.secret("members-1")] = table(each.login for each in self.people)

    def let_in(self, person: Person) -> Person:
        """One more on the list, or someone as they are now."""
        self.people = [each for each in self.people if each.id != person.id]
        self.people.append(person)
        self.publish()
        return person

    def person(self, name: str) -> Person:
        """Of those on the list, by the beginning of their id."""
        [found] = [each for each in self.people if each.id.startswith(f"m-{name}")]
        return found

    def shut_out(self, person: Person) -> None:
        """Off the list."""
        self.people = [each for each in self.people if each.id != person.id]
        self.publish()

    @contextlib.contextmanager
    def running(self) -> Iterator[vm.Machine]:
        """The machine, started; ended as if its plug were pulled."""
        with vm.machine(
            self.client,
            network=self.network,
            user_data=self._user_data(),
            data=self.disk,
            images=self.images,
            address=ADDRESS,
        ) as found:
            self.machine = found
            yield found

    def _user_data(self) -> str:
        """As rendered, but for where Google's endpoints are."""
        text = cloud_init.user_data(self.settings, NAMES)
        content = yaml.safe_load(text)
        [env] = [
            each for each in content["write_files"] if each["path"] == "/etc/telemetry/host.env"
        ]
        for name in ("METADATA", "SECRET_MANAGER", "STORAGE", "LOGGING"):
            env["content"] += f"{name}={self.google.url}\n"
        return "#cloud-config\n" + yaml.safe_dump(content)

    def answers(self) -> bool:
        """Whether the edge says that the collector is well."""
        with contextlib.suppress(OSError):
            return self.outside().request("GET", "/healthz", seconds=3).status == 200
        return False

    def admin(self, sql: str) -> list[list[str]]:
        """Asked as the administrator, from an address of Google's tunnel: rows of fields."""
        with contextlib.closing(
            http.client.HTTPConnection(ADDRESS, 8123, timeout=30, source_address=(TUNNEL, 0))
        ) as connection:
            login = basic("telemetry_admin", self.admin_password)
            connection.request("POST", "/", sql.encode(), login)
            reply = connection.getresponse()
            text = reply.read().decode()
            assert reply.status == 200, text
            return [line.split("\t") for line in text.splitlines()]


@contextlib.contextmanager
def endpoint(client: docker.DockerClient, folder: Path, **values: Any) -> Iterator[Endpoint]:
    """Everything that a machine needs to start: a network, a disk, images, Google's answers."""
    name = f"telemetry-cloud-{uuid.uuid4().hex[:8]}"
    pool = docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)
    network = client.networks.create(name, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    volume = client.volumes.create(name)
    google = Google(address=ADDRESS)
    google.start(GATEWAY)
    # They go when the network does.
    for address in (TUNNEL, *STRANGERS):
        bridge = f"br-{str(network.id)[:12]}"
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", bridge], check=True)
    try:
        with vm.machine_image(client), vm.disk() as disk:
            found = Endpoint(
                client,
                google,
                disk,
                name,
                name,
                folder,
                Authority("Telemetry of a test"),
                {
                    "cloud": {"project": NAMES.project},
                    "edge": {"allowedRanges": ["0.0.0.0/0"]},
                    "privacy": {"cohortFloor": 3},
                    **values,
                },
            )
            google.secrets[NAMES.secret(KEYS)] = (
                f"admin_password={found.admin_password}\ningest_password=I{secrets.token_hex(16)}\n"
                f"pseudonym_key=K{secrets.token_hex(16)}\n"
            )
            google.secrets[NAMES.secret(EDGE)] = found.authority.certificate + found.authority.key
            found.ca.write_text(found.authority.certificate)
            _load_images(found)
            yield found
    finally:
        google.stop()
        volume.remove(force=True)
        network.remove()


def _load_images(found: Endpoint) -> None:
    """Into the volume of the engine inside, which each machine finds them in."""
    machine = replace(found, people=[])
    with machine.running() as running, contextlib.ExitStack() as kept:
        for make, name in (
            (images.collector_image, versions.COLLECTOR_IMAGE.partition("@")[0]),
            (images.clickhouse_image, versions.CLICKHOUSE_IMAGE),
            (images.caddy_image, versions.EDGE_IMAGE),
        ):
            kept.enter_context(make(running.docker, name))
        # They stay: only their volume takes them away.
        kept.pop_all()
        running.run("sync")
