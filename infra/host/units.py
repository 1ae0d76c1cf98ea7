"""Services as systemd units of the cloud's machine, and how what they are given is checked.

`@RUN@`, `@DISK@` and the like are filled in by the machine (apply.sh), which knows where they are.
"""

from __future__ import annotations

from infra import services
from infra.collector import queue
from infra.services import MachineService, Mount
from infra.settings import Settings

PREFIX = "telemetry-"
DOCKER_NETWORK = "telemetry"
_SCRATCH = "rw,noexec,nosuid,nodev,size=16m"
_DOCKER = "/usr/bin/docker"
_PORTS = {443: "@HTTPS_PORT@", 80: "@HTTP_PORT@", 8123: "@QUERY_PORT@"}
_CHECKS = {
    # Of each, so much as its program can tell without doing its work.
    services.CLICKHOUSE: (
        "clickhouse",
        (
            "extract-from-config --config-file /etc/clickhouse-server/config.xml --key listen_host",
            "extract-from-config --config-file /etc/clickhouse-server/config.xml --users "
            "--key users.telemetry_admin.profile",
        ),
    ),
    services.COLLECTOR: ("", ("validate --config /etc/otelcol-contrib/config.yaml",)),
    services.EDGE: ("caddy", (f"validate --config {services.EDGE_CONFIG}",)),
}


def units(settings: Settings) -> dict[str, str]:
    """Every unit of the bundle, by name."""
    found = {
        f"{PREFIX}{service.name}.service": unit(service)
        for service in services.cloud_services(settings)
    }
    return {**found, f"{PREFIX}limit.service": _limit(settings)}


def unit(service: MachineService) -> str:
    """One service as a unit. Its container is made anew at each start; nothing of it is kept."""
    container = f"{PREFIX}{service.name}"
    after = " ".join(f"{PREFIX}{name}.service" for name in service.after)
    run = [
        *("--name", container),
        *("--network", DOCKER_NETWORK),
        *("--network-alias", service.name),
        *("--ip", services.ADDRESSES[service.name]),
        *_hardened(service),
        *("--log-driver", "json-file"),
        *("--log-opt", "max-size=10m"),
        *("--log-opt", "max-file=3"),
        *(
            word
            for port in service.ports
            for word in ("--publish", f"{_PORTS[port.machine]}:{port.container}")
        ),
        *_mounted(service.mounts),
    ]
    lines = [
        "[Unit]",
        f"Description=Telemetry: {service.name}",
        "Requires=docker.service telemetry-disk.service",
        "After=docker.service telemetry-disk.service telemetry-network.service "
        f"time-sync.target{' ' + after if after else ''}",
        "",
        "[Service]",
        f"ExecStartPre=-{_DOCKER} rm --force {container}",
        "ExecStartPre=" + _command((_DOCKER, "create"), run, _program(service)),
    ]
    start = f"ExecStart={_DOCKER} start --attach {container}"
    if service.one_shot:
        # What it says is short, and about the schema alone.
        lines += ["Type=oneshot", "RemainAfterExit=yes", start, "TimeoutStartSec=600"]
    else:
        lines += [
            start,
            # Its log is Docker's file, which is bounded; once is enough.
            "StandardOutput=null",
            "StandardError=null",
            *_until_well(service, container),
            f"ExecStop={_DOCKER} stop -t {service.stop_seconds} {container}",
            f"TimeoutStopSec={service.stop_seconds + 15}",
            "Restart=always",
            "RestartSec=2",
        ]
    return "\n".join(lines) + "\n"


def _until_well(service: MachineService, container: str) -> list[str]:
    """What comes after it waits until it answers."""
    if service.health is None:
        return ["TimeoutStartSec=120"]
    asked = " ".join(service.health.command)
    return [
        f"ExecStartPost=/bin/sh -c 'until {_DOCKER} exec {container} {asked} >/dev/null 2>&1; "
        "do sleep 1; done'",
        "TimeoutStartSec=300",
    ]


def _hardened(service: MachineService) -> list[str]:
    memory = f"{service.memory_mib}m"
    return [
        *("--user", service.user),
        "--read-only",
        *("--cap-drop", "ALL"),
        *(word for name in service.capabilities for word in ("--cap-add", name)),
        *("--security-opt", "no-new-privileges"),
        # Equal: no swap.
        *("--memory", memory, "--memory-swap", memory),
        *("--cpus", f"{service.cpus:g}"),
        *(word for path in service.scratch for word in ("--tmpfs", f"{path}:{_SCRATCH}")),
        *(word for name, value in service.environment for word in ("--env", f"{name}={value}")),
    ]


def _mounted(mounts: tuple[Mount, ...]) -> list[str]:
    return [
        word
        for mount in mounts
        for word in (
            "--volume",
            f"{mount.machine}:{mount.container}{':ro' if mount.read_only else ''}",
        )
    ]


def _program(service: MachineService) -> list[str]:
    entrypoint, *arguments = service.entrypoint or ("",)
    return [
        *(("--entrypoint", entrypoint) if entrypoint else ()),
        service.image,
        *arguments,
        *service.command,
    ]


def _command(program: tuple[str, ...], options: list[str], rest: list[str]) -> str:
    """A command over several lines, an option with its value on each."""
    lines, words = [" ".join(program)], list(options)
    while words:
        word = words.pop(0)
        value = f" {words.pop(0)}" if words and not words[0].startswith("--") else ""
        lines.append(f"{word}{value}")
    return " \\\n  ".join([*lines, " ".join(rest)])


def _limit(settings: Settings) -> str:
    """The limit on new connections. Loud where the kernel lacks it: then the unit has failed."""
    edge = settings.edge
    script = f"/bin/sh {services.RUN}/config/limit/limit.sh"
    return "\n".join(
        [
            "[Unit]",
            "Description=Telemetry: limit on new connections",
            # Its chain is made with Docker's own.
            "Requires=docker.service",
            "After=docker.service",
            "PartOf=docker.service",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={script} @HTTPS_PORT@ {edge.connections_per_second} "
            f"{edge.connections_burst} @QUERY_PORT@",
            "",
        ]
    )


def settings_sh(settings: Settings, *, secrets: dict[str, str], alerts: dict[str, str]) -> str:
    """What the scripts know of the settings: images, what is wanted, where services answer, how a
    folder is checked.

    `secrets`: Secret Manager's names, by the file that each becomes. `alerts`: the words for each.
    """
    found = services.cloud_services(settings)
    images = {service.name: service.image for service in found}
    lines = [
        "#!/bin/sh",
        "# Rendered from the settings (infra/host/units.py); the other scripts read it.",
        "# shellcheck disable=SC2034",
        f"SERVICES='{' '.join(images)}'",
        f"OWN_CA={int(not settings.edge.acme)}",
        f"CLIENT_CERTIFICATES={int(settings.edge.client_certificates)}",
        f"OIDC_ISSUER='{settings.identity.oidc_issuer}'",
        "SECRETS='" + " ".join(f"{file}={name}" for file, name in secrets.items()) + "'",
        *(f"{name}='{address}'" for name, address in services.watched().items()),
        f"EDGE_NAME='{settings.edge.domain if settings.edge.acme else ''}'",
        f"QUEUE_AT_WORK={queue.at_work(settings)}",
        *(f"ALERT_{what.upper()}='{words}'" for what, words in alerts.items()),
        "",
        "image() {",
        '    case "$1" in',
        *(f"        {name}) echo '{image}' ;;" for name, image in images.items()),
        "    esac",
        "}",
        "",
        "# check SERVICE FOLDER: the program itself reads what is in the folder of the service.",
        "check() {",
        '    case "$1" in',
    ]
    for service in found:
        if service.name in _CHECKS:
            entrypoint, commands = _CHECKS[service.name]
            lines += [f"        {service.name})"]
            lines += [
                " \\\n                ".join(
                    [
                        "            docker run --rm --network none",
                        *_pairs(_hardened(service)),
                        *_pairs(_checked(service)),
                        *((f"--entrypoint {entrypoint}",) if entrypoint else ()),
                        f"'{service.image}' {command} || return",
                    ]
                )
                for command in commands
            ]
            lines += ["            ;;"]
    return "\n".join([*lines, "    esac", "}", ""])


def _pairs(words: list[str]) -> list[str]:
    """Options with their values, quoted for a shell."""
    found: list[str] = []
    for word in words:
        if word.startswith("--"):
            found.append(word)
        else:
            found[-1] += f' "{word}"' if "$" in word else f" '{word}'"
    return found


def _checked(service: MachineService) -> list[str]:
    """Mounts of a throw-away container: the folder in question, and memory for what it writes."""
    root = f"{services.RUN}/config/{service.name}"
    words = []
    for mount in service.mounts:
        if mount.machine.startswith(root):
            words += ["--volume", f"$2{mount.machine.removeprefix(root)}:{mount.container}:ro"]
        elif not mount.read_only:
            words += ["--tmpfs", f"{mount.container}:{_SCRATCH},uid=101,gid=101"]
    return words
