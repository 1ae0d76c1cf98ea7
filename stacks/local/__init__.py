"""The `local` stack: the services as Docker resources on a member's machine."""

from stacks.local.deploy import deploy

__all__ = ["deploy"]
