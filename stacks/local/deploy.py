"""What `pulumi up -s local` declares, and what it tells afterwards."""

from __future__ import annotations

import pulumi

from infra.settings import Settings
from stacks.home import Home
from stacks.local.component import Telemetry, TelemetryArgs


def deploy(settings: Settings, home: Home, stack: str) -> dict[str, pulumi.Input[str]]:
    """Declare the stack; returns its outputs by name."""
    _refuse_while_paused(home)
    secrets = home.secrets()
    telemetry = Telemetry(
        "telemetry", TelemetryArgs(settings=settings, secrets=secrets, stack=stack)
    )
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
