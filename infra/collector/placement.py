"""Where the collector finds things on the stack it runs on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Addresses and folders that differ between stacks, and nothing else.

    Paths are those the collector itself sees: a member's folders on `embedded`, the container's on
    `local`.
    """

    listen: str
    """Address to listen on: 127.0.0.1, or 0.0.0.0 inside a container."""
    otlp_http_port: int
    otlp_grpc_port: int
    health_port: int
    metrics_port: int
    warehouse: str
    """ClickHouse's HTTP endpoint, such as http://127.0.0.1:8123."""
    secrets: str
    """Folder of secret files: member, clickhouse-ingest, pseudonym-key."""
    prometheus: str
    """Our own Prometheus, such as http://127.0.0.1:9090; read only where settings ask for it."""
    queue: str
    """Folder of the queue on disk."""
    aside: str
    """Folder for records set aside."""
    logins: str = ""
    """htpasswd file of the members; empty where all that comes is of one member."""
    oidc_port: int = 0
    """Where tokens are taken, if settings name an issuer."""
    oidc_keys: str = ""
    """File with the issuer's public keys (a JSON Web Key Set)."""

    def secret(self, name: str) -> str:
        """A reference that the collector resolves itself, so the value is in no rendered file."""
        return f"${{file:{self.secrets}/{name}}}"
