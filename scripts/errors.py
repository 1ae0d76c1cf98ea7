"""How a command tells that something is not so."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 (not an error of ours, a state of things)
    """The thing asked for is not so (exit code 1); the text says why and what mends it."""


class Misuse(Exception):  # noqa: N818
    """The command was used wrongly (exit code 2)."""
