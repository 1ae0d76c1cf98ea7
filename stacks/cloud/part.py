"""What the parts of the stack have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from infra.host.names import Names
from infra.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and for whom a part is made: plain data, so a part can decide on it."""

    settings: Settings
    names: Names

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything that takes some; the team's own cannot take ours away."""
        return {**self.settings.cloud.labels, "app": "telemetry", "stack": self.names.stack}

    @property
    def deletion_policy(self) -> str:
        """Of what holds data or is known outside: the provider refuses to delete it."""
        return "PREVENT" if self.settings.cloud.deletion_protection else "DELETE"


class Part(pulumi.ComponentResource):
    """A component whose children come after the parts that it waits for."""

    def __init__(
        self, kind: str, name: str, opts: pulumi.ResourceOptions | None, *after: pulumi.Resource
    ) -> None:
        super().__init__(f"telemetry:cloud:{kind}", name, None, opts)
        self._after = list(after)

    def options(
        self, *after: pulumi.Resource, protect: bool = False, **more: Any
    ) -> pulumi.ResourceOptions:
        """Options of a child. The provider comes down from the outermost component."""
        return pulumi.ResourceOptions(
            parent=self, depends_on=[*self._after, *after], protect=protect, **more
        )
