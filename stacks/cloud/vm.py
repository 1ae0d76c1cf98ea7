"""The machine. It holds nothing that must last: replaced, it finds disk, address and secrets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute

from infra.host import cloud_init
from infra.host.names import DATA_DEVICE
from infra.settings import HYPERDISK_ONLY
from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

IMAGES = "projects/cos-cloud/global/images/family/"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""The one scope; what the account may do is said by its roles."""


@dataclass(frozen=True, kw_only=True)
class MachineArgs:
    """What the machine is made from."""

    place: Place
    account: pulumi.Input[str]
    """E-mail of its service account."""
    subnetwork: pulumi.Input[str]
    address: pulumi.Input[str]
    disk: pulumi.Input[str]
    services: Services


class Machine(Part):
    """One machine of Container-Optimized OS.

    In place, where need be by a stop and a start: machine type, account, metadata. The system reads
    its user-data at every start, so a changed one counts from the next start on. Another image,
    boot disk or zone is another machine, for which `deletionProtection` must be off. A newer image
    of the same family is not: the system updates itself.
    """

    instance: compute.Instance

    def __init__(
        self, name: str, args: MachineArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Machine", name, opts, args.services)
        place, cloud = args.place, args.place.settings.cloud
        self.instance = compute.Instance(
            "machine",
            compute.InstanceArgs(
                name=place.names.instance,
                zone=cloud.zone_name,
                machine_type=cloud.machine_type,
                allow_stopping_for_update=True,
                deletion_protection=cloud.deletion_protection,
                can_ip_forward=False,
                boot_disk=_boot_disk(place),
                attached_disks=[
                    compute.InstanceAttachedDiskArgs(
                        source=args.disk, device_name=DATA_DEVICE, mode="READ_WRITE"
                    )
                ],
                network_interfaces=[
                    compute.InstanceNetworkInterfaceArgs(
                        subnetwork=args.subnetwork,
                        access_configs=[
                            compute.InstanceNetworkInterfaceAccessConfigArgs(
                                nat_ip=args.address, network_tier="PREMIUM"
                            )
                        ],
                    )
                ],
                service_account=compute.InstanceServiceAccountArgs(
                    email=args.account, scopes=[SCOPE]
                ),
                shielded_instance_config=compute.InstanceShieldedInstanceConfigArgs(
                    enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
                ),
                scheduling=compute.InstanceSchedulingArgs(
                    automatic_restart=True, on_host_maintenance="MIGRATE", preemptible=False
                ),
                metadata=metadata(place),
                labels=place.labels,
            ),
            opts=self.options(
                # Refused before anything is touched, and not by Google halfway.
                protect=cloud.deletion_protection,
                # Name, address and disk are taken until the old machine is gone.
                delete_before_replace=True,
                ignore_changes=_ignored(place),
            ),
        )
        self.register_outputs({"name": self.instance.name})


def metadata(place: Place) -> dict[str, str]:
    """What every process on the machine can read: so nothing secret, and nothing of a member."""
    return {
        "user-data": cloud_init.user_data(place.settings, place.names),
        "enable-oslogin": "TRUE",
        "block-project-ssh-keys": "TRUE",
        "serial-port-enable": "FALSE",
        "google-logging-enabled": "true",
        "google-monitoring-enabled": "true",
        "cos-update-strategy": "update_enabled",
    }


def image(place: Place) -> str:
    """The boot image or its family."""
    cloud = place.settings.cloud
    return cloud.image or IMAGES + ("cos-arm64-stable" if cloud.arm else "cos-stable")


def _ignored(place: Place) -> list[str]:
    """Google answers with an image where a family was asked for. The plugin knows by the names that
    one is of the other, but for ARM, where it would replace the machine at every `up`."""
    cloud = place.settings.cloud
    return ["bootDisk.initializeParams.image"] if cloud.arm and not cloud.image else []


def _boot_disk(place: Place) -> compute.InstanceBootDiskArgs:
    cloud = place.settings.cloud
    modern = cloud.machine_type.startswith(HYPERDISK_ONLY)
    return compute.InstanceBootDiskArgs(
        auto_delete=True,
        device_name="boot",
        initialize_params=compute.InstanceBootDiskInitializeParamsArgs(
            image=image(place),
            size=cloud.boot_disk_gib,
            type="hyperdisk-balanced" if modern else "pd-balanced",
            labels=place.labels,
        ),
    )
