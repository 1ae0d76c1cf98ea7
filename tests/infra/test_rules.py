"""What the rules say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

import pytest

from infra.collector import rules
from infra.collector.rules import builtin
from infra.collector.rules.apply import Cutter
from tests.sanitize import samples

PATTERNS = rules.patterns()


_MARKS = "\ue000\ue001\ue002"
"""What stands in a value only while it is searched."""


def _holds(text: str, needs: tuple[tuple[str, ...], ...]) -> bool:
    folded = text.lower()
    return all(any(word in folded for word in words) for words in needs)


def _matches(regex: str, count: int = 100, most: int = 100) -> Iterator[str]:
    """Texts of a form, made by chance; of all letters those that Python can write."""
    for name, some in (
        ("Lu", "A-Z\u0410-\u042f"),
        ("Lo", "\u3041-\u3093"),
        ("L", "a-z\u0430-\u044f"),
        ("M", "\u0301"),
    ):
        regex = regex.replace(rf"\p{{{name}}}", some)
    for number in range(count):
        yield samples.made(regex, f"{regex} {number}", most=most)


@pytest.mark.parametrize(
    "pattern", [each for each in PATTERNS if each.needs], ids=lambda pattern: pattern.name
)
def test_what_a_pattern_needs_stands_in_all_that_it_matches(pattern: rules.Pattern) -> None:
    """Else a secret would pass because nobody looked for it."""
    for expression in pattern.expressions:
        for text in _matches(expression):
            assert _holds(text, pattern.needs), text
    for example in pattern.examples:
        assert _holds(example, pattern.needs), example


def test_what_telling_names_need_stands_in_all_of_them() -> None:
    """In what RE2 takes for the same letter, too: a long s, the sign for Kelvin."""
    keys = rules.keys()
    for name in (*keys.names, *keys.words):
        for blank in ("", "_", "-", ".", " "):
            written = name.replace(" ", blank)
            assert re.search(keys.expression, f" {written}="), written
            assert _holds(written, (keys.needs,)), written
    for text in ("pa\u017f\u017fword=hunter22", "to\u212aen=hunter22"):
        assert re.search(keys.expression, text), text
        assert _holds(text, (keys.needs,)), text


@pytest.mark.parametrize("spared", rules.keys().spared, ids=lambda spared: spared.what)
def test_what_is_spared_holds_what_it_needs(spared: builtin.Spared) -> None:
    """Else the collector would cut what is to stay, and these tests would not know."""
    for text in _matches(spared.regex):
        assert _holds(text, (spared.needs,)), text


def test_names_that_tell_only_of_what_looks_random_are_searched_for() -> None:
    keys, cut = rules.keys(), Cutter(PATTERNS)
    for vendor in keys.vendors:
        text = f"{vendor}_id = 0123456789abcdef0123456789abcdef"
        assert _holds(text, (keys.searched,))
        assert cut(text).text == f"{vendor}_id = [redacted:assignment]"
        assert cut(f"{vendor}_id = chapter-03").text == f"{vendor}_id = chapter-03"
    for harmless in keys.harmless:
        text = f"{harmless} key = 0123456789abcdef0123456789abcdef"
        assert cut(text).text == text


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_examples_go_once_and_for_all_and_what_looks_like_them_stays(
    pattern: rules.Pattern,
) -> None:
    cut = Cutter(PATTERNS)
    for text in (*pattern.examples, *pattern.stays):
        once = cut(text).text
        assert cut(once).text == once
        assert ("[redacted:" in once) == (text in pattern.examples), text
    assert not any(mark in cut(text).text for text in pattern.examples for mark in _MARKS)


@pytest.mark.parametrize(
    "pattern", [each for each in PATTERNS if each.digits], ids=lambda pattern: pattern.name
)
def test_what_is_searched_for_its_digits_has_them(pattern: rules.Pattern) -> None:
    """But for what stands behind the name of a number, which may be any."""
    for expression in pattern.expressions:
        for text in _matches(expression):
            few = len(re.sub("[^0-9]", "", text)) < 4
            assert few or re.search(rules.DIGITS, text, re.DOTALL), text
    for example in pattern.examples:
        assert re.search(rules.DIGITS, example), example


@pytest.mark.parametrize(
    "pattern", [each for each in PATTERNS if each.run], ids=lambda pattern: pattern.name
)
def test_what_is_searched_for_as_a_run_is_one(pattern: rules.Pattern) -> None:
    for expression in pattern.expressions:
        for text in (*_matches(expression), *pattern.examples):
            assert re.search(rules.RUN, text.lower()), text


@pytest.mark.parametrize("form", rules.ordinary(), ids=lambda form: form.what)
def test_no_built_in_pattern_matches_what_is_not_searched(form: rules.Ordinary) -> None:
    cut, keys = Cutter(PATTERNS), rules.keys()
    telling = {word for each in PATTERNS for words in each.needs for word in words}
    # Chance hardly ever makes a word that a pattern looks for.
    texts = {
        text
        for word in (*telling, *keys.searched, *keys.names, *keys.words)
        for start in ("", "a", "a-", "a/", "https:")
        for end in ("", "a", "-a", "-1", "/a1", "-hunter22", "/hunter22/a1")
        if re.fullmatch(form.regex, text := f"{start}{word}{end}")
    }
    most = 64 if form.attributes else 16
    for text in (*texts, *_matches(form.regex, 1000, most=most)):
        assert re.fullmatch(form.regex, text)
        assert cut(text).text == text


def test_names_are_unique_and_those_behind_telling_names_stand_together() -> None:
    """The mark is set once, before the first of them, and taken away behind the last."""
    names = [each.name for each in PATTERNS]
    assert len(set(names)) == len(names)
    assert [named for named, _ in groupby(PATTERNS, key=lambda each: each.named)].count(True) == 1
    for pattern in PATTERNS:
        for expression in pattern.expressions:
            assert bool(re.search(rules.keys().behind, expression)) == pattern.named, pattern.name


def test_an_attribute_is_kept_or_refused_and_not_both() -> None:
    kept = [each.name for each in rules.attributes()]
    refused = [each.name for each in rules.refused()]
    assert len(set(kept)) == len(kept)
    assert not set(kept) & set(refused)
    assert {each.name for each in rules.pseudonyms()} <= set(kept)


def test_each_content_level_keeps_what_the_one_before_keeps_and_more() -> None:
    found = [{each.name for each in rules.content(level)} for level in rules.LEVELS]
    assert found[0] == set()
    for less, more in pairwise(found):
        assert less < more
    assert found[-1] == {each.name for each in rules.attributes() if each.level != "none"}
