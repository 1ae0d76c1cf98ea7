"""What the rules say of themselves."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.collector import rules


def _holds(text: str, pattern: rules.Pattern) -> bool:
    folded = text.lower()
    return all(any(word in folded for word in words) for words in pattern.needs)


@pytest.mark.parametrize("pattern", rules.patterns(), ids=lambda pattern: pattern.name)
def test_what_a_pattern_needs_stands_in_all_that_it_matches(pattern: rules.Pattern) -> None:
    """Else a secret would pass because nobody looked for it."""

    @given(st.from_regex(pattern.regex))
    def check(text: str) -> None:
        assert _holds(text, pattern), text

    check()
    for example in pattern.examples:
        assert _holds(example, pattern), example


def test_a_letter_that_only_re2_folds_is_no_way_around() -> None:
    [assignment] = [each for each in rules.patterns() if each.name == "assignment"]
    for text in ("pa\u017f\u017fword=hunter22", "to\u212aen=hunter22"):
        assert re.search(assignment.regex, text), text
        assert _holds(text, assignment), text
