"""How much of what must go goes, and how much of what must stay stays: recall and precision."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.sanitize import samples

_MARK = re.compile(r"\[redacted:([a-z0-9-]+)\]")


@dataclass
class Measured:
    """One corpus. Recall goes by the corpus's families, precision by the rules' own classes."""

    sent: Counter[str] = field(default_factory=Counter)
    leaked: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    """Cuts in texts that held something, by class."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Benign texts that were cut into, by class."""
    benign: int = 0
    leaks: list[samples.Sample] = field(default_factory=list)
    harmed: list[tuple[str, str]] = field(default_factory=list)
    """Benign texts, and what came of them."""

    @property
    def recall(self) -> float:
        """Share of secrets and personal data that went."""
        return 1 - self.leaked.total() / self.sent.total()

    @property
    def precision(self) -> float:
        """Share of the texts cut into that held something to cut."""
        cut = self.sent.total() - self.leaked.total()
        return cut / (cut + len(self.harmed))


def measured(passed: Callable[[Sequence[str]], list[str]], folder: Path) -> Measured:
    """All of one corpus, through what is given."""
    found = Measured()
    given = list(samples.samples(folder))
    plain = samples.benign(folder)
    results = passed([*(sample.text for sample in given), *plain])
    for sample, result in zip(given, results, strict=False):
        found.sent[sample.family] += 1
        found.right.update(set(_MARK.findall(result)))
        if sample.leaks(result):
            found.leaked[sample.family] += 1
            found.leaks.append(sample)
    found.benign = len(plain)
    for text, result in zip(plain, results[len(given) :], strict=True):
        if result != text:
            found.harmed.append((text, result))
            found.wrong.update(set(_MARK.findall(result)) - set(_MARK.findall(text)))
    return found
