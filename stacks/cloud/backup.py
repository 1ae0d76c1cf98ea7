"""The bucket that backups go to."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import storage

from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

NONCURRENT_DAYS = 7
"""Days a deleted object can be had back, where the bucket keeps versions. With the 21 that a backup
may be kept at most, it stays within the 30 days of a purge."""
UNFINISHED_DAYS = 1
_DAY = 86_400
_Condition = storage.BucketLifecycleRuleConditionArgs


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """What a bucket is made from."""

    place: Place
    services: Services


def deleted(condition: _Condition) -> storage.BucketLifecycleRuleArgs:
    """A rule of a bucket: what meets the condition goes."""
    return storage.BucketLifecycleRuleArgs(
        action=storage.BucketLifecycleRuleActionArgs(type="Delete"),
        condition=condition,
    )


def older_versions(days: int) -> _Condition:
    """What was deleted or overwritten so many days ago."""
    return _Condition(days_since_noncurrent_time=days, with_state="ARCHIVED")


class Backup(Part):
    """Nobody reads it without a grant, and for `backupLockDays` nobody deletes from it either.

    No rule deletes by age: a backup goes on using objects of older ones, where a day has not
    changed, so only `telemetry` knows which are no longer needed.
    Locked, it keeps no versions besides: Cloud Storage allows one of the two, and what cannot be
    deleted needs no older version. Soft deletion is off: it would add days to a purge.
    """

    bucket: pulumi.Output[str]

    def __init__(
        self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Backup", name, opts, args.services)
        place, settings = args.place, args.place.settings
        lock = settings.cloud.backup_lock_days
        made = storage.Bucket(
            "backups",
            storage.BucketArgs(
                name=place.names.backup_bucket,
                location=settings.cloud.region.upper(),
                storage_class="STANDARD",
                uniform_bucket_level_access=True,
                public_access_prevention="enforced",
                force_destroy=False,
                versioning=storage.BucketVersioningArgs(enabled=not lock),
                retention_policy=storage.BucketRetentionPolicyArgs(
                    retention_period=str(lock * _DAY), is_locked=True
                )
                if lock
                else None,
                soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
                lifecycle_rules=[
                    deleted(older_versions(NONCURRENT_DAYS)),
                    storage.BucketLifecycleRuleArgs(
                        action=storage.BucketLifecycleRuleActionArgs(
                            type="AbortIncompleteMultipartUpload"
                        ),
                        condition=_Condition(age=UNFINISHED_DAYS),
                    ),
                ],
                labels=place.labels,
                deletion_policy=place.deletion_policy,
            ),
            opts=self.options(protect=True),
        )
        self.bucket = made.name
        self.register_outputs({"bucket": self.bucket})
