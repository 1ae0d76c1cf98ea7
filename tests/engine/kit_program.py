"""A small Pulumi program of the kit's own tests: one page served from a container."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_docker as docker

IMAGE = "telemetry-test/clickhouse-server:kit"
PAGE = "/srv/page.txt"
# The image has this folder with the right owner; a volume on any other path would belong to root.
DATA = "/var/lib/clickhouse"
SERVE = f"touch {DATA}/started; exec python3 -m http.server 8080 --directory /srv"
HEALTHY = ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/page.txt"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the program declares; `more` is laid over the arguments of the container."""

    image: str
    text: str = "first"
    memory: int = 64
    env: str = "A=1"
    protect: bool = False
    run: str = uuid.uuid4().hex[:8]

    @property
    def name(self) -> str:
        return f"telemetry-kit-{self.run}"

    def but(self, **changes: Any) -> Page:
        return replace(self, **changes)

    def program(self, **more: Any) -> Callable[[], None]:
        """The program; keyword arguments replace or add arguments of the container."""

        def declare() -> None:
            network = docker.Network("network", name=self.name)
            volume = docker.Volume(
                "data", name=self.name, opts=pulumi.ResourceOptions(protect=self.protect)
            )
            image = docker.RemoteImage("image", name=self.image, keep_locally=True)
            arguments: dict[str, Any] = {
                "name": self.name,
                "image": image.image_id,
                "entrypoints": ["/bin/sh", "-ec"],
                "command": [SERVE],
                "user": "101:101",
                "envs": [self.env],
                "memory": self.memory,
                "memory_swap": self.memory,
                "cpus": "0.5",
                "restart": "unless-stopped",
                "capabilities": {"drops": ["ALL"]},
                "security_opts": ["no-new-privileges:true"],
                "log_driver": "json-file",
                "log_opts": {"max-size": "1m", "max-file": "2"},
                "networks_advanced": [{"name": network.name, "aliases": ["page"]}],
                "ports": [{"internal": 8080, "ip": "127.0.0.1"}],
                "mounts": [{"type": "volume", "source": volume.name, "target": DATA}],
                "uploads": [{"file": PAGE, "content": pulumi.Output.secret(self.text)}],
                "healthcheck": {"tests": HEALTHY, "interval": "1s", "timeout": "2s", "retries": 3},
                "wait": True,
                "wait_timeout": 20,
            }
            container = docker.Container("page", **{**arguments, **more})
            pulumi.export("id", container.id)

        return declare
