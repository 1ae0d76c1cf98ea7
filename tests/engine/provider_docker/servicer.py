"""What the engine asks a provider, answered with the resources of this package."""

# The protocol gives the names and the arguments.
# ruff: noqa: N802, ARG002

from __future__ import annotations

import os
from typing import Any

import docker
import grpc
from docker.errors import DockerException
from google.protobuf import empty_pb2, json_format, struct_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from . import VERSION
from .container import Container
from .schema import UNKNOWN, Values
from .simple import HalfMadeError, Network, RefusedError, RemoteImage, Resource, Volume
from .values import differences, failures

RESOURCES: dict[str, Resource] = {
    "docker:index/container:Container": Container(),
    "docker:index/network:Network": Network(),
    "docker:index/remoteImage:RemoteImage": RemoteImage(),
    "docker:index/volume:Volume": Volume(),
}
HALF_MADE = "__halfMade"
"""In the state of an object whose making failed: the next `up` replaces it."""
CHOSEN = "__chosenName"
"""In the inputs of an object whose name was left to the provider."""


class DockerProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The gRPC face of the double."""

    def __init__(self) -> None:
        self.client: docker.DockerClient | None = None

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not needed")

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        refused = [
            provider_pb2.CheckFailure(property=name, reason="only `host` is emulated here")
            for name in plain(request.news)
            if name not in ("host", "version") and not name.startswith("__")
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=refused)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        same = plain(request.olds).get("host") == plain(request.news).get("host")
        changes = (
            provider_pb2.DiffResponse.DIFF_NONE if same else provider_pb2.DiffResponse.DIFF_SOME
        )
        return provider_pb2.DiffResponse(changes=changes)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        host = plain(request.args).get("host") or os.environ.get("DOCKER_HOST")
        try:
            self.client = docker.DockerClient(base_url=host, timeout=600)
            self.client.ping()
        except DockerException as error:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Cannot connect to the Docker daemon at {host}. Is it running? ({error})",
            )
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        resource, news, olds = _resource(request.urn), plain(request.news), plain(request.olds)
        if resource.named and not news.get("name"):
            kept = olds.get("name") if olds.get(CHOSEN) else None
            news["name"] = kept or f"{request.name}-{request.randomSeed.hex()[:7]}"
            news[CHOSEN] = True
        refused = [
            provider_pb2.CheckFailure(property=name, reason=reason)
            for name, reason in failures(resource.fields, news)
        ]
        return provider_pb2.CheckResponse(inputs=struct(news), failures=refused)

    def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        resource, state, news = _resource(request.urn), plain(request.olds), plain(request.news)
        changed = differences(resource.fields, state, news)
        if state.get(HALF_MADE):
            changed[HALF_MADE] = True
        kinds = provider_pb2.PropertyDiff
        detailed = {
            name: kinds(kind=kinds.UPDATE_REPLACE if replaces else kinds.UPDATE)
            for name, replaces in changed.items()
        }
        replaces = [name for name, yes in changed.items() if yes]
        answers = provider_pb2.DiffResponse
        return answers(
            changes=answers.DIFF_SOME if changed else answers.DIFF_NONE,
            diffs=list(changed),
            replaces=replaces,
            detailedDiff=detailed,
            hasDetailedDiff=True,
            # Two objects cannot have the same name at the same time.
            deleteBeforeReplace=bool(replaces) and resource.named and not news.get(CHOSEN),
        )

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        resource, inputs = _resource(request.urn), plain(request.properties)
        if request.preview:
            state = dict.fromkeys(resource.computed, UNKNOWN) | inputs
            return provider_pb2.CreateResponse(id=UNKNOWN, properties=struct(state))
        try:
            identity, state = resource.create(self._docker(), inputs)
        except HalfMadeError as error:
            _abort_half_made(context, error, inputs)
        except (RefusedError, DockerException, OSError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return provider_pb2.CreateResponse(id=identity, properties=struct(state))

    def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:
        before = plain(request.properties)
        state = _resource(request.urn).read(self._docker(), request.id, before)
        if state is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id, properties=struct(state), inputs=request.inputs
        )

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        resource, state, news = _resource(request.urn), plain(request.olds), plain(request.news)
        if not request.preview:
            try:
                news = resource.update(self._docker(), request.id, state, news)
            except (RefusedError, DockerException) as error:
                context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return provider_pb2.UpdateResponse(properties=struct({**state, **news}))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            _resource(request.urn).delete(self._docker(), request.id, plain(request.properties))
        except (RefusedError, DockerException) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return empty_pb2.Empty()

    def _docker(self) -> docker.DockerClient:
        assert self.client is not None, "the engine configures a provider before it uses it"
        return self.client


def plain(message: struct_pb2.Struct) -> Values:
    values: Values = json_format.MessageToDict(message)
    return values


def struct(values: Values) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def _resource(urn: str) -> Resource:
    kind = urn.split("::")[2].rpartition("$")[2]
    if kind not in RESOURCES:
        raise RefusedError(f"{kind} is not emulated; there are {', '.join(RESOURCES)}")
    return RESOURCES[kind]


def _abort_half_made(context: grpc.ServicerContext, error: HalfMadeError, inputs: Values) -> None:
    """Fails, and yet tells the engine that there is an object to keep in the state."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identity,
        properties=struct({**error.state, HALF_MADE: True}),
        reasons=[str(error)],
        inputs=struct(inputs),
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
