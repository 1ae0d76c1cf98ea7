"""A double of Pulumi's Google Cloud plugin, which no package registry offers, and of the cloud.

`python -m tests.engine.provider_gcp` is what the `pulumi-resource-gcp` on the PATH of a test runs.
It makes nothing anywhere: an object is a file in the folder that TELEMETRY_TEST_CLOUD names, called
after what it is called in the cloud. So two objects of one name are one, as there, and to delete
one of them deletes both. Where the plugin is strict, so is this:

- every property is checked by name and type against the plugin's own SDK (tests/google.py);
- the properties in REPLACES replace, as does a disk that shrinks; all others change in place;
- what `deletionPolicy: PREVENT` or `deletionProtection` guards is not deleted;
- what there is already cannot be made again, but for an object in a bucket, which is overwritten.
"""

from importlib.metadata import version

VERSION = version("pulumi-gcp")
