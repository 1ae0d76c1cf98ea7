"""Runs a program under Pulumi's mocks and keeps what it asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc

from infra.secrets import Secrets
from infra.settings import for_cloud, validated
from stacks import cloud, local
from stacks.home import Home, write_private
from tests import google

CONTAINER = "docker:index/container:Container"
VOLUME = "docker:index/volume:Volume"
IMAGE = "docker:index/remoteImage:RemoteImage"
NETWORK = "docker:index/network:Network"
PROVIDER = "pulumi:providers:docker"
INSTANCE = "gcp:compute/instance:Instance"

SECRETS = Secrets(
    member="m-velvetotter",
    admin_password="AdminVelvetOtter",
    ingest_password="IngestVelvetOtter",
    member_password="MemberVelvetOtter",
    pseudonym_key="KeyVelvetOtter",
)
_FILES = {
    "member": SECRETS.member,
    "clickhouse-admin": SECRETS.admin_password,
    "clickhouse-ingest": SECRETS.ingest_password,
    "clickhouse-member": SECRETS.member_password,
    "pseudonym-key": SECRETS.pseudonym_key,
}
_SECRET_MARK = "4dabf18193072939515e22adb298388d"


@dataclass(frozen=True, kw_only=True)
class Made:
    """One resource as it was asked for; inputs spelt as the plugin spells them."""

    kind: str
    name: str
    inputs: dict[str, Any]
    parent: str
    provider: str
    protect: bool
    delete_before_replace: bool
    replace_on_changes: tuple[str, ...]
    ignore_changes: tuple[str, ...]
    after: frozenset[str]
    """Names of the resources it waits for."""
    retain_on_delete: bool = False
    replace_with: tuple[str, ...] = ()
    """Names of the resources with which it is made anew."""


@dataclass
class Registry(mocks.Mocks):
    """Records every resource asked for, and refuses look-ups nobody declared."""

    made: list[Made] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        computed = {"imageId": f"sha256:{args.name}"} if args.typ == IMAGE else {}
        if args.typ.startswith("gcp:"):
            computed = google.computed(args.typ, args.inputs)
        return f"{args.name}-id", {**args.inputs, **computed}

    def call(self, args: mocks.MockCallArgs) -> dict[Any, Any]:  # type: ignore[override]
        raise AssertionError(f"undeclared look-up: {args.token}")

    def of(self, kind: str) -> dict[str, Made]:
        """Every resource of a kind, by its name."""
        return {each.name: each for each in self.made if each.kind == kind}

    def plain(self, kind: str) -> dict[str, dict[str, Any]]:
        """Inputs of every resource of a kind, without marks of secrecy, by its name."""
        return {name: bare(each.inputs) for name, each in self.of(kind).items()}

    @property
    def containers(self) -> dict[str, dict[str, Any]]:
        """Inputs of every container, by the name of its service."""
        return {name: each.inputs for name, each in self.of(CONTAINER).items()}


class _Monitor(mocks.MockMonitor):
    """Keeps the options too, which mocks are not shown."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._registry = registry

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        if request.type != "pulumi:pulumi:Stack":
            self._registry.made.append(
                Made(
                    kind=request.type,
                    name=request.name,
                    inputs=rpc.deserialize_properties(request.object),
                    parent=_name(request.parent),
                    provider=_name(request.provider.rpartition("::")[0]),
                    protect=request.protect,
                    delete_before_replace=request.deleteBeforeReplace,
                    replace_on_changes=tuple(request.replaceOnChanges),
                    ignore_changes=tuple(request.ignoreChanges),
                    after=frozenset(_name(urn) for urn in request.dependencies),
                    retain_on_delete=request.retainOnDelete,
                    replace_with=tuple(_name(urn) for urn in request.replace_with),
                )
            )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def is_secret(value: Any) -> bool:
    """Whether an input is kept encrypted in the state."""
    return isinstance(value, dict) and _SECRET_MARK in value


def bare(value: Any) -> Any:
    """The value with every mark of secrecy taken off."""
    if is_secret(value):
        return bare(value["value"])
    if isinstance(value, dict):
        return {key: bare(each) for key, each in value.items()}
    if isinstance(value, list):
        return [bare(each) for each in value]
    return value


def open_parts(value: Any) -> Any:
    """The value without its secret parts: what the state shows in plain text."""
    if is_secret(value):
        return None
    if isinstance(value, dict):
        return {key: open_parts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [open_parts(each) for each in value]
    return value


def home_with_secrets(folder: Path) -> Home:
    """A state folder whose secrets are SECRETS."""
    home = Home(folder)
    home.prepare()
    for name, value in _FILES.items():
        write_private(home.secrets_folder / name, value)
    return home


def run(program: Callable[[], Any], *, preview: bool = False, stack: str = "local") -> Registry:
    """Runs a program to its end, every registration landed; in an event loop of its own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        registry = Registry()
        mocks.set_mocks(
            registry,
            project="telemetry",
            stack=stack,
            preview=preview,
            monitor=_Monitor(registry),
        )
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
        return registry
    finally:
        loop.close()
        asyncio.set_event_loop(None)


def deployed(folder: Path, *, stack: str = "local", **values: Any) -> Registry:
    """What the `local` stack declares with these settings."""
    home = home_with_secrets(folder)
    outputs: dict[str, Any] = {}

    def program() -> Any:
        outputs.update(local.deploy(validated([values]), home, stack))

    registry = run(program, stack=stack)
    registry.outputs = outputs
    return registry


CLOUD: dict[str, dict[str, Any]] = {
    "cloud": {"project": "my-project"},
    "edge": {"allowedRanges": ["203.0.113.0/24"]},
}
"""The least that a `cloud` stack must be told."""


_DEPLOYED: dict[str, Registry] = {}


def deployed_cloud(*, stack: str = "cloud", preview: bool = False, **values: Any) -> Registry:
    """What the `cloud` stack declares with these settings, beside those that it needs. To render
    all of it takes a while, so it is done once for each; nobody changes what comes back."""
    key = json.dumps([stack, preview, values], sort_keys=True)
    if key not in _DEPLOYED:
        _DEPLOYED[key] = _deployed_cloud(stack, preview, values)
    return _DEPLOYED[key]


def _deployed_cloud(stack: str, preview: bool, values: dict[str, Any]) -> Registry:
    outputs: dict[str, Any] = {}

    def program() -> Any:
        outputs.update(cloud.deploy(for_cloud(validated([CLOUD, values])), stack))

    registry = run(program, stack=stack, preview=preview)
    registry.outputs = outputs
    return registry


def differing(one: Registry, other: Registry) -> dict[str, set[str]]:
    """Names of the arguments in which two declarations differ, by resource; of those that only one
    has, "made" or "gone"."""
    before, after = (
        {each.name: each.inputs for each in made.made if not each.kind.startswith("telemetry:")}
        for made in (one, other)
    )
    found = {
        name: {
            key
            for key in {*before[name], *after[name]}
            if before[name].get(key) != after[name].get(key)
        }
        for name in before.keys() & after.keys()
    }
    found |= {name: {"made"} for name in after.keys() - before.keys()}
    found |= {name: {"gone"} for name in before.keys() - after.keys()}
    return {name: keys for name, keys in found.items() if keys}
