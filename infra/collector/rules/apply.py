"""The patterns applied here instead of in the collector: to show what a rule does, and to look
through what is stored. A test holds both to the same results."""

from __future__ import annotations

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
        self._names = builtin.compiled(builtin.keys().expression)

    def __call__(self, text: str) -> Cut:
        """Every pattern, in order."""
        found: Counter[str] = Counter()
        for named, steps in self._steps:
            if named:
                text = self._names.sub(_mark, text.replace(builtin.MARK, ""))
            for step in steps:
                text = step(text, found)
            if named:
                text = text.replace(builtin.MARK, "")
        return Cut(text, found)


def _mark(match: re2.Match) -> str:
    return f"{match.group(1)}{builtin.MARK}{match.group(2)}"


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
