"""How much the rules of sanitization find, by class: the corpora through the real collector.

Written to proof.json, from which docs/DATA-SANITIZATION.md shows it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import machine
from scripts import docs
from scripts.console import step
from tests.conftest import Stack
from tests.sanitize import samples, through
from tests.sanitize.measured import Measured, measured


def measure() -> None:
    """Measure, print and write."""
    found = {}
    with tempfile.TemporaryDirectory() as state:
        stack = Stack(Path(state))

        def passed(texts: Sequence[str]) -> list[str]:
            return through.passed(stack, texts)

        try:
            stack.ok("up")
            for folder in samples.CORPORA:
                with step(f"Sending the {folder.name} corpus"):
                    found[folder.name] = measured(passed, folder)
        finally:
            stack.down()
    for name, each in found.items():
        print(f"{name}: recall {each.recall:.2%}, precision {each.precision:.2%}")
        for sample in each.leaks:
            print(f"  passed: {sample.family} {sample.name} in {sample.where}")
        for text, result in each.harmed:
            print(f"  harmed: {text!r} -> {result!r}")
    docs.PROOF.write_text(
        json.dumps(
            {
                "commit": machine.commit(),
                "blind": yaml.safe_load(samples.BLIND.read_text(encoding="utf-8")),
                "corpora": {name: _as_json(each) for name, each in found.items()},
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    for path, text in docs.documents().items():
        path.write_text(text, encoding="utf-8")


def _as_json(found: Measured) -> dict[str, Any]:
    return {
        "recall": {
            name: {"sent": count, "passed": found.leaked[name]}
            for name, count in sorted(found.sent.items())
        },
        "precision": {
            name: {"right": found.right[name], "wrong": found.wrong[name]}
            for name in sorted(found.right | found.wrong)
        },
        "benign": {"sent": found.benign, "harmed": len(found.harmed)},
    }
