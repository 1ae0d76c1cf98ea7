"""What the work at hand is filed under: team, chapter and branch of the folder one stands in.

Chapter: `--chapter` or TELEMETRY_CHAPTER, else the map of paths, else the pattern of the branch,
else none. The folder may be any repository, not only the one that holds the book.
"""

from __future__ import annotations

import os
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

from infra.client import WorkContext
from infra.settings import Chapters, Settings


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def branch(folder: Path) -> str:
    """The branch checked out in `folder`; empty outside a repository or on a detached head."""
    return _git(folder, "symbolic-ref", "--short", "--quiet", "HEAD")


def chapter_of_path(relative: str, chapters: Chapters) -> str:
    """The chapter whose glob the folder, or one above it, matches; the first one wins."""
    path = Path(relative)
    candidates = [str(path), *(str(parent) for parent in path.parents)]
    for glob, chapter in chapters.paths.items():
        if any(fnmatchcase(candidate, glob.rstrip("/")) for candidate in candidates):
            return chapter
    return ""


def chapter_of_branch(name: str, chapters: Chapters) -> str:
    r"""The chapter whose pattern the branch matches; `\1` stands for the first group."""
    for pattern, chapter in chapters.branches.items():
        match = re.search(pattern, name)
        if match:
            return match.expand(chapter)
    return ""


def of_folder(settings: Settings, folder: Path, *, chapter: str = "") -> WorkContext:
    """Everything that is known of the work in `folder`."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    name = branch(folder)
    chapters = settings.context.chapters
    relative = os.path.relpath(folder.resolve(), Path(top).resolve()) if top else str(folder)
    found = (
        chapter
        or os.environ.get("TELEMETRY_CHAPTER", "")
        or chapter_of_path(relative, chapters)
        or chapter_of_branch(name, chapters)
    )
    return WorkContext(team=settings.context.team, chapter=found, git_branch=name)
