"""`python -m tests.cloud`: the shared endpoint on this machine, until Ctrl-C, to be looked at or
attacked.

As root on Linux. It prints where it answers and who may log in with what; all of it is made anew
each time, and gone at the end.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.cloud.endpoint import ADDRESS, TUNNEL, Endpoint, started
from tests.engine.docker_engine import docker_engine


def shown(found: Endpoint) -> str:
    """Everything that somebody from outside needs, as JSON."""
    people = {
        person.id: {
            "role": person.login.role,
            "team": person.login.team,
            "query": {"user": person.id, "password": person.query},
            "ingest": {"user": person.ingest_login, "password": person.ingest}
            if person.login.role == "member"
            else None,
        }
        for person in found.people
    }
    administrator = {
        "url": f"http://{ADDRESS}:8123/",
        "from": TUNNEL,
        "user": "telemetry_admin",
        "password": found.admin_password,
    }
    told = {
        "ingest": f"https://{ADDRESS}/v1/logs",
        "query": f"https://{ADDRESS}/query",
        "health": f"https://{ADDRESS}/healthz",
        "certificateAuthority": str(found.ca),
        "people": people,
        "administrator": administrator,
        "machine": f"docker exec -it {found.machine.container.name} sh",
    }
    return json.dumps(told, indent=2)


def main() -> int:
    """Start it, say where it is, wait."""
    with (
        docker_engine() as engine,
        contextlib.closing(engine.client()) as client,
        tempfile.TemporaryDirectory(prefix="telemetry-endpoint-") as folder,
        started(client, Path(folder)) as found,
    ):
        print(f"DOCKER_HOST={engine.host}\n{shown(found)}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
