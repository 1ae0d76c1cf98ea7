"""The rendered configuration as an object in a bucket, from which the machine fetches it."""

from __future__ import annotations

import pulumi
from pulumi_gcp import storage

from infra.host import bundle
from infra.host.names import BUNDLE_OBJECT
from stacks.cloud.backup import BucketArgs, deleted, older_versions
from stacks.cloud.part import Part

NONCURRENT_DAYS = 30
"""Days a configuration that was replaced can be looked at."""


class Configuration(Part):
    """Everything that may change without another machine is in the bundle, and nothing secret."""

    bucket: pulumi.Output[str]

    def __init__(
        self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Configuration", name, opts, args.services)
        place = args.place
        made = storage.Bucket(
            "configuration",
            storage.BucketArgs(
                name=place.names.configuration_bucket,
                location=place.settings.cloud.region.upper(),
                storage_class="STANDARD",
                uniform_bucket_level_access=True,
                public_access_prevention="enforced",
                force_destroy=False,
                versioning=storage.BucketVersioningArgs(enabled=True),
                soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
                lifecycle_rules=[deleted(older_versions(NONCURRENT_DAYS))],
                labels=place.labels,
                deletion_policy=place.deletion_policy,
            ),
            opts=self.options(protect=True),
        )
        self.bucket = made.name
        storage.BucketObject(
            "bundle",
            storage.BucketObjectArgs(
                bucket=made.name,
                name=BUNDLE_OBJECT,
                content=bundle.bundle(place.settings, place.names.stack),
                content_type="text/plain; charset=utf-8",
                cache_control="no-store",
            ),
            # A new text is put over the old one. Should the plugin ever take a change for another
            # object (as it does with the type), that one has the same name: to delete the old one
            # afterwards would delete the new.
            opts=self.options(retain_on_delete=True),
        )
        self.register_outputs({"bucket": self.bucket})
