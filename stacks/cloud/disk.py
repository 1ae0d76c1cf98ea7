"""The data disk, apart from the machine that it is in, and its snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute

from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

SNAPSHOT_AT = "04:00"
"""UTC; Google takes every fourth hour only."""


@dataclass(frozen=True, kw_only=True)
class DiskArgs:
    """What the disk is made from."""

    place: Place
    services: Services


class Disk(Part):
    """Protected: neither `destroy` nor a replacement takes what was collected. It grows in place;
    to shrink it, or to move it to another zone or type, would be another disk, which is refused.
    So would be a description that changes, hence there is none; likewise for the address."""

    disk: pulumi.Output[str]

    def __init__(
        self, name: str, args: DiskArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Disk", name, opts, args.services)
        place, cloud = args.place, args.place.settings.cloud
        made = compute.Disk(
            "data",
            compute.DiskArgs(
                name=f"{place.names.prefix}-data",
                zone=cloud.zone_name,
                type=cloud.data_disk_type,
                size=cloud.data_disk_gib,
                labels=place.labels,
                deletion_policy=place.deletion_policy,
            ),
            opts=self.options(protect=True),
        )
        schedule = compute.ResourcePolicy(
            "snapshots",
            compute.ResourcePolicyArgs(
                name=f"{place.names.prefix}-snapshots",
                region=cloud.region,
                snapshot_schedule_policy=_schedule(place),
            ),
            opts=self.options(),
        )
        compute.DiskResourcePolicyAttachment(
            "snapshots-of-data",
            compute.DiskResourcePolicyAttachmentArgs(
                name=schedule.name, disk=made.name, zone=cloud.zone_name
            ),
            opts=self.options(),
        )
        self.disk = made.self_link
        self.register_outputs({"disk": self.disk})


def _schedule(place: Place) -> compute.ResourcePolicySnapshotSchedulePolicyArgs:
    """Daily, in the region of the disk. No longer than `snapshotDays`: what is purged must be gone
    from snapshots too."""
    return compute.ResourcePolicySnapshotSchedulePolicyArgs(
        schedule=compute.ResourcePolicySnapshotSchedulePolicyScheduleArgs(
            daily_schedule=compute.ResourcePolicySnapshotSchedulePolicyScheduleDailyScheduleArgs(
                days_in_cycle=1, start_time=SNAPSHOT_AT
            )
        ),
        retention_policy=compute.ResourcePolicySnapshotSchedulePolicyRetentionPolicyArgs(
            max_retention_days=place.settings.cloud.snapshot_days,
            on_source_disk_delete="KEEP_AUTO_SNAPSHOTS",
        ),
        snapshot_properties=compute.ResourcePolicySnapshotSchedulePolicySnapshotPropertiesArgs(
            labels=place.labels, storage_locations=place.settings.cloud.region
        ),
    )
