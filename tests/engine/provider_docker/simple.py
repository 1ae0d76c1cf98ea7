"""Networks, volumes and images."""

# Every kind takes the same arguments, needed or not.
# ruff: noqa: ARG002

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound

from .schema import NETWORK, REMOTE_IMAGE, VOLUME, Field, Values

REMOVE_SECONDS = 30.0


class RefusedError(Exception):
    """The operation failed; the text goes to the user."""


class HalfMadeError(RefusedError):
    """The object exists but is not as declared: it is kept in the state and replaced next time."""

    def __init__(self, reason: str, identity: str, state: Values) -> None:
        super().__init__(reason)
        self.identity = identity
        self.state = state


class Resource:
    """One kind of object on the engine. Everything it is told and tells are plain values."""

    fields: Mapping[str, Field]
    computed: tuple[str, ...] = ()
    named = True  # gets a random name where none is given; a given one is deleted before re-made

    def create(self, client: docker.DockerClient, inputs: Values) -> tuple[str, Values]:
        raise NotImplementedError

    def read(self, client: docker.DockerClient, identity: str, state: Values) -> Values | None:
        """The state as it is now; None if the object is gone."""
        raise NotImplementedError

    def update(
        self, client: docker.DockerClient, identity: str, state: Values, news: Values
    ) -> Values:
        return {**state, **news}

    def delete(self, client: docker.DockerClient, identity: str, state: Values) -> None:
        raise NotImplementedError


def labels_of(values: Values) -> dict[str, str]:
    return {entry["label"]: entry["value"] for entry in values.get("labels") or []}


class Network(Resource):
    fields = NETWORK
    computed = ("scope",)

    def create(self, client: docker.DockerClient, inputs: Values) -> tuple[str, Values]:
        pools = [
            docker.types.IPAMPool(
                subnet=pool.get("subnet"), gateway=pool.get("gateway"), iprange=pool.get("ipRange")
            )
            for pool in inputs.get("ipamConfigs") or []
        ]
        answer = client.api.create_network(
            inputs["name"],
            driver=inputs.get("driver") or "bridge",
            options=inputs.get("options"),
            ipam=docker.types.IPAMConfig(pool_configs=pools) if pools else None,
            internal=bool(inputs.get("internal")),
            attachable=bool(inputs.get("attachable")),
            enable_ipv6=bool(inputs.get("ipv6")),
            labels=labels_of(inputs),
        )
        identity: str = answer["Id"]
        return identity, self.read(client, identity, inputs) or inputs

    def read(self, client: docker.DockerClient, identity: str, state: Values) -> Values | None:
        try:
            found = client.api.inspect_network(identity)
        except NotFound:
            return None
        labels = [{"label": k, "value": v} for k, v in (found.get("Labels") or {}).items()]
        return {
            **state,
            "name": found["Name"],
            "driver": found["Driver"],
            "internal": found["Internal"],
            "attachable": found["Attachable"],
            "ipv6": found["EnableIPv6"],
            "options": found.get("Options") or {},
            "labels": labels,
            "scope": found["Scope"],
        }

    def delete(self, client: docker.DockerClient, identity: str, state: Values) -> None:
        until = time.monotonic() + REMOVE_SECONDS
        while True:
            try:
                client.api.remove_network(identity)
            except NotFound:
                return
            except APIError as error:
                if "has active endpoints" not in str(error) or time.monotonic() > until:
                    raise RefusedError(f"network {state['name']}: {error.explanation}") from error
                time.sleep(0.5)
            else:
                return


class Volume(Resource):
    fields = VOLUME
    computed = ("mountpoint",)

    def create(self, client: docker.DockerClient, inputs: Values) -> tuple[str, Values]:
        client.api.create_volume(
            inputs["name"],
            driver=inputs.get("driver"),
            driver_opts=inputs.get("driverOpts"),
            labels=labels_of(inputs),
        )
        name: str = inputs["name"]
        return name, self.read(client, name, inputs) or inputs

    def read(self, client: docker.DockerClient, identity: str, state: Values) -> Values | None:
        try:
            found = client.api.inspect_volume(identity)
        except NotFound:
            return None
        labels = [{"label": k, "value": v} for k, v in (found.get("Labels") or {}).items()]
        return {
            **state,
            "name": found["Name"],
            "driver": found["Driver"],
            "mountpoint": found["Mountpoint"],
            "labels": labels,
        }

    def delete(self, client: docker.DockerClient, identity: str, state: Values) -> None:
        until = time.monotonic() + REMOVE_SECONDS
        while True:
            try:
                client.api.remove_volume(identity)
            except NotFound:
                return
            except APIError as error:
                if "in use" not in str(error) or time.monotonic() > until:
                    raise RefusedError(f"volume {identity}: {error.explanation}") from error
                time.sleep(0.5)
            else:
                return


class RemoteImage(Resource):
    """Finds a local image. The plugin would pull an absent one; there is nowhere to pull from."""

    fields = REMOTE_IMAGE
    computed = ("imageId", "repoDigest")
    named = False

    def create(self, client: docker.DockerClient, inputs: Values) -> tuple[str, Values]:
        name = inputs["name"]
        found = _inspect(client, name)
        if found is None:
            raise RefusedError(
                f"unable to find image {name!r} on the engine, and nothing is pulled here"
            )
        return found["Id"] + name, self.read(client, found["Id"] + name, inputs) or inputs

    def read(self, client: docker.DockerClient, identity: str, state: Values) -> Values | None:
        found = _inspect(client, state["name"])
        if found is None:
            return None
        digests = found.get("RepoDigests") or [""]
        return {**state, "imageId": found["Id"], "repoDigest": digests[0]}

    def delete(self, client: docker.DockerClient, identity: str, state: Values) -> None:
        if state.get("keepLocally"):
            return
        try:
            client.api.remove_image(state["name"], force=bool(state.get("forceRemove")))
        except ImageNotFound:
            return
        except APIError as error:
            raise RefusedError(f"image {state['name']}: {error.explanation}") from error


def _inspect(client: docker.DockerClient, image: str) -> dict[str, Any] | None:
    try:
        return dict(client.images.get(image).attrs)
    except ImageNotFound:
        return None
