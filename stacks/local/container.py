"""A service, as data, becomes the arguments of a container. No resource is made here.

Lists are sorted and values are written as the engine reports them: anything else would differ
at every `up`, and a difference here replaces the container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_docker as docker

from infra.services import File, Health, Service

LOOPBACK: Final = "127.0.0.1"
_LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}
_SCRATCH_OPTIONS: Final = "rw,noexec,nosuid,nodev,size=16m"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a container finds around it; names and ids known only once these are made."""

    prefix: str
    network: pulumi.Input[str]
    image: pulumi.Input[str]
    volumes: Mapping[str, pulumi.Input[str]]
    watched: Mapping[str, pulumi.Input[str]]
    """Ids of containers with which this one is made anew."""


def container_args(service: Service, around: Surroundings) -> docker.ContainerArgs:
    """Everything that is declared of one container.

    A list that does not apply is given as empty instead of left out: to leave an argument out
    later would be no difference to the plugin, and the old value would stay.
    """
    health = service.health
    return docker.ContainerArgs(
        name=f"{around.prefix}-{service.name}",
        image=around.image,
        entrypoints=list(service.entrypoint) or None,
        command=list(service.command) or None,
        envs=sorted(f"{name}={value}" for name, value in service.environment),
        labels=[
            docker.ContainerLabelArgs(label=f"telemetry.watches.{name}", value=identity)
            for name, identity in sorted(around.watched.items())
        ],
        user=service.user,
        read_only=not service.files,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        # Podman reports it without the `:true` that Docker takes as well.
        security_opts=["no-new-privileges"],
        memory=service.memory_mib,
        # Equal to the memory: no swap, and no difference at every `up`.
        memory_swap=service.memory_mib,
        cpus=cpus(service.cpus),
        log_driver="json-file",
        log_opts=_LOG_OPTIONS,
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=around.network, aliases=[service.name])
        ],
        ports=[
            docker.ContainerPortArgs(
                internal=port.container, external=port.machine, ip=LOOPBACK, protocol="tcp"
            )
            for port in sorted(service.ports, key=lambda port: port.container)
        ],
        # Not `mounts`: Podman reports none, and the container would be replaced at every `up`.
        volumes=[
            docker.ContainerVolumeArgs(volume_name=around.volumes[name], container_path=path)
            for name, path in sorted(service.volumes)
        ],
        tmpfs=dict.fromkeys(sorted(service.scratch), _SCRATCH_OPTIONS),
        uploads=[_upload(file) for file in sorted(service.files, key=lambda file: file.path)],
        healthcheck=None if health is None else _healthcheck(health),
        wait=health is not None,
        wait_timeout=None if health is None else health.wait,
        stop_timeout=service.stop_seconds,
        # Without it a container is killed at once; the value of the last `up` is the one used.
        destroy_grace_seconds=service.stop_seconds,
        restart="no" if service.one_shot else "unless-stopped",
        must_run=not service.one_shot,
        attach=service.one_shot,
        logs=service.one_shot,
    )


def _upload(file: File) -> docker.ContainerUploadArgs:
    """Root's, and readable by the container's user: nobody else is in the container."""
    return docker.ContainerUploadArgs(
        file=file.path,
        content=pulumi.Output.secret(file.text) if file.secret else file.text,
        permissions="0755" if file.executable else "0644",
    )


def _healthcheck(health: Health) -> docker.ContainerHealthcheckArgs:
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *health.command],
        interval=duration(health.interval),
        timeout=duration(health.timeout),
        start_period=duration(health.start_period),
        retries=health.retries,
    )


def duration(seconds: int) -> str:
    """Seconds as Go prints them: 90 is `1m30s`, 3600 is `1h0m0s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def cpus(number: float) -> str:
    """A number of CPUs as the plugin reads it back: 2 is `2.0`, 1.25 is `1.25`, 10 is `10.`."""
    text = f"{number:.9f}"
    return f"{number:.1f}" if text.count("0") == 9 else text.rstrip("0")
