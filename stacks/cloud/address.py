"""The address that members send to, and the DNS record that leads to it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute, dns

from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services


@dataclass(frozen=True, kw_only=True)
class AddressArgs:
    """What the address is made from."""

    place: Place
    services: Services


class Address(Part):
    """Protected: it stands in members' settings and in certificates, and once it is given back
    somebody else gets it."""

    address: pulumi.Output[str]
    url: pulumi.Input[str]
    """Where the endpoint answers."""

    def __init__(
        self, name: str, args: AddressArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Address", name, opts, args.services)
        place = args.place
        domain, zone = place.settings.edge.domain, place.settings.cloud.dns_zone
        made = compute.Address(
            "address",
            compute.AddressArgs(
                name=place.names.address,
                region=place.settings.cloud.region,
                address_type="EXTERNAL",
                network_tier="PREMIUM",
                labels=place.labels,
                deletion_policy=place.deletion_policy,
            ),
            opts=self.options(protect=True),
        )
        self.address = made.address
        self.url = f"https://{domain}" if domain else pulumi.Output.concat("https://", self.address)
        if domain and zone:
            dns.RecordSet(
                "record",
                dns.RecordSetArgs(
                    managed_zone=zone,
                    name=f"{domain}.",
                    type="A",
                    ttl=300,
                    rrdatas=[self.address],
                ),
                opts=self.options(),
            )
        self.register_outputs({"address": self.address, "url": self.url})
