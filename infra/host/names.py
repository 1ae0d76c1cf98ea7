"""Names of what a `cloud` stack has in its Google Cloud project.

Fixed by the name of the stack, so that a command with `--on cloud` finds everything without asking
Pulumi.
"""

from __future__ import annotations

from dataclasses import dataclass

KEYS, EDGE, CLIENTS = "keys", "edge", "client-certificates"
CLIENT_CA = "client-ca"
"""Our client CA's certificate and private key. The machine has no access to it: what it needs, the
certificate, stands first in CLIENTS."""
LOCK = "lock"
"""A secret without any version: who changes the others marks it, so that two do not at once. Those
who administer need to read and update it (its annotations); the machine has no access."""
MACHINE_NEVER = (CLIENT_CA, LOCK)
"""Secrets that the machine may not read."""
BUNDLE_OBJECT = "bundle.tar.gz.b64"
"""The rendered configuration in its bucket."""
IAP_RANGE = "35.235.240.0/20"
"""Where Google's IAP tunnel comes from."""
DATA_DEVICE = "telemetry-data"
"""The data disk is /dev/disk/by-id/google-<this>."""
ALERTS = {
    "disk": "The data disk is nearly full. Let it grow (`cloud.dataDiskGib`), or keep less.",
    "queue": "Events wait on the machine and are not stored. ClickHouse is away or too slow.",
    "health": "A service on the machine does not answer, or what was fetched was refused.",
}
"""What the machine may say of itself in its log, and what it means; `Names.alert` has the words."""


@dataclass(frozen=True)
class Names:
    """Of one stack, such as `cloud` or `cloud-test`."""

    stack: str
    project: str

    @property
    def prefix(self) -> str:
        """What every name begins with; also the name of the machine, the network, the address."""
        return f"telemetry-{self.stack}"

    @property
    def instance(self) -> str:
        """The machine."""
        return self.prefix

    @property
    def address(self) -> str:
        """The static address."""
        return self.prefix

    def secret(self, which: str) -> str:
        """A Secret Manager secret: KEYS, EDGE, CLIENTS, CLIENT_CA, LOCK or one of `members`."""
        return f"{self.prefix}-{which}"

    def members(self, lists: int) -> tuple[str, ...]:
        """The secrets that hold the list of members."""
        return tuple(self.secret(f"members-{number}") for number in range(1, lists + 1))

    def alert(self, what: str) -> str:
        """Words of a log line that make an alert, such as `telemetry-cloud alert disk`; more may
        follow them. `what` is a key of ALERTS."""
        if what not in ALERTS:
            raise KeyError(what)
        return f"{self.prefix} alert {what}"

    @property
    def configuration_bucket(self) -> str:
        """Bucket names are everybody's, so the project is in it."""
        return f"{self.project}-{self.prefix}-configuration"

    @property
    def backup_bucket(self) -> str:
        """Where backups of it go."""
        return f"{self.project}-{self.prefix}-backups"
