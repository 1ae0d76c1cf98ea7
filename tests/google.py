"""What Google's plugin would say to the inputs of a resource, as far as its SDK knows.

The SDK is generated from the plugin's schema, so the classes of arguments tell every property, its
name on the wire, its type, and whether it is required. A resource that is not checked here would
fail only in front of the real plugin.
"""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pulumi
from pulumi import _types

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine sends in a preview for a value that is known only after `up`."""
PROVIDER = "pulumi:providers:gcp"
ADDRESS = "203.0.113.7"
_JSON: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int, float),
    float: (int, float),
}

Values = Mapping[str, Any]


@cache
def arguments(kind: str) -> type:
    """Class of the arguments of a kind such as gcp:compute/instance:Instance."""
    if kind == PROVIDER:
        return typing.cast(type, importlib.import_module("pulumi_gcp").ProviderArgs)
    package, module, name = kind.split(":")
    assert package == "gcp", kind
    found = importlib.import_module(f"pulumi_gcp.{module.partition('/')[0]}")
    return typing.cast(type, getattr(found, f"{name}Args"))


def takes(kind: str, name: str) -> bool:
    """Whether a kind has such a property."""
    return name in _types.input_type_types(arguments(kind))


def failures(kind: str, values: Values) -> list[tuple[str, str]]:
    """(property, reason) for everything that the plugin would refuse."""
    expected = arguments(kind)
    if kind == PROVIDER:  # its configuration travels as texts
        types = _types.input_type_types(expected)
        values = {
            name: value if types.get(name) in (str, None) else json.loads(value)
            for name, value in values.items()
        }
    return list(_object(expected, values, ""))


def _object(expected: type, values: Values, at: str) -> Iterator[tuple[str, str]]:
    types = _types.input_type_types(expected)
    wire = _types.input_type_py_to_pulumi_names(expected)
    for name in values:
        if name not in types and not name.startswith("__"):
            yield at + name, f"{expected.__name__} has no property {name!r}"
    for name, parameter in inspect.signature(expected).parameters.items():
        if parameter.default is inspect.Parameter.empty and values.get(wire[name]) is None:
            yield at + wire[name], f"{expected.__name__} requires it"
    for name, value in values.items():
        if name in types and value is not None:
            yield from _value(types[name], value, at + name)


def _value(expected: Any, value: Any, at: str) -> Iterator[tuple[str, str]]:
    expected = _bare(expected)
    if value == UNKNOWN:
        return
    origin = typing.get_origin(expected)
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list):
            yield at, f"{value!r} is no list"
            return
        for number, each in enumerate(value):
            yield from _value(typing.get_args(expected)[0], each, f"{at}[{number}]")
    elif origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            yield at, f"{value!r} is no map"
            return
        for key, each in value.items():
            yield from _value(typing.get_args(expected)[1], each, f"{at}.{key}")
    elif expected in _JSON:
        fits = isinstance(value, _JSON[expected])
        if not fits or (expected is not bool and isinstance(value, bool)):
            yield at, f"{value!r} is no {expected.__name__}"
        elif expected is int and value != int(value):
            yield at, f"{value!r} is no whole number"
    elif isinstance(expected, type) and _types.is_input_type(expected):
        if not isinstance(value, dict):
            yield at, f"{value!r} is no {expected.__name__}"
            return
        yield from _object(expected, value, f"{at}.")
    else:
        yield at, f"there is no check for the type {expected!r}"


def _bare(expected: Any) -> Any:
    """A type without `Input` and `Optional` around it."""
    if typing.get_origin(expected) is typing.Union:
        left = [
            each
            for each in typing.get_args(expected)
            if each is not type(None)
            and typing.get_origin(each) not in (Awaitable, pulumi.Output)
            and each is not pulumi.Output
        ]
        return _bare(left[0]) if len(left) == 1 else expected
    return expected


def computed(kind: str, values: Values) -> dict[str, Any]:
    """What the plugin adds to the inputs, of what other resources may ask for."""
    name = values.get("name") or values.get("accountId") or values.get("secretId") or "made"
    found: dict[str, dict[str, Any]] = {
        "gcp:compute/address:Address": {"address": ADDRESS},
        "gcp:compute/instance:Instance": {"instanceId": "1234567890"},
        "gcp:serviceaccount/account:Account": {
            "email": f"{name}@my-project.iam.gserviceaccount.com",
            "name": f"projects/my-project/serviceAccounts/{name}",
        },
        "gcp:monitoring/notificationChannel:NotificationChannel": {
            "name": "projects/my-project/notificationChannels/1"
        },
        "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig": {"uptimeCheckId": "endpoint-1"},
    }
    return {"selfLink": f"https://compute.example/{kind}/{name}", **found.get(kind, {})}
