"""A network of its own, closed but for what is named here."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi
from pulumi_gcp import compute

from infra.host.names import IAP_RANGE
from infra.settings import Settings
from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

RANGE = "10.77.0.0/28"
"""Of the subnetwork: one machine. The containers' own network (172.30.77.0/24) is elsewhere."""
EVERYBODY = "0.0.0.0/0"
_LAST = 65534
"""Priority just before the rules that every network has by itself, which leave no log."""
_LOGGED = compute.FirewallLogConfigArgs(metadata="INCLUDE_ALL_METADATA")


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network is made from."""

    place: Place
    account: pulumi.Input[str]
    """E-mail of the machine's service account: rules are for what runs as it. A tag would do too,
    but whoever may edit a machine may give it any tag."""
    services: Services


class Network(Part):
    """VPC, subnetwork and firewall.

    In: 443 (and 80 for an ACME issuer) from the ranges that the settings name, and for named
    administrators Google's IAP tunnel. Out: 443, for images, the bucket, the secrets, logs and
    certificates, and the port of a store elsewhere and of a team's issuer; names and time come from
    the metadata server, which no rule can close.
    Refused connections and those through the tunnel are logged, with addresses; the many of members
    are not: the edge writes those down.
    """

    subnetwork: pulumi.Output[str]

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Network", name, opts, args.services)
        self._place, self._account = args.place, args.account
        prefix = args.place.names.prefix
        self._network = compute.Network(
            "network",
            compute.NetworkArgs(
                name=prefix,
                auto_create_subnetworks=False,
                routing_mode="REGIONAL",
            ),
            opts=self.options(),
        )
        made = compute.Subnetwork(
            "subnetwork",
            compute.SubnetworkArgs(
                name=prefix,
                network=self._network.id,
                region=args.place.settings.cloud.region,
                ip_cidr_range=RANGE,
                private_ip_google_access=True,
            ),
            opts=self.options(),
        )
        self.subnetwork = made.id
        self._inward()
        self._outward()
        self.register_outputs({"subnetwork": self.subnetwork})

    def _inward(self) -> None:
        settings = self._place.settings
        web = ("443", "80") if settings.edge.acme else ("443",)
        self._allow("web", web, settings.edge.allowed_ranges)
        if settings.cloud.administrators:
            self._allow("administrators", ("8123",), (IAP_RANGE,), logged=True)
        if settings.cloud.ssh:
            self._allow("ssh", ("22",), (IAP_RANGE,), logged=True)
        self._rule(
            "deny-in",
            direction="INGRESS",
            priority=_LAST,
            source_ranges=[EVERYBODY],
            denies=[compute.FirewallDenyArgs(protocol="all")],
            log_config=_LOGGED,
        )

    def _outward(self) -> None:
        self._rule(
            "https-out",
            direction="EGRESS",
            priority=1000,
            destination_ranges=[EVERYBODY],
            target_service_accounts=[self._account],
            allows=[
                compute.FirewallAllowArgs(protocol="tcp", ports=_ways_out(self._place.settings))
            ],
        )
        self._rule(
            "deny-out",
            direction="EGRESS",
            priority=_LAST,
            destination_ranges=[EVERYBODY],
            denies=[compute.FirewallDenyArgs(protocol="all")],
            log_config=_LOGGED,
        )

    def _allow(
        self, name: str, ports: tuple[str, ...], ranges: tuple[str, ...], *, logged: bool = False
    ) -> None:
        self._rule(
            f"{name}-in",
            direction="INGRESS",
            priority=1000,
            source_ranges=sorted(ranges),
            target_service_accounts=[self._account],
            allows=[compute.FirewallAllowArgs(protocol="tcp", ports=list(ports))],
            log_config=_LOGGED if logged else None,
        )

    def _rule(
        self,
        name: str,
        *,
        direction: str,
        priority: int,
        source_ranges: list[str] | None = None,
        destination_ranges: list[str] | None = None,
        target_service_accounts: list[pulumi.Input[str]] | None = None,
        allows: list[compute.FirewallAllowArgs] | None = None,
        denies: list[compute.FirewallDenyArgs] | None = None,
        log_config: compute.FirewallLogConfigArgs | None = None,
    ) -> None:
        compute.Firewall(
            name,
            compute.FirewallArgs(
                name=f"{self._place.names.prefix}-{name}",
                network=self._network.id,
                direction=direction,
                priority=priority,
                source_ranges=source_ranges,
                destination_ranges=destination_ranges,
                target_service_accounts=target_service_accounts,
                allows=allows,
                denies=denies,
                log_config=log_config,
            ),
            opts=self.options(),
        )


def _ways_out(settings: Settings) -> list[str]:
    """Ports: of HTTPS, and of what the settings name by an address of its own."""
    named = (settings.scale.url, settings.identity.oidc_issuer)
    return sorted({"443", *(str(urlsplit(each).port or 443) for each in named)})
