"""Upkeep of a shared endpoint from an administrator's machine: what `--on STACK` means there.

The functions that look after this machine's store take settings and a state folder. For an endpoint
they get its settings, with ClickHouse at this end of the tunnel, and the folder below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from infra.collector.store import SHARED_ASIDE_DAYS
from infra.host import names
from infra.identity import parse, table
from infra.secrets import Secrets
from infra.settings import Ports, Settings
from scripts import member, warehouse
from scripts.cloud import Cloud, free_port
from scripts.errors import Failure
from scripts.member_list import InSecretManager
from scripts.restore import ENDPOINT
from stacks.home import Home

_PSEUDONYMS, _MEMBERS = "pseudonym-key", "members"
_WHOLE = (names.EDGE, names.CLIENT_CA, names.CLIENTS)
"""Secrets that a backup carries as they are."""


@dataclass(frozen=True)
class EndpointHome(Home):
    """What an administrator's machine keeps of a shared endpoint: which copies there are, evidence,
    the key of backups, locks. The endpoint's own secrets are read when they are needed, and are in
    memory only."""

    cloud: Cloud = field(kw_only=True, repr=False, compare=False)
    _read: dict[str, Secrets] = field(default_factory=dict, kw_only=True, repr=False, compare=False)

    @property
    def here(self) -> bool:
        """It runs elsewhere."""
        return False

    @property
    def backup_place(self) -> str:
        """Its own bucket."""
        return f"gs://{self.cloud.names.backup_bucket}/backups"

    def lock(self, place: str) -> timedelta:
        """That of its bucket."""
        locked = f"{place}/".startswith(f"gs://{self.cloud.names.backup_bucket}/")
        return timedelta(days=self.cloud.settings.cloud.backup_lock_days if locked else 0)

    def secrets(self) -> Secrets:
        """From Secret Manager. Raises Failure where there are none yet."""
        if not self._read:
            found = member.keys_of(self.cloud)
            self._read["keys"] = replace(found, member=_called(found))
        return self._read["keys"]

    @property
    def installation(self) -> str:
        """By the pseudonym key: with another one, people would be others."""
        kept = self.cloud.read(self.cloud.names.secret(names.KEYS))
        return self.secrets().member if kept else ""

    @property
    def begun(self) -> bool:
        """The machine starts nothing before it has keys and members."""
        return bool(self.installation and InSecretManager(self.cloud).logins())

    def carried(self) -> dict[str, str]:
        """The pseudonym key, the list of members (hashes), the certificate authorities; no
        password of the endpoint's own."""
        found = {
            _PSEUDONYMS: self.secrets().pseudonym_key,
            _MEMBERS: table(InSecretManager(self.cloud).logins()),
            **{each: self.cloud.read(self.cloud.names.secret(each)) for each in _WHOLE},
        }
        return {name: text for name, text in found.items() if text}

    def lacks(self, carried: Iterable[str]) -> bool:
        """Whether a secret is empty that could be filled."""
        return not {*carried} <= {*self.carried()}

    def adopt(self, installation: str, carried: Mapping[str, str]) -> None:
        """Fill what is empty; the pseudonym key becomes that of the backup."""
        cloud = self.cloud
        with cloud.alone():
            keys, _ = member.ensure_keys(cloud)
            fresh = replace(keys, pseudonym_key=carried[_PSEUDONYMS])
            if _called(fresh) != installation:
                raise Failure("The backup does not have the keys of the endpoint it says it is of.")
            if fresh != keys:
                member.write_keys(cloud, fresh)
            members = InSecretManager(cloud)
            if not members.logins():
                members.write(parse(carried.get(_MEMBERS, "")))
            for each in _WHOLE:
                cloud_secret = cloud.names.secret(each)
                if each in carried and not cloud.read(cloud_secret):
                    cloud.write(cloud_secret, carried[each])
        self._read.clear()

    def unreached(self) -> tuple[str, ...]:
        """What lies on the machine's disk, which no tunnel leads to, and when it goes."""
        days = self.cloud.settings.cloud.snapshot_days
        return (
            "the collector's queue: nearly always empty; what waits there is kept out when it "
            "comes to ClickHouse, and the file is made anew when the collector is loaded again "
            f"(`telemetry member keys --rotate ingest --on {self.cloud.names.stack}`)",
            "records that the collector set aside: sanitized; they go after "
            f"{SHARED_ASIDE_DAYS} days, or earlier by hand (docs/PURGE.md)",
            f"snapshots of the disk: each goes {days} days after it was made",
        )


def _called(secrets: Secrets) -> str:
    told = hashlib.sha256(f"installation:{secrets.pseudonym_key}".encode()).hexdigest()
    return f"{ENDPOINT}{told[:12]}"


def folder(home: Home, cloud: Cloud) -> EndpointHome:
    """Below the administrator's own state folder."""
    home.prepare()
    found = EndpointHome(home.path / "shared" / cloud.names.stack, cloud=cloud)
    found.prepare()
    return found


@contextmanager
def tunnelled(cloud: Cloud, secrets: Secrets) -> Iterator[Settings]:
    """The endpoint's settings, with ClickHouse at this end of the tunnel. Raises Failure where it
    does not answer there."""
    with cloud.tunnel() as port:
        settings = cloud.settings.model_copy(update={"ports": Ports(clickhouse_http=port)})
        stack = cloud.names.stack
        if not warehouse.answers(f"{warehouse.url(settings)}/ping", 20):
            raise Failure(
                f"The tunnel is open, and the ClickHouse of {stack} does not answer: the machine "
                "has started a minute ago, or something is wrong there. Its log says what: "
                f"`gcloud logging read resource.type=gce_instance --limit=50 "
                f"--project={cloud.names.project}`."
            )
        try:
            warehouse.as_admin(settings, secrets).close_connections()
        except Failure:
            raise Failure(
                f"The ClickHouse of {stack} does not take the administrator's password: it was "
                "changed within the last minute, or the machine does not fetch its secrets. "
                "Repeat the command in a minute."
            ) from None
        yield settings


@contextmanager
def administering(cloud: Cloud, own: Home) -> Iterator[tuple[Settings, EndpointHome]]:
    """What upkeep needs. Raises Failure where there are no keys, or nothing answers."""
    home = folder(own, cloud)
    with tunnelled(cloud, home.secrets()) as settings:
        yield settings, home


@contextmanager
def restoring(cloud: Cloud, own: Home) -> Iterator[tuple[Settings, EndpointHome]]:
    """The same, also while the endpoint has no keys or members, so that nothing runs there yet."""
    home = folder(own, cloud)
    if home.begun:
        with tunnelled(cloud, home.secrets()) as settings:
            yield settings, home
    else:
        # Not this machine's own, which may well answer.
        yield cloud.settings.model_copy(update={"ports": Ports(clickhouse_http=free_port())}), home
