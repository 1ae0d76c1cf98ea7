"""Reads the project's documents: their code, their links, their headings."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stacks.home import PROJECT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A Markdown file of the project."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(PROJECT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str | None = None) -> list[str]:
        """Code blocks; all of them, or those of one language."""
        found = _FENCE.findall(self.text)
        return [code for kind, code in found if language is None or kind == language]

    def inline(self) -> list[str]:
        """What stands in backticks within a line."""
        return _INLINE.findall(_FENCE.sub("", self.text))

    def code(self) -> list[str]:
        """Everything that is shown as code. A line that ends in a backslash goes on."""
        return [*(re.sub(r"\\\n\s*", " ", block) for block in self.blocks()), *self.inline()]

    def links(self) -> list[str]:
        """Where it links to."""
        return _LINK.findall(_FENCE.sub("", self.text))

    def anchors(self) -> set[str]:
        """What a link can point to within it."""
        return {
            re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            for title in _HEADING.findall(_FENCE.sub("", self.text))
        }


def tracked(*patterns: str) -> list[Path]:
    """The project's files, those not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.splitlines() if (path := PROJECT / name).is_file()]


def documents() -> list[Document]:
    """All Markdown but the recordings' own notes."""
    fixtures = PROJECT / "tests" / "fixtures"
    return [Document(path) for path in tracked("*.md") if fixtures not in path.parents]


def document(name: str) -> Document:
    """One of them."""
    return Document(PROJECT / name)
