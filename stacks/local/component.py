"""The services as one Pulumi component: a network, volumes, images and containers."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from infra import services as described
from infra.identity import Login
from infra.secrets import Secrets
from infra.services import Service
from infra.settings import Settings
from stacks.local.container import Surroundings, container_args
from stacks.local.engine import engine_of


@dataclass(frozen=True, kw_only=True)
class TelemetryArgs:
    """What the component is made from: plain data, so it can decide on it."""

    settings: Settings
    secrets: Secrets
    stack: str
    """Name of the stack; part of every name on the engine, where two stacks may meet."""
    logins: tuple[Login, ...] = ()
    """Everybody's, where several people share the machine."""
    now: int = 0
    """Unix time; of the logins those are let in that hold then."""


class Telemetry(pulumi.ComponentResource):
    """Collector and ClickHouse in containers, reachable on 127.0.0.1 only."""

    endpoints: dict[str, str]
    """Where it answers: OTLP over HTTP and gRPC, ClickHouse, the collector's health."""

    def __init__(
        self, name: str, args: TelemetryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("telemetry:local:Telemetry", name, None, opts)
        self._prefix = f"telemetry-{args.stack}"
        self._engine = engine_of(args.settings)
        self._provider = docker.Provider(
            "engine",
            host=args.settings.docker.host or None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._network = docker.Network(
            "network",
            docker.NetworkArgs(name=self._prefix, driver="bridge"),
            opts=self._options(),
        )
        self._volumes = {
            volume: self._volume(volume) for volume in described.volumes(args.settings)
        }
        services = described.services(args.settings, args.secrets, logins=args.logins, now=args.now)
        self._images = self._pulled(services)
        self._containers: dict[str, docker.Container] = {}
        for service in services:
            self._containers[service.name] = self._container(service)
        self.endpoints = _endpoints(args.settings)
        self.register_outputs(self.endpoints)

    def _options(
        self, *, protect: bool = False, after: tuple[str, ...] = ()
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            provider=self._provider,
            protect=protect,
            depends_on=[self._containers[name] for name in after],
        )

    def _volume(self, name: str) -> docker.Volume:
        """Protected: neither `destroy` nor a replacement takes what was collected.

        Not retained on deletion as well: who takes the protection off wants the data gone.
        """
        return docker.Volume(
            name,
            docker.VolumeArgs(name=f"{self._prefix}-{name}", driver="local"),
            opts=self._options(protect=True),
        )

    def _pulled(self, services: tuple[Service, ...]) -> dict[str, docker.RemoteImage]:
        """One resource for each distinct image, called after the first service that runs it."""
        first = {service.image: service.name for service in reversed(services)}
        return {
            image: docker.RemoteImage(
                f"{name}-image",
                docker.RemoteImageArgs(name=image, keep_locally=True),
                opts=self._options(),
            )
            for image, name in sorted(first.items())
        }

    def _container(self, service: Service) -> docker.Container:
        surroundings = Surroundings(
            prefix=self._prefix,
            network=self._network.name,
            image=self._images[service.image].image_id,
            volumes={name: volume.name for name, volume in self._volumes.items()},
            watched=self._watched_by(service),
        )
        return docker.Container(
            service.name,
            container_args(service, surroundings),
            opts=pulumi.ResourceOptions.merge(
                self._options(after=service.after),
                # The name is taken until the old container is gone.
                pulumi.ResourceOptions(
                    replace_on_changes=list(self._engine.replaced_by),
                    delete_before_replace=True,
                    ignore_changes=list(self._engine.ignored),
                ),
            ),
        )

    def _watched_by(self, service: Service) -> dict[str, pulumi.Input[str]]:
        """The containers whose health the `schema` container proves.

        `up` waits for health only where it makes a container. So the probe is made anew with each
        of those it watches, or a collector that cannot start would pass.
        """
        if service.name != described.SCHEMA:
            return {}
        return {name: self._containers[name].id for name in service.after}


def _endpoints(settings: Settings) -> dict[str, str]:
    ports = settings.ports
    return {
        "otlpHttp": f"http://127.0.0.1:{ports.otlp_http}",
        "otlpGrpc": f"http://127.0.0.1:{ports.otlp_grpc}",
        "clickhouse": f"http://127.0.0.1:{ports.clickhouse_http}",
        "health": f"http://127.0.0.1:{ports.health}",
        **(
            {"prometheus": f"http://127.0.0.1:{ports.prometheus}"}
            if settings.own_prometheus
            else {}
        ),
    }
