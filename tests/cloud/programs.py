"""Real programs of the shared endpoint, started for one test, and what they are asked with."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from infra.collector.config import collector_config, render
from infra.collector.placement import Placement
from infra.identity import NONE, Hash, Login, htpasswd
from infra.settings import Settings
from scripts.toolchain import COLLECTOR
from tests.conftest import free_ports, until

KEY = "pseudonym-key-of-a-test"
STEPS = 4
"""bcrypt's cost: as low as it goes, for passwords that are as good as random."""


def hashed(password: str) -> str:
    """What a list of members keeps of a password for the collector."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(STEPS)).decode()


def basic(login: str, password: str) -> dict[str, str]:
    """Headers that log in with a password."""
    token = base64.b64encode(f"{login}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def member(name: str, *passwords: str, team: str = "", until: int = 0) -> Login:
    """A member with one or two passwords for ingest."""
    slots = [*(Hash(hashed(each), until) for each in passwords), NONE, NONE]
    return Login(id=name, team=team, ingest=(slots[0], slots[1]))


class Issuer:
    """An issuer of tokens, as far as a collector with a file of its keys can tell."""

    name = "https://login.example.org"
    audience = "telemetry"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def keys(self) -> str:
        """Its public keys, as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_url(each.to_bytes(32, "big")) for each in (numbers.x, numbers.y))
        return json.dumps(
            {"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "x": x, "y": y}]}
        )

    def token(self, **claims: Any) -> str:
        """A token with these claims; good for a minute unless they say otherwise."""
        whole = {"iss": self.name, "aud": self.audience, "exp": int(time.time()) + 60, **claims}
        header = {"alg": "ES256", "kid": "1", "typ": "JWT"}
        text = ".".join(_url(json.dumps(each).encode()) for each in (header, whole))
        r, s = utils.decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Collector:
    """The collector of a shared endpoint, whose store is a file."""

    def __init__(self, folder: Path, settings: Settings, logins: list[Login], keys: str) -> None:
        self.folder, self.logins = folder, folder / "secrets" / "htpasswd"
        self.logins.parent.mkdir(parents=True)
        for name, text in (("pseudonym-key", KEY), ("clickhouse-ingest", "x"), ("keys", keys)):
            (self.logins.parent / name).write_text(text)
        self.write(logins)
        http, health, metrics, self.oidc_port = free_ports(4)
        self.port = http
        placement = Placement(
            listen="127.0.0.1",
            otlp_http_port=http,
            otlp_grpc_port=0,
            health_port=health,
            metrics_port=metrics,
            warehouse="http://127.0.0.1:1",
            prometheus="",
            secrets=str(self.logins.parent),
            queue=str(folder / "queue"),
            aside=str(folder / "aside"),
            logins=str(self.logins),
            oidc_port=self.oidc_port,
            oidc_keys=str(self.logins.parent / "keys"),
        )
        config = collector_config(settings, placement)
        # Its store writes to a file; everything before that is as it is on the endpoint.
        config["exporters"]["file/store"] = {
            "path": str(folder / "stored.jsonl"),
            "flush_interval": "50ms",
        }
        del config["exporters"]["clickhouse"]
        for pipeline in config["service"]["pipelines"].values():
            pipeline["exporters"] = [
                "file/store" if each == "clickhouse" else each for each in pipeline["exporters"]
            ]
        self.config = folder / "config.yaml"
        self.config.write_text(render(config))
        self._log = (folder / "collector.log").open("wb")
        self._health = f"http://127.0.0.1:{health}/"
        self.process = subprocess.Popen(
            [COLLECTOR, "--config", self.config], stdout=self._log, stderr=subprocess.STDOUT
        )
        until(self.healthy)

    def write(self, logins: list[Login]) -> None:
        """Write the list of members."""
        self.logins.write_text(htpasswd(logins, int(time.time())))

    def healthy(self) -> bool:
        """Whether it says so."""
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", self._health, timeout=5, retries=False).status == 200
        return False

    def reload(self) -> None:
        """Let it read everything anew."""
        self.process.send_signal(signal.SIGHUP)

    def post(
        self, signal_name: str, body: bytes, headers: Mapping[str, str], *, port: int = 0
    ) -> int:
        """Send a request; the status it is answered with."""
        return urllib3.request(
            "POST",
            f"http://127.0.0.1:{port or self.port}/v1/{signal_name}",
            body=body,
            headers={"Content-Type": "application/json", **headers},
            timeout=30,
            retries=False,
        ).status

    def stored(self) -> list[dict[str, Any]]:
        """Requests that came to the store."""
        file = self.folder / "stored.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def aside(self) -> str:
        """What was set aside."""
        file = self.folder / "aside" / "aside.jsonl"
        return file.read_text() if file.exists() else ""

    def log(self) -> str:
        """What it said."""
        return (self.folder / "collector.log").read_text()

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
        self._log.close()


@contextlib.contextmanager
def collector(
    folder: Path, logins: list[Login], settings: Settings | None = None, keys: str = ""
) -> Iterator[Collector]:
    """One that runs."""
    running = Collector(folder, settings or Settings(), logins, keys)
    try:
        yield running
    finally:
        running.stop()
