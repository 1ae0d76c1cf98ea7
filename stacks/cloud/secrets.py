"""Secret Manager secrets, empty: what is in them never passes through Pulumi."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import secretmanager

from infra.host.names import CLIENT_CA, CLIENTS, EDGE, KEYS, LOCK
from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

DESTROYED_AFTER = "86400s"
"""A version that somebody destroys can be had back for a day."""
_ALWAYS = (KEYS, EDGE, CLIENTS, CLIENT_CA, LOCK)


@dataclass(frozen=True, kw_only=True)
class SecretsArgs:
    """What the secrets are made from."""

    place: Place
    services: Services


class Secrets(Part):
    """Keys, the edge's CA, client certificates and their CA, the list of members. `telemetry`
    writes them, and marks LOCK while it does, by annotations that are no business of ours.

    All of them always, whatever the settings: without a version they cost nothing."""

    ids: dict[str, pulumi.Output[str]]
    """The secret ids, by what they are: `keys`, `members-1`..."""

    def __init__(
        self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Secrets", name, opts, args.services)
        names, lists = args.place.names, args.place.settings.identity.lists
        wanted = {which: names.secret(which) for which in _ALWAYS}
        wanted |= {each.removeprefix(f"{names.prefix}-"): each for each in names.members(lists)}
        self.ids = {which: self._secret(which, id_, args.place) for which, id_ in wanted.items()}
        self.register_outputs({"ids": self.ids})

    def _secret(self, which: str, identity: str, place: Place) -> pulumi.Output[str]:
        """Protected: with the keys every pseudonym is lost, with a list all logins on it."""
        region = place.settings.cloud.region
        made = secretmanager.Secret(
            which,
            secretmanager.SecretArgs(
                secret_id=identity,
                replication=secretmanager.SecretReplicationArgs(
                    user_managed=secretmanager.SecretReplicationUserManagedArgs(
                        replicas=[
                            secretmanager.SecretReplicationUserManagedReplicaArgs(location=region)
                        ]
                    )
                ),
                version_destroy_ttl=DESTROYED_AFTER,
                deletion_protection=place.settings.cloud.deletion_protection,
                labels=place.labels,
            ),
            opts=self.options(
                protect=True, ignore_changes=["annotations"] if which == LOCK else []
            ),
        )
        return made.secret_id
