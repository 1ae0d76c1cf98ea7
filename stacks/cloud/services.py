"""The services of Google Cloud that the project must have switched on."""

from __future__ import annotations

import pulumi
from pulumi_gcp import projects

from stacks.cloud.part import Part, Place

ALWAYS = (
    "cloudresourcemanager",
    "compute",
    "iam",
    "iap",
    "logging",
    "monitoring",
    "secretmanager",
    "storage",
)


def needed(place: Place) -> tuple[str, ...]:
    """Their names, sorted, without `.googleapis.com`."""
    cloud = place.settings.cloud
    chosen = {"dns": bool(cloud.dns_zone), "oslogin": cloud.ssh}
    return tuple(sorted((*ALWAYS, *(name for name, wanted in chosen.items() if wanted))))


class Services(Part):
    """They stay on when the stack goes: something else in the project may use them by then."""

    def __init__(self, name: str, place: Place, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("Services", name, opts)
        for each in needed(place):
            projects.Service(
                f"service-{each}",
                projects.ServiceArgs(
                    service=f"{each}.googleapis.com",
                    disable_on_destroy=False,
                    disable_dependent_services=False,
                ),
                opts=self.options(),
            )
        self.register_outputs({})
