"""Secrets and personal data in their surroundings, and harmless texts, through the collector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.collector import rules
from infra.collector.rules.apply import Cutter
from tests.conftest import Stack
from tests.sanitize import samples, through
from tests.sanitize.measured import measured

pytestmark = pytest.mark.stack

RECALL, PRECISION = 0.995, 0.99


@pytest.mark.parametrize("folder", samples.CORPORA, ids=lambda folder: folder.name)
def test_what_must_go_goes_and_what_must_stay_stays(stack: Stack, folder: Path) -> None:
    """And the rules applied here, for `telemetry scan` and `sanitize`, do the same to each text."""
    cut = Cutter(rules.patterns())
    unlike: list[str] = []

    def passed(texts: Sequence[str]) -> list[str]:
        results = through.passed(stack, texts)
        unlike.extend(
            text for text, result in zip(texts, results, strict=True) if cut(text).text != result
        )
        return results

    found = measured(passed, folder)
    assert found.recall >= RECALL, [(each.name, each.text) for each in found.leaks]
    assert found.precision >= PRECISION, found.harmed
    assert unlike == []


def test_what_was_sanitized_once_stays_as_it_is(stack: Stack) -> None:
    """On its way through a second collector, when it is forwarded; but for one text in 500, in
    which only what a first cut has left side by side is known for what it is."""
    texts = [sample.text for sample in samples.samples()][::4] + samples.benign()
    once = through.passed(stack, texts)
    twice = through.passed(stack, once)
    changed = [(a, b) for a, b in zip(once, twice, strict=True) if a != b]
    assert len(changed) <= len(texts) // 500, changed
