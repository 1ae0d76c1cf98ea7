"""What the rules of sanitization cost: events a second and core without any, with the built-in
ones, and with 200 patterns of a team besides."""

from __future__ import annotations

import time
from typing import Any

import yaml

from benchmarks import rate, results, volume
from benchmarks.stack import Stack, running
from infra.warehouse import names
from scripts import warehouse
from scripts.console import step
from scripts.supervise import Supervisor
from stacks.embedded.processes import Layout

_RULES = ("transform/sanitize", "redaction", "transform/dropped")
_TEAM_PATTERNS = 200
_LEAST_SHARE = 0.6
"""Of the rate without rules that the built-in ones must leave."""


def _team() -> dict[str, Any]:
    patterns = [
        {
            "name": f"project-{number}",
            "what": "numbers of a project",
            "regex": f"PRJ{number}-[0-9]{{6}}",
            "examples": [f"PRJ{number}-123456"],
        }
        for number in range(_TEAM_PATTERNS)
    ]
    return {"sanitize": {"patterns": patterns}}


def _without_rules(stack: Stack) -> None:
    """Take them out of the running collector."""
    layout = Layout(stack.home)
    config = yaml.safe_load(layout.collector_config.read_text(encoding="utf-8"))
    for pipeline in config["service"]["pipelines"].values():
        kept = [each for each in pipeline["processors"] if each not in _RULES]
        pipeline["processors"] = kept
    for name in _RULES:
        del config["processors"][name]
    layout.collector_config.write_text(yaml.safe_dump(config), encoding="utf-8")
    supervisor = Supervisor(layout)
    supervisor.halt("collector")
    supervisor.run("collector")
    assert warehouse.wait(f"http://127.0.0.1:{stack.settings.ports.health}/", 60)


def _rate(settings: dict[str, Any], *, rules: bool) -> rate.Rate:
    with running(**settings) as stack:
        if not rules:
            _without_rules(stack)
        client = warehouse.as_admin(stack.settings, stack.home.secrets())
        client.database = names.DATABASE
        volume.generate(
            client,
            stack.home.secrets().member,
            first=0,
            sessions=rate.SESSIONS,
            begin=time.time() - 86400,
            seconds=3600,
        )
        with step(f"Sending for {rate.SECONDS} s"):
            measured = rate.measure(stack, client)
        client.close_connections()
    return measured


def measure() -> None:
    """Measure and write."""
    found = {
        "none": _rate({}, rules=False),
        "built in": _rate({}, rules=True),
        f"built in and {_TEAM_PATTERNS} of a team": _rate(_team(), rules=True),
    }
    none, built_in = found["none"].per_core, found["built in"].per_core
    share = built_in / none
    results.write(
        "Rules of sanitization",
        results.table(
            ("goal", "measured", "verdict"),
            [
                (
                    f"built-in rules cost less than {1 - _LEAST_SHARE:.0%} of the rate without any",
                    f"{1 - share:.0%}",
                    "reached" if share > _LEAST_SHARE else "**missed**",
                )
            ],
        ),
        "From the door to rows, with the recorded client's events as at content level `none`. "
        "Without rules, nothing is sanitized, and nothing is dropped: the rows are larger. What "
        "makes each attribute a string that stands once is in all three.",
        results.table(
            ("rules", "events a second and core", "of none", "collector, us an event"),
            [
                (
                    name,
                    f"{each.per_core:,.0f}",
                    f"{each.per_core / none:.0%}",
                    f"{each.cpu['collector'] / each.events * 1e6:.1f}",
                )
                for name, each in found.items()
            ],
        ),
    )
