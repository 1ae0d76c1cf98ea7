"""The `cloud` stack: the shared endpoint as resources of a Google Cloud project."""

from stacks.cloud.deploy import deploy

__all__ = ["deploy"]
