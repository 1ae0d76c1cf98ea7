"""What the engine asks a provider, answered with files."""

# The protocol gives the names and the arguments.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests import google

from ..provider_docker.servicer import plain, struct
from . import VERSION

REPLACES: dict[str, frozenset[str]] = {
    "Account": frozenset({"accountId"}),
    "Bucket": frozenset({"location"}),
    "BucketObject": frozenset({"bucket", "contentType", "cacheControl"}),
    "Disk": frozenset({"type"}),
    "Firewall": frozenset({"network", "direction"}),
    "Instance": frozenset({"bootDisk", "canIpForward"}),
    "RecordSet": frozenset({"managedZone", "type"}),
    "Secret": frozenset({"secretId", "replication"}),
    "Service": frozenset({"service"}),
    "Subnetwork": frozenset({"network"}),
}
ALWAYS = frozenset({"name", "project", "region", "zone", "description"})
BINDING = "role"
"""A resource with this property is a grant: whatever changes, it is another one."""
CALLED = ("secretId", "accountId", "name", "service", "displayName")
Values = dict[str, Any]


class GoogleProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The gRPC face of the double."""

    def __init__(self) -> None:
        self._cloud = Path(os.environ["TELEMETRY_TEST_CLOUD"])

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not needed")

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        values = {key: each for key, each in plain(request.news).items() if key != "version"}
        return _checked(google.PROVIDER, request.news, values)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return _different({} if plain(request.olds) == plain(request.news) else {"*": False})

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        return _checked(_kind(request.urn), request.news, plain(request.news))

    def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        kind, olds, news = _kind(request.urn), plain(request.old_inputs), plain(request.news)
        changed = {
            name: _replaces(kind, name, olds, news)
            for name in sorted({*olds, *news})
            if olds.get(name) != news.get(name) and not name.startswith("__")
        }
        return _different(changed)

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        kind, inputs = _kind(request.urn), plain(request.properties)
        if request.preview:
            computed = dict.fromkeys(google.computed(kind, inputs), google.UNKNOWN)
            return provider_pb2.CreateResponse(
                id=google.UNKNOWN, properties=struct({**computed, **inputs})
            )
        file = self._file(kind, inputs)
        if file.exists() and not kind.endswith("BucketObject"):
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{file.name} is there already")
        state = self._stored(file, kind, inputs)
        return provider_pb2.CreateResponse(id=file.name, properties=struct(state))

    def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:
        file = self._cloud / request.id
        if not file.exists():
            return provider_pb2.ReadResponse()
        state = json.loads(file.read_text())
        # What somebody else has written there comes back as if it had been asked for.
        kind, inputs = _kind(request.urn), plain(request.inputs)
        made = google.computed(kind, inputs)
        inputs |= {name: value for name, value in state.items() if name not in made}
        return provider_pb2.ReadResponse(
            id=request.id, properties=struct(state), inputs=struct(inputs)
        )

    def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:
        kind, news = _kind(request.urn), plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(
                properties=struct({**google.computed(kind, news), **news})
            )
        state = self._stored(self._cloud / request.id, kind, news)
        return provider_pb2.UpdateResponse(properties=struct(state))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        state = plain(request.properties)
        if state.get("deletionPolicy") == "PREVENT" or state.get("deletionProtection"):
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"cannot destroy {request.id} without setting deletion protection off first",
            )
        (self._cloud / request.id).unlink(missing_ok=True)
        return empty_pb2.Empty()

    def _file(self, kind: str, inputs: Values) -> Path:
        """Where an object lies. A grant is called after all that it says."""
        if BINDING in inputs:
            called = json.dumps(inputs, sort_keys=True)
        else:
            called = next(inputs[key] for key in CALLED if key in inputs)
        return self._cloud / quote(f"{kind.rpartition(':')[2]} {called}", safe=" ")

    def _stored(self, file: Path, kind: str, inputs: Values) -> Values:
        state = {**inputs, **google.computed(kind, inputs)}
        file.write_text(json.dumps(state))
        return state


def _kind(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _checked(kind: str, news: Any, values: Values) -> provider_pb2.CheckResponse:
    refused = [
        provider_pb2.CheckFailure(property=name, reason=reason)
        for name, reason in google.failures(kind, values)
    ]
    return provider_pb2.CheckResponse(inputs=news, failures=refused)


def _replaces(kind: str, name: str, olds: Values, news: Values) -> bool:
    if BINDING in news or name in ALWAYS:
        return True
    if kind.endswith(":Disk") and name == "size":
        return bool(news[name] < olds[name])
    return name in REPLACES.get(kind.rpartition(":")[2], frozenset())


def _different(changed: dict[str, bool]) -> provider_pb2.DiffResponse:
    kinds, answers = provider_pb2.PropertyDiff, provider_pb2.DiffResponse
    return answers(
        changes=answers.DIFF_SOME if changed else answers.DIFF_NONE,
        diffs=list(changed),
        replaces=[name for name, yes in changed.items() if yes],
        detailedDiff={
            name: kinds(kind=kinds.UPDATE_REPLACE if yes else kinds.UPDATE)
            for name, yes in changed.items()
        },
        hasDetailedDiff=True,
    )
