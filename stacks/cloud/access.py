"""Who may do what: every role that the stack gives is given here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute, iap, projects, secretmanager, serviceaccount, storage

from infra.host.names import LOCK, MACHINE_NEVER
from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

PROJECT_ROLES = ("logging.logWriter", "monitoring.metricWriter")
"""Of the machine, in the whole project: there is nothing smaller to write logs and metrics to."""
LOCK_ROLE = "secretmanager.admin"
"""Of administrators, on LOCK alone. Google has no smaller role of its own that may change a
secret's annotations. One of ours with just that would be a thing of the whole project, for which
whoever runs Pulumi would have to make roles; and its name, once deleted, is not to be had again for
weeks, so an `up` after a `destroy` would fail. What this role may besides, it may to a secret that
is empty."""


@dataclass(frozen=True, kw_only=True)
class AccountArgs:
    """What the machine's account is made from."""

    place: Place
    services: Services


class Account(Part):
    """The machine's own service account; the project's default one may do nearly everything."""

    account: serviceaccount.Account
    member: pulumi.Output[str]
    """As a binding names it."""

    def __init__(
        self, name: str, args: AccountArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Account", name, opts, args.services)
        names = args.place.names
        self.account = serviceaccount.Account(
            "account",
            serviceaccount.AccountArgs(
                account_id=names.prefix, display_name=f"Telemetry's machine ({names.stack})"
            ),
            opts=self.options(),
        )
        self.member = pulumi.Output.concat("serviceAccount:", self.account.email)
        for role in PROJECT_ROLES:
            projects.IAMMember(
                f"machine-{role}",
                projects.IAMMemberArgs(
                    project=names.project, role=f"roles/{role}", member=self.member
                ),
                opts=self.options(),
            )
        self.register_outputs({"email": self.account.email})


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """Between whom and what."""

    place: Place
    account: Account
    secrets: Mapping[str, pulumi.Input[str]]
    configuration: pulumi.Input[str]
    backups: pulumi.Input[str]
    """Names of the two buckets."""
    instance: compute.Instance
    services: Services


class Access(Part):
    """The machine reads its secrets and its configuration, and nothing else; it cannot reach the
    backups. Administrators reach ClickHouse through the tunnel, write secrets, and keep backups."""

    def __init__(
        self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Access", name, opts, args.services)
        self._args = args
        for which in (each for each in args.secrets if each not in MACHINE_NEVER):
            self._secret("machine", "secretmanager.secretAccessor", args.account.member, which)
        self._bucket("machine", "storage.objectViewer", args.account.member, args.configuration)
        for who in args.place.settings.cloud.administrators:
            self._administrator(who)
        self.register_outputs({})

    def _administrator(self, who: str) -> None:
        args = self._args
        for which in (each for each in args.secrets if each != LOCK):
            self._secret(who, "secretmanager.secretAccessor", who, which)
            # Adds versions, and destroys those that were replaced: each one kept costs something.
            self._secret(who, "secretmanager.secretVersionManager", who, which)
        self._secret(who, LOCK_ROLE, who, LOCK)
        self._bucket(who, "storage.objectAdmin", who, args.backups)
        iap.TunnelInstanceIAMMember(
            f"{who}-iap.tunnelResourceAccessor",
            iap.TunnelInstanceIAMMemberArgs(
                instance=args.instance.name,
                zone=args.place.settings.cloud.zone_name,
                role="roles/iap.tunnelResourceAccessor",
                member=who,
            ),
            opts=self._of_machine(),
        )
        # To find the machine and, on it, the address.
        self._machine(who, "compute.viewer")
        if args.place.settings.cloud.ssh:
            self._machine(who, "compute.osAdminLogin")
            serviceaccount.IAMMember(
                f"{who}-iam.serviceAccountUser",
                serviceaccount.IAMMemberArgs(
                    service_account_id=args.account.account.name,
                    role="roles/iam.serviceAccountUser",
                    member=who,
                ),
                opts=self.options(),
            )

    def _secret(self, who: str, role: str, member: pulumi.Input[str], which: str) -> None:
        secretmanager.SecretIamMember(
            f"{who}-{role}-{which}",
            secretmanager.SecretIamMemberArgs(
                secret_id=self._args.secrets[which], role=f"roles/{role}", member=member
            ),
            opts=self.options(),
        )

    def _bucket(
        self, who: str, role: str, member: pulumi.Input[str], bucket: pulumi.Input[str]
    ) -> None:
        storage.BucketIAMMember(
            f"{who}-{role}",
            storage.BucketIAMMemberArgs(bucket=bucket, role=f"roles/{role}", member=member),
            opts=self.options(),
        )

    def _machine(self, who: str, role: str) -> None:
        compute.InstanceIAMMember(
            f"{who}-{role}",
            compute.InstanceIAMMemberArgs(
                instance_name=self._args.instance.name,
                zone=self._args.place.settings.cloud.zone_name,
                role=f"roles/{role}",
                member=who,
            ),
            opts=self._of_machine(),
        )

    def _of_machine(self) -> pulumi.ResourceOptions:
        """What is granted on a machine goes with it, and its successor has the same name."""
        return self.options(replace_with=[self._args.instance])
