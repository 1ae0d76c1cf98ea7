"""The patterns applied here instead of in the collector: to show what a rule does, and to look
through what is stored. A test holds both to the same results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

import re2

from infra.collector.rules import builtin


@dataclass(frozen=True)
class Cut:
    """A text after the patterns: what is left, and how often each of them cut something out."""

    text: str
    found: Counter[str]


class Cutter:
    """Patterns, compiled once, for many texts."""

    def __init__(self, patterns: Iterable[builtin.Pattern]) -> None:
        self._steps: list[tuple[bool, list[_Step]]] = [
            (named, [_Step(each, regex) for each in group for regex in each.expressions])
            for named, group in groupby(patterns, key=lambda pattern: pattern.named)
        ]
        self._marks = [
            (builtin.compiled(regex), _shown(shown)) for regex, shown in builtin.keys().steps
        ]
        self._behind = builtin.compiled(builtin.keys().behind)
        self._spared = [builtin.compiled(each.regex) for each in builtin.keys().spared]
        self._spare = _shown(builtin.keys().spare)

    def __call__(self, text: str) -> Cut:
        """Every pattern, in order."""
        found: Counter[str] = Counter()
        text = _UNMARKED.sub("", text)
        for spared in self._spared:
            text = spared.sub(self._spare, text)
        for named, steps in self._steps:
            if named:
                for mark, shown in self._marks:
                    text = mark.sub(shown, text)
            for step in steps:
                text = step(text, found)
            if named:
                text = self._behind.sub("", text)
        return Cut(_UNMARKED.sub("", text), found)


_UNMARKED = builtin.compiled(builtin.MARKS)


def _shown(shown: str) -> Callable[[re2.Match], str]:
    """What stands in place of a match, from the notation of Go."""
    parts = re.split(r"\$\{([0-9])\}", shown)

    def replaced(match: re2.Match) -> str:
        return "".join(
            (match.group(int(part)) or "") if number % 2 else part
            for number, part in enumerate(parts)
        )

    return replaced


class _Step:
    def __init__(self, pattern: builtin.Pattern, expression: str) -> None:
        self._name = pattern.name
        self._compiled = builtin.compiled(expression)
        self._before, self._behind = pattern.around(expression)

    def __call__(self, text: str, found: Counter[str]) -> str:
        def replaced(match: re2.Match) -> str:
            found[self._name] += 1
            before = "".join(match.group(number) or "" for number in self._before)
            behind = "".join(match.group(name) or "" for name in self._behind)
            return f"{before}[redacted:{self._name}]{behind}"

        replace: Callable[[re2.Match], str] = replaced
        result: str = self._compiled.sub(replace, text)
        return result
