"""The secrets of one installation, as plain data. Where they are kept: stacks/home.py."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Letters and digits, a letter first, so that no file format can misread one."""

    member: str
    """Opaque id of the member (m- and 10 characters); no secret, but made with them."""
    admin_password: str = field(repr=False)
    ingest_password: str = field(repr=False)
    member_password: str = field(repr=False)
    pseudonym_key: str = field(repr=False)
