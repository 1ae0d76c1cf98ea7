"""The `local` stack as a test drives it: a stack, ports and a state folder of its own."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import docker
import urllib3
import yaml
from clickhouse_connect.driver.client import Client

from infra.settings import Settings, load
from scripts import warehouse
from stacks.home import PROJECT, Home

from .automation import Deployment

SERVICES = ("clickhouse", "collector", "schema", "queue-owner")


@dataclass
class LocalStack:
    """One deployed `local` stack. Its name is not `local`: that one may be somebody's own."""

    name: str
    home: Home
    client: docker.DockerClient
    deployed: Deployment

    def configure(self, **values: Any) -> None:
        """Write the member's settings.yaml."""
        (self.home.path / "settings.yaml").write_text(yaml.safe_dump(values))

    def change(self, **values: Any) -> None:
        """Change some of it, group by group."""
        self.configure(
            **{**yaml.safe_load((self.home.path / "settings.yaml").read_text()), **values}
        )

    @property
    def settings(self) -> Settings:
        return load(PROJECT, self.home.path)

    def container(self, service: str) -> Any:
        return self.client.containers.get(f"telemetry-{self.name}-{service}")

    def ids(self) -> dict[str, str]:
        """Of every container that there is."""
        return {service: self.container(service).id for service in SERVICES}

    def volumes(self) -> dict[str, str]:
        """When each volume was made, by name: another time is another volume."""
        found = self.client.volumes.list(filters={"name": f"telemetry-{self.name}"})
        return {volume.name: volume.attrs["CreatedAt"] for volume in found}

    def post(self, signal: str, body: dict[str, Any]) -> int:
        """Send one OTLP/HTTP request through the published port; the status of its answer."""
        address = f"http://127.0.0.1:{self.settings.ports.otlp_http}/v1/{signal}"
        answer = urllib3.request(
            "POST",
            address,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            timeout=30,
            retries=False,
        )
        return answer.status

    def healthy(self) -> bool:
        """Whether the collector answers at its published port."""
        return warehouse.answers(f"http://127.0.0.1:{self.settings.ports.health}/")

    def as_member(self) -> Client:
        return warehouse.as_member(self.settings, self.home.secrets())

    def as_admin(self) -> Client:
        return warehouse.as_admin(self.settings, self.home.secrets())

    def asked(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows as the member sees them."""
        return [tuple(row) for row in self.as_member().query(sql).result_rows]


def program() -> None:
    """The whole Pulumi program, from its own entry point."""
    runpy.run_path(str(PROJECT / "__main__.py"))


def secrets_of(home: Home) -> Iterator[str]:
    """Every value that must be readable nowhere; the member's id is none."""
    for file in sorted(home.secrets_folder.iterdir()):
        if file.name not in ("member", "netrc"):
            yield file.read_text()


def impatient(service: Any, seconds: int) -> Any:
    """The same service, for which an `up` waits less long."""
    return replace(service, health=replace(service.health, wait=seconds))
