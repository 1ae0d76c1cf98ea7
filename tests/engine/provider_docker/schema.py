"""The arguments of the Docker resources that the double takes, and what a change of each means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Values = dict[str, Any]
Kind = Literal["text", "whole", "flag", "texts", "textset", "map", "block", "blocks", "ordered"]
"""texts: in order; textset, blocks: in any order; block: one object; ordered: objects in order."""

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine sends in a preview for a value that is known only after `up`."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One argument: its shape, and how the plugin treats a change of it."""

    kind: Kind = "text"
    replaces: bool = False
    computed: bool = False  # left out means: whatever is there
    required: bool = False
    default: Any = None
    pattern: str = ""
    duration: bool = False
    fields: Mapping[str, Field] | None = None


def _replaces(kind: Kind = "text", **more: Any) -> Field:
    return Field(kind=kind, replaces=True, **more)


_NEEDED = Field(required=True)
_WHOLE = Field(kind="whole")
_FLAG = Field(kind="flag")
_DURATION = Field(duration=True, default="0s")
_LABELS = _replaces("blocks", computed=True, fields={"label": _NEEDED, "value": _NEEDED})

NETWORK: Mapping[str, Field] = {
    "name": _replaces(),
    "attachable": _replaces("flag"),
    "driver": _replaces(computed=True),
    "internal": _replaces("flag", computed=True),
    "ipamConfigs": _replaces(
        "blocks", computed=True, fields={"subnet": Field(), "gateway": Field(), "ipRange": Field()}
    ),
    "ipv6": _replaces("flag"),
    "labels": _LABELS,
    "options": _replaces("map", computed=True),
}

VOLUME: Mapping[str, Field] = {
    "name": _replaces(),
    "driver": _replaces(computed=True),
    "driverOpts": _replaces("map"),
    "labels": _LABELS,
}

REMOTE_IMAGE: Mapping[str, Field] = {
    "name": _replaces(required=True),
    "forceRemove": _FLAG,
    "keepLocally": _FLAG,
    "platform": _replaces(),
    "pullTriggers": _replaces("textset"),
    "triggers": _replaces("map"),
}

_HEALTHCHECK: Mapping[str, Field] = {
    "tests": Field(kind="texts"),
    "interval": _DURATION,
    "timeout": _DURATION,
    "startPeriod": _DURATION,
    "startInterval": _DURATION,
    "retries": _WHOLE,
}
_MOUNT: Mapping[str, Field] = {
    "target": _NEEDED,
    "type": Field(required=True, pattern="bind|volume|tmpfs"),
    "source": Field(),
    "readOnly": _FLAG,
    "bindOptions": Field(kind="block", fields={"propagation": Field()}),
    "tmpfsOptions": Field(kind="block", fields={"sizeBytes": _WHOLE, "mode": _WHOLE}),
}
_PORT: Mapping[str, Field] = {
    "internal": Field(kind="whole", required=True),
    "external": Field(kind="whole", computed=True),
    "ip": Field(default="0.0.0.0"),
    "protocol": Field(default="tcp"),
}
_UPLOAD: Mapping[str, Field] = {
    "file": _NEEDED,
    "content": Field(),
    "contentBase64": Field(),
    "executable": _FLAG,
    "permissions": Field(pattern="0[0-7]{3}"),
    "source": Field(),
    "sourceHash": Field(),
}
_VOLUME_OF_CONTAINER: Mapping[str, Field] = {
    "containerPath": Field(pattern="/.*"),
    "hostPath": Field(pattern="/.*"),
    "volumeName": Field(),
    "readOnly": _FLAG,
}

CONTAINER: Mapping[str, Field] = {
    "name": _replaces(),
    "image": _replaces(required=True),
    "attach": _FLAG,
    "capabilities": _replaces(
        "block", fields={"adds": Field(kind="textset"), "drops": Field(kind="textset")}
    ),
    "command": _replaces("texts", computed=True),
    "containerReadRefreshTimeoutMilliseconds": _WHOLE,
    "cpuSet": Field(pattern=r"\d+([,-]\d+)*"),
    "cpuShares": _WHOLE,
    "cpus": _replaces(),
    "destroyGraceSeconds": _WHOLE,
    "dns": _replaces("textset"),
    "entrypoints": _replaces("texts", computed=True),
    "envs": _replaces("textset", computed=True),
    "groupAdds": _replaces("textset"),
    "healthcheck": Field(kind="block", computed=True, fields=_HEALTHCHECK),
    "hostname": _replaces(computed=True),
    "hosts": _replaces("blocks", fields={"host": _NEEDED, "ip": _NEEDED}),
    "init": Field(kind="flag", computed=True),
    "labels": _LABELS,
    "logDriver": _replaces(computed=True),
    "logOpts": _replaces("map"),
    "logs": _FLAG,
    "maxRetryCount": _WHOLE,
    "memory": _WHOLE,
    "memoryReservation": _WHOLE,
    "memorySwap": _WHOLE,
    "mounts": _replaces("blocks", fields=_MOUNT),
    "mustRun": Field(kind="flag", default=True),
    "networkMode": _replaces(default="bridge"),
    "networksAdvanced": _replaces(
        "blocks",
        fields={"name": _NEEDED, "aliases": Field(kind="textset"), "ipv4Address": Field()},
    ),
    "ports": _replaces("ordered", fields=_PORT),
    "privileged": _replaces("flag"),
    "readOnly": _replaces("flag"),
    "removeVolumes": Field(kind="flag", default=True),
    "restart": Field(default="no", pattern="no|on-failure|always|unless-stopped"),
    "rm": _FLAG,
    "securityOpts": _replaces("textset", computed=True),
    "shmSize": _replaces("whole", computed=True),
    "start": Field(kind="flag", default=True),
    "stopSignal": _replaces(computed=True),
    "stopTimeout": _replaces("whole", computed=True),
    "sysctls": _replaces("map"),
    "tmpfs": Field(kind="map"),
    "ulimits": _replaces(
        "blocks",
        fields={
            "name": _NEEDED,
            "soft": Field(kind="whole", required=True),
            "hard": Field(kind="whole", required=True),
        },
    ),
    "uploads": _replaces("blocks", fields=_UPLOAD),
    "user": _replaces(),
    "volumes": _replaces("blocks", fields=_VOLUME_OF_CONTAINER),
    "wait": _FLAG,
    "waitTimeout": Field(kind="whole", default=60),
    "workingDir": _replaces(),
}
