"""What `pulumi up -s cloud` declares, and what it tells before and afterwards."""

from __future__ import annotations

import re

import pulumi
import pulumi_gcp as gcp

from infra.host import cost
from infra.host.names import BUNDLE_OBJECT, Names
from infra.settings import Settings
from stacks.cloud.component import Endpoint
from stacks.cloud.part import Place

KEEPS = (
    "`pulumi destroy` stops at what is protected: the data disk (what was collected), the address "
    "(members' settings and certificates name it), the secrets (keys and logins) and both buckets "
    "(backups, configuration), and, while telemetry:cloud.deletionProtection is true, the machine. "
    "`pulumi destroy --exclude-protected` removes the rest. docs/CLOUD.md tells how to delete all."
)
NEXT = "The machine waits for its secrets and the first member: docs/CLOUD.md goes on from here."
_LONGEST = {"stack": 20, "bucket": 63}
"""What Google allows: 30 letters in an account's name, of which 10 are `telemetry-`."""


def deploy(settings: Settings, stack: str) -> dict[str, pulumi.Input[str]]:
    """Declare the stack; returns its outputs by name. Raises RunError for a name that Google
    would not take."""
    names = Names(stack=stack, project=settings.cloud.project)
    _refuse_names(names)
    estimate = cost.text(settings)
    if pulumi.runtime.is_dry_run():
        pulumi.log.info("\n".join(("What it costs a month, about:", *estimate)))
    place = Place(settings=settings, names=names)
    provider = gcp.Provider(
        "google",
        gcp.ProviderArgs(
            project=names.project,
            region=settings.cloud.region,
            zone=settings.cloud.zone_name,
            # For what a part forgets; and no label but ours.
            default_labels=place.labels,
            add_pulumi_attribution_label=False,
        ),
    )
    endpoint = Endpoint("endpoint", place, pulumi.ResourceOptions(providers=[provider]))
    return {
        "endpoint": endpoint.url,
        "address": endpoint.address,
        "machine": names.instance,
        "zone": settings.cloud.zone_name,
        "configuration": f"gs://{names.configuration_bucket}/{BUNDLE_OBJECT}",
        "backups": f"gs://{names.backup_bucket}",
        "monthlyCost": "\n".join(estimate),
        "keeps": KEEPS,
        "next": NEXT,
    }


def _refuse_names(names: Names) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", names.stack) or (
        len(names.stack) > _LONGEST["stack"]
    ):
        raise pulumi.RunError(
            f"The stack is called {names.stack!r}, and Google Cloud takes its name into others: "
            f"small letters, digits and single hyphens, {_LONGEST['stack']} at most, such as "
            "`cloud-test`."
        )
    longest = max((names.configuration_bucket, names.backup_bucket), key=len)
    if len(longest) > _LONGEST["bucket"]:
        raise pulumi.RunError(
            f"The bucket {longest} would have {len(longest)} letters, and Cloud Storage takes "
            f"{_LONGEST['bucket']}. Take a shorter name for the stack."
        )
