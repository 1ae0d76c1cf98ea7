"""The parts of the shared endpoint, put together."""

from __future__ import annotations

import pulumi

from stacks.cloud.access import Access, AccessArgs, Account, AccountArgs
from stacks.cloud.address import Address, AddressArgs
from stacks.cloud.alerts import Alerts, AlertsArgs
from stacks.cloud.backup import Backup, BucketArgs
from stacks.cloud.configuration import Configuration
from stacks.cloud.disk import Disk, DiskArgs
from stacks.cloud.network import Network, NetworkArgs
from stacks.cloud.part import Part, Place
from stacks.cloud.secrets import Secrets, SecretsArgs
from stacks.cloud.services import Services
from stacks.cloud.vm import Machine, MachineArgs


class Endpoint(Part):
    """One machine that takes telemetry of a team, and all that it needs."""

    url: pulumi.Input[str]
    address: pulumi.Output[str]

    def __init__(self, name: str, place: Place, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("Endpoint", name, opts)
        mine = pulumi.ResourceOptions(parent=self)
        services = Services("services", place, mine)
        account = Account("identity", AccountArgs(place=place, services=services), mine)
        email = account.account.email
        network = Network(
            "network", NetworkArgs(place=place, account=email, services=services), mine
        )
        address = Address("address", AddressArgs(place=place, services=services), mine)
        secrets = Secrets("secrets", SecretsArgs(place=place, services=services), mine)
        disk = Disk("disk", DiskArgs(place=place, services=services), mine)
        buckets = BucketArgs(place=place, services=services)
        backup = Backup("backup", buckets, mine)
        configuration = Configuration("configuration", buckets, mine)
        machine = Machine(
            "machine",
            MachineArgs(
                place=place,
                account=email,
                subnetwork=network.subnetwork,
                address=address.address,
                disk=disk.disk,
                services=services,
            ),
            mine,
        )
        Access(
            "access",
            AccessArgs(
                place=place,
                account=account,
                secrets=secrets.ids,
                configuration=configuration.bucket,
                backups=backup.bucket,
                instance=machine.instance,
                services=services,
            ),
            mine,
        )
        if place.settings.cloud.alert_email:
            Alerts(
                "alerts",
                AlertsArgs(place=place, address=address.address, services=services),
                mine,
            )
        self.url, self.address = address.url, address.address
        self.register_outputs({"url": self.url, "address": self.address})
