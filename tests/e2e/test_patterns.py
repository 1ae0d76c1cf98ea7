"""Every pattern, by its own examples and look-alikes, through the running collector."""

from __future__ import annotations

import pytest

from infra.collector import rules
from tests.conftest import Stack
from tests.sanitize import through

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("pattern", rules.patterns(), ids=lambda pattern: pattern.name)
def test_its_examples_go_and_its_look_alikes_stay(stack: Stack, pattern: rules.Pattern) -> None:
    examples = [f"before\n{example}\nafter" for example in pattern.examples]
    results = through.passed(stack, [*examples, *pattern.stays])
    for example, found in zip(examples, results, strict=False):
        assert f"[redacted:{pattern.name}]" in found, example
        assert found.startswith("before\n")
    assert results[len(examples) :] == list(pattern.stays)
