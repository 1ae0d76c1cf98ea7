"""What the rules of sanitization cost: events a second and core without any, with the built-in
ones, and with 200 patterns of a team besides."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from benchmarks import rate, results, volume
from benchmarks.stack import Stack, running
from infra.collector.config import collector_config
from infra.settings import Settings
from infra.warehouse import names
from scripts import warehouse
from scripts.console import step
from stacks.embedded.processes import Layout, placement

_RULES = "transform/sanitize"
_TEAM_PATTERNS = 200
_NONE, _BUILT_IN = "none", "built in"
_TEAMS = f"built in and {_TEAM_PATTERNS} of a team"
_ROUNDS = 5
_SECONDS = 15
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


def _configs(stack: Stack) -> dict[str, dict[str, Any]]:
    """The collector's configuration with each set of rules, by name."""
    where = placement(stack.settings, Layout(stack.home))

    def with_rules(**settings: Any) -> dict[str, Any]:
        changed = Settings.model_validate({**stack.settings.model_dump(by_alias=True), **settings})
        return collector_config(changed, where)

    none = with_rules()
    for pipeline in none["service"]["pipelines"].values():
        pipeline["processors"] = [each for each in pipeline["processors"] if each != _RULES]
    del none["processors"][_RULES]
    return {_NONE: none, _BUILT_IN: with_rules(), _TEAMS: with_rules(**_team())}


def _rounds() -> dict[str, list[rate.Rate]]:
    """One stack, and each set of rules in turn, several times over: how fast a machine is changes
    from one minute to the next."""
    with running() as stack:
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
        configs = _configs(stack)
        found: dict[str, list[rate.Rate]] = {name: [] for name in configs}
        for number in range(_ROUNDS):
            for name, config in configs.items():
                stack.apply(config)
                with step(f"Round {number + 1} of {_ROUNDS}, rules: {name}, {_SECONDS} s"):
                    found[name].append(rate.measure(stack, client, seconds=_SECONDS))
        client.close_connections()
    return found


def measure() -> None:
    """Measure and write."""
    rounds = _rounds()
    shares = {
        name: [
            each.per_core / none.per_core for each, none in zip(found, rounds[_NONE], strict=True)
        ]
        for name, found in rounds.items()
    }
    share = median(shares[_BUILT_IN])
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
        "makes each attribute a string that stands once is in all three. One stack takes the three "
        f"in turn, {_ROUNDS} times over, each for {_SECONDS} s as fast as it goes and until all is "
        "stored; shown are medians, and of shares the median over the rounds (least to most).",
        results.table(
            ("rules", "events a second and core", "of none", "collector, us an event"),
            [
                (
                    name,
                    f"{median(each.per_core for each in found):,.0f}",
                    f"{median(shares[name]):.0%} "
                    f"({min(shares[name]):.0%} to {max(shares[name]):.0%})",
                    f"{median(each.cpu['collector'] / each.events * 1e6 for each in found):.1f}",
                )
                for name, found in rounds.items()
            ],
        ),
    )
