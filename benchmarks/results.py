"""benchmarks/RESULTS.md: one section a measurement, each written anew only by its own run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks import machine
from stacks.home import PROJECT

RESULTS = PROJECT / "benchmarks" / "RESULTS.md"
_HEAD = (
    "# Results\n\n"
    "Written by `make bench`. Timings vary between machines and runs; compare ratios.\n"
)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are figures."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(title: str, *paragraphs: str) -> None:
    """Put a section in place of the one with the same title; the others stay."""
    _, *old = RESULTS.read_text(encoding="utf-8").split("\n## ")
    sections = {text.split("\n", 1)[0]: text.split("\n", 1)[1].strip() for text in old}
    sections[title] = "\n\n".join((machine.description(), *paragraphs))
    RESULTS.write_text(
        _HEAD + "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items()),
        encoding="utf-8",
    )
