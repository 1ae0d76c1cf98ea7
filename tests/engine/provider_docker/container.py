"""Containers: creating them as declared, and everything after."""

from __future__ import annotations

import base64
import io
import tarfile
import time
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit

from .schema import CONTAINER, Values
from .simple import HalfMadeError, RefusedError, Resource, labels_of
from .values import go_cpus, go_duration, nanoseconds, normal

MIB = 1024 * 1024
UPDATED_IN_PLACE = (
    "restart", "maxRetryCount", "cpuShares", "memory", "memoryReservation", "cpuSet", "memorySwap",
)  # fmt: skip


class Container(Resource):
    fields = CONTAINER
    computed = ("bridge", "containerLogs", "exitCode", "networkDatas")

    def create(self, client: docker.DockerClient, inputs: Values) -> tuple[str, Values]:
        given = {name: normal(field, inputs.get(name)) for name, field in self.fields.items()}
        if "" in given["command"]:
            raise RefusedError("values for command may not be empty")
        try:
            client.images.get(given["image"])
        except ImageNotFound as error:
            raise RefusedError(
                f"no image {given['image']!r} on the engine to make a container of"
            ) from error
        try:
            answer = client.api.create_container(**container_settings(client, given))
        except APIError as error:
            raise RefusedError(f"unable to create container: {error.explanation}") from error
        identity: str = answer["Id"]
        state = {**inputs}
        try:
            connect(client, identity, given["networksAdvanced"])
            for upload in given["uploads"]:
                put(client, identity, upload)
            if given["start"]:
                client.api.start(identity)
                if given["wait"]:
                    wait_until_healthy(client, identity, given["waitTimeout"])
            if given["attach"]:
                client.api.wait(identity)
                if given["logs"]:
                    state["containerLogs"] = client.api.logs(identity).decode(errors="replace")
        except (APIError, RefusedError) as error:
            reason = str(error.explanation if isinstance(error, APIError) else error)
            raise HalfMadeError(
                reason, identity, self.read(client, identity, state) or state
            ) from error
        return identity, self.read(client, identity, state) or state

    def read(self, client: docker.DockerClient, identity: str, state: Values) -> Values | None:
        try:
            found = client.api.inspect_container(identity)
        except NotFound:
            return None
        return {**state, **as_found(found, state)}

    def update(
        self, client: docker.DockerClient, identity: str, state: Values, news: Values
    ) -> Values:
        before = {name: normal(field, state.get(name)) for name, field in self.fields.items()}
        after = {name: normal(field, news.get(name)) for name, field in self.fields.items()}
        try:
            if after["mustRun"] and not before["mustRun"] and after["start"]:
                client.api.start(identity)
            if any(before[name] != after[name] for name in UPDATED_IN_PLACE):
                client.api.update_container(
                    identity,
                    cpu_shares=after["cpuShares"] or None,
                    cpuset_cpus=after["cpuSet"] or None,
                    mem_limit=after["memory"] * MIB or None,
                    mem_reservation=after["memoryReservation"] * MIB or None,
                    memswap_limit=mebibytes(after["memorySwap"]) or None,
                    restart_policy=restart_policy(after),
                )
        except APIError as error:
            raise RefusedError(f"unable to update container: {error.explanation}") from error
        return {**state, **news}

    def delete(self, client: docker.DockerClient, identity: str, state: Values) -> None:
        try:
            if not state.get("attach"):
                client.api.stop(identity, timeout=int(state.get("destroyGraceSeconds") or 0))
            client.api.remove_container(
                identity, force=True, v=state.get("removeVolumes") is not False
            )
        except NotFound:
            return
        except APIError as error:
            if "already in progress" not in str(error):
                raise RefusedError(f"container {state['name']}: {error.explanation}") from error


def container_settings(client: docker.DockerClient, given: Values) -> dict[str, Any]:
    """The arguments of the engine's create call."""
    capabilities = given["capabilities"] or {"adds": [], "drops": []}
    bindings: dict[int | str, list[tuple[str, int | None]]] = {}
    for port in given["ports"]:
        key = f"{port['internal']}/{port['protocol']}"
        bindings.setdefault(key, []).append((port["ip"], port["external"] or None))
    host = client.api.create_host_config(
        binds=[bind(volume) for volume in given["volumes"]],
        cap_add=capabilities["adds"],
        cap_drop=capabilities["drops"],
        cpu_shares=given["cpuShares"] or None,
        cpuset_cpus=given["cpuSet"] or None,
        dns=given["dns"],
        extra_hosts={entry["host"]: entry["ip"] for entry in given["hosts"]},
        group_add=given["groupAdds"],
        init=given["init"],
        log_config=LogConfig(type=given["logDriver"], config=given["logOpts"])
        if given["logDriver"] or given["logOpts"]
        else None,
        mem_limit=given["memory"] * MIB or None,
        mem_reservation=given["memoryReservation"] * MIB or None,
        memswap_limit=mebibytes(given["memorySwap"]) or None,
        mounts=[mount(entry) for entry in given["mounts"]],
        nano_cpus=round(float(given["cpus"]) * 1e9) if given["cpus"] else None,
        network_mode=given["networkMode"],
        port_bindings=bindings,
        privileged=given["privileged"],
        read_only=given["readOnly"],
        restart_policy=restart_policy(given),
        auto_remove=given["rm"],
        security_opt=given["securityOpts"],
        shm_size=given["shmSize"] * MIB or None,
        sysctls=given["sysctls"] or None,
        tmpfs=given["tmpfs"] or None,
        ulimits=[Ulimit(**limit) for limit in given["ulimits"]],
    )
    return {
        "image": given["image"],
        "name": given["name"],
        "command": given["command"] or None,
        "entrypoint": given["entrypoints"] or None,
        "environment": given["envs"],
        "hostname": given["hostname"] or None,
        "labels": labels_of(given),
        "user": given["user"] or None,
        "working_dir": given["workingDir"] or None,
        "stop_signal": given["stopSignal"] or None,
        "stop_timeout": given["stopTimeout"] or None,
        "ports": [(port["internal"], port["protocol"]) for port in given["ports"]],
        "healthcheck": healthcheck(given["healthcheck"]),
        "host_config": host,
    }


def healthcheck(given: Values | None) -> dict[str, Any] | None:
    if given is None:
        return None
    if nanoseconds(given["startInterval"]):
        raise RefusedError(
            "healthcheck.startInterval needs Docker's API 1.44 and is not emulated here"
        )
    return {
        "test": given["tests"],
        "interval": nanoseconds(given["interval"]),
        "timeout": nanoseconds(given["timeout"]),
        "start_period": nanoseconds(given["startPeriod"]),
        "retries": given["retries"],
    }


def mebibytes(number: int) -> int:
    """-1 means without limit and stays as it is."""
    return number * MIB if number > 0 else number


def restart_policy(given: Values) -> Any:
    return {"Name": given["restart"], "MaximumRetryCount": given["maxRetryCount"]}


def bind(volume: Values) -> str:
    source = volume["volumeName"] or volume["hostPath"]
    return f"{source}:{volume['containerPath']}:{'ro' if volume['readOnly'] else 'rw'}"


def mount(given: Values) -> Mount:
    tmpfs = given["tmpfsOptions"] or {}
    propagation = (given["bindOptions"] or {}).get("propagation")
    return Mount(
        target=given["target"],
        source=given["source"] or None,
        type=given["type"],
        read_only=given["readOnly"],
        propagation=propagation or None,
        tmpfs_size=tmpfs.get("sizeBytes") or None,
        tmpfs_mode=tmpfs.get("mode") or None,
    )


def connect(client: docker.DockerClient, identity: str, networks: list[Values]) -> None:
    if not networks:
        return
    try:
        client.api.disconnect_container_from_network(identity, "bridge")
    except APIError as error:
        if "is not connected to" not in str(error):
            raise
    for network in networks:
        client.api.connect_container_to_network(
            identity,
            network["name"],
            aliases=network["aliases"],
            ipv4_address=network["ipv4Address"] or None,
        )


def put(client: docker.DockerClient, identity: str, upload: Values) -> None:
    """Writes one uploaded file, root's and 0644 unless told otherwise, before the start."""
    ways = [name for name in ("content", "contentBase64", "source") if upload[name]]
    if len(ways) != 1:
        raise RefusedError(
            f"uploads: {upload['file']} needs exactly one of content, contentBase64 and source, "
            f"and not empty; it has {', '.join(ways) or 'none'}"
        )
    if upload["source"]:
        content = Path(upload["source"]).read_bytes()
    elif upload["contentBase64"]:
        content = base64.b64decode(upload["contentBase64"])
    else:
        content = upload["content"].encode()
    entry = tarfile.TarInfo(upload["file"])
    entry.size = len(content)
    entry.mtime = int(time.time())
    entry.mode = int(upload["permissions"] or ("0744" if upload["executable"] else "0644"), 8)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    client.api.put_archive(identity, "/", archive.getvalue())


def wait_until_healthy(client: docker.DockerClient, identity: str, seconds: int) -> None:
    until = time.monotonic() + seconds
    while True:
        health = client.api.inspect_container(identity)["State"].get("Health")
        if health is None:
            raise RefusedError("`wait` is set, but the container has no healthcheck")
        if health["Status"] == "healthy":
            return
        if time.monotonic() > until:
            raise RefusedError("container failed to be in healthy state")
        time.sleep(0.5)


def as_found(found: dict[str, Any], state: Values) -> Values:
    """The arguments and outputs as the plugin reads them back from the engine."""
    config, host, running = found["Config"], found["HostConfig"], found["State"]["Running"]
    networks = found["NetworkSettings"].get("Networks") or {}
    values: Values = {
        "name": found["Name"].lstrip("/"),
        "image": found["Image"] if str(state["image"]).startswith("sha256:") else config["Image"],
        "hostname": config["Hostname"],
        "command": config["Cmd"] or [],
        "entrypoints": config["Entrypoint"] or [],
        "user": config["User"],
        "readOnly": host["ReadonlyRootfs"],
        "restart": host["RestartPolicy"]["Name"],
        "maxRetryCount": host["RestartPolicy"]["MaximumRetryCount"],
        "memory": host["Memory"] // MIB,
        "memoryReservation": host["MemoryReservation"] // MIB,
        "memorySwap": host["MemorySwap"] // MIB if host["MemorySwap"] > 0 else host["MemorySwap"],
        "cpuShares": host["CpuShares"],
        "logDriver": host["LogConfig"]["Type"],
        "securityOpts": host["SecurityOpt"] or [],
        "init": bool(host.get("Init")),
        "networkMode": host["NetworkMode"],
        "tmpfs": host.get("Tmpfs") or {},
        "networkDatas": [
            {"networkName": name, "ipAddress": data["IPAddress"], "gateway": data["Gateway"]}
            for name, data in networks.items()
        ],
    }
    if host["CapAdd"] or host["CapDrop"]:
        values["capabilities"] = {"adds": host["CapAdd"] or [], "drops": host["CapDrop"] or []}
    if host["NanoCpus"]:
        values["cpus"] = go_cpus(host["NanoCpus"])
    if config.get("Healthcheck"):
        values["healthcheck"] = health_as_found(config["Healthcheck"])
    if state.get("ports") and (running or state.get("mustRun") is not False):
        values["ports"] = ports_as_found(found["NetworkSettings"].get("Ports") or {})
    if not running:
        values["exitCode"] = found["State"]["ExitCode"]
        values["mustRun"] = False
    return values


def health_as_found(check: dict[str, Any]) -> Values:
    return {
        "tests": check.get("Test") or [],
        "interval": go_duration(check.get("Interval", 0)),
        "timeout": go_duration(check.get("Timeout", 0)),
        "startPeriod": go_duration(check.get("StartPeriod", 0)),
        "startInterval": go_duration(check.get("StartInterval", 0)),
        "retries": check.get("Retries", 0),
    }


def ports_as_found(bindings: dict[str, list[dict[str, str]] | None]) -> list[Values]:
    return [
        {
            "internal": int(port.partition("/")[0]),
            "protocol": port.partition("/")[2],
            "ip": binding["HostIp"],
            "external": int(binding["HostPort"]),
        }
        for port, bound in bindings.items()
        for binding in bound or []
    ]
