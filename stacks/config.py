"""Where Pulumi's configuration becomes Settings; nothing else in the program reads it.

Pulumi has already laid the stack's values over the defaults of Pulumi.yaml and checked their
types; here the member's own settings.yaml comes on top (but for `cloud`) and every rule of the
model is applied.
"""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from infra.settings import (
    PROJECT,
    Settings,
    SettingsError,
    for_cloud,
    member_values,
    validated,
)
from stacks.home import Home, HomeError, find

KINDS = ("local", "cloud")
"""What a stack can deploy."""


def kind(stack: str) -> str:
    """What a stack deploys: its name up to the first hyphen, so `local-anna` is a `local`."""
    name = stack.partition("-")[0]
    if name not in KINDS:
        raise pulumi.RunError(
            f"The stack is called {stack!r}, and its name says what it deploys: it must be `local` "
            "(this machine) or `cloud` (the shared endpoint), or begin with `local-` or `cloud-`. "
            "Make one with `pulumi stack init local` or `pulumi stack init cloud`."
        )
    return name


def home() -> Home:
    """This member's state folder, made if need be."""
    found = find()
    try:
        found.prepare()
    except HomeError as error:
        raise pulumi.RunError(str(error)) from None
    return found


def settings(member: Home) -> Settings:
    """The settings of the stack at hand. A bad value ends the program before anything is made."""
    try:
        return validated((given(), member_values(member.path)))
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def cloud_settings() -> Settings:
    """The same for a `cloud` stack. It is the team's: what a member set for themselves alone does
    not count, and no state folder is needed."""
    try:
        return for_cloud(validated((given(),)))
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def given() -> dict[str, Any]:
    """All that Pulumi has under `telemetry:`, also keys that nobody declared."""
    prefix = f"{PROJECT}:"
    everything = {**get_config_env(), **CONFIG.get()}
    return {
        key.removeprefix(prefix): _plain(value)
        for key, value in everything.items()
        if key.startswith(prefix)
    }


def _plain(text: str) -> Any:
    """Objects come as JSON, scalars as they are written."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
