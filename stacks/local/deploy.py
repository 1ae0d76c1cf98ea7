"""What `pulumi up -s local` declares, and what it tells afterwards."""

from __future__ import annotations

import time

import pulumi

from infra.settings import Settings
from stacks import members, stores
from stacks.home import Home
from stacks.local.component import Telemetry, TelemetryArgs


def deploy(settings: Settings, home: Home, stack: str) -> dict[str, pulumi.Input[str]]:
    """Declare the stack; returns its outputs by name."""
    _refuse_while_paused(home)
    _refuse_beside_plain_processes(settings, home)
    secrets = home.secrets()
    telemetry = Telemetry(
        "telemetry",
        TelemetryArgs(
            settings=settings,
            secrets=secrets,
            stack=stack,
            logins=members.sharing(settings, home),
            now=int(time.time()),
        ),
    )
    if not pulumi.runtime.is_dry_run():
        stores.note_containers(home, stack)
    login = f"machine 127.0.0.1 login {secrets.member} password {secrets.member_password}"
    return {
        **telemetry.endpoints,
        "next": "telemetry verify",
        "member": pulumi.Output.secret(secrets.member),
        "netrc": pulumi.Output.secret(login),
    }


def _refuse_while_paused(home: Home) -> None:
    """A container made anew would collect, although the member has stopped collection."""
    if home.paused.exists():
        raise pulumi.RunError(
            "Collection is paused, and this would start it again. If that is wanted, run "
            f"`telemetry resume` first (or remove {home.paused})."
        )


def _refuse_beside_plain_processes(settings: Settings, home: Home) -> None:
    """A preview makes nothing, so it goes on; it tells what an update would say."""
    problem = stores.beside_plain_processes(settings, home)
    if problem and pulumi.runtime.is_dry_run():
        pulumi.log.warn(problem)
    elif problem:
        raise pulumi.RunError(problem)
