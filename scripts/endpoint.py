"""Asking the store of a shared endpoint as oneself, through its edge."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scripts import warehouse
from scripts.credentials import MACHINE, Credentials
from scripts.errors import Failure
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


def as_person(home: Home, given: Credentials) -> Client:
    """As whoever has these credentials, at the endpoint that they are for.

    Through a proxy where HTTPS_PROXY says so. The database is the one that ClickHouse gives by
    itself: a coordinator's is another than a member's.
    """
    from clickhouse_connect.driver.exceptions import Error
    from clickhouse_connect.driver.httputil import get_pool_manager

    address = urlsplit(given.query)
    options: dict[str, Any] = {"pool_mgr": get_pool_manager()}  # as in scripts/warehouse.py
    if given.stack != MACHINE:
        certificate = given.client_file(home)
        options = {
            "ca_cert": str(given.authority_file(home)) if given.certificate_authority else None,
            "client_cert": str(certificate) if given.client_certificate else None,
            # Beside the password, not instead of it.
            "tls_mode": "proxy",
        }
    try:
        return warehouse.quiet_client(
            interface=address.scheme,
            host=str(address.hostname),
            port=address.port or 443,
            proxy_path=address.path,
            username=given.id,
            password=given.query_password,
            **options,
        )
    except Error as error:
        raise Failure(_told(error, given)) from None


def _told(error: BaseException, given: Credentials) -> str:
    """What is wrong, and what mends it."""
    said = str(error).strip()
    if "AUTHENTICATION_FAILED" in said or re.search(r"status 40[13]\b", said):
        return (
            f"{given.query} does not take the credentials of {given.id}: they were rotated or "
            "revoked. Ask whoever gave them to you for new ones."
        )
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "reason", None)
        for each in (cause, reason, *getattr(reason, "args", ())):
            if isinstance(each, ssl.SSLError):
                return (
                    f"The certificates of {given.query} and of yours do not fit: {each}\n"
                    "Were they changed or revoked? Ask whoever gave you your credentials for new "
                    "ones."
                )
        cause = cause.__cause__ or cause.__context__
    return (
        f"{given.query} does not answer: {said}\nIs the network there, and does your address lie "
        "in `edge.allowedRanges`?"
    )
