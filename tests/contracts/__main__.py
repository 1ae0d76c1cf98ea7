"""`make contracts`: writes both files from a stack that is made for it and gone afterwards."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from scripts import contracts, warehouse
from tests.conftest import Stack


def main() -> None:
    """Start a stack with the default settings, ask it, write."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.ok("up")
            client = warehouse.as_admin(stack.settings, stack.home.secrets())
            try:
                schema = contracts.database_schema(client)
                types = contracts.columns(client)
            finally:
                client.close_connections()  # the server waits for open ones before it ends
        finally:
            stack.down()
    written = json.loads(contracts.EVENTS.read_text(encoding="utf-8"))
    events = contracts.shown(contracts.telemetry_events(written, types))
    contracts.SCHEMA.write_text(schema, encoding="utf-8")
    contracts.EVENTS.write_text(events, encoding="utf-8")


if __name__ == "__main__":
    main()
