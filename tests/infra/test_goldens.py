"""What is rendered and kept in git is what the code renders now."""

from __future__ import annotations

from scripts.render import rendered


def test_every_rendered_file_is_the_reviewed_one() -> None:
    stale = [
        str(path)
        for path, text in rendered().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make render` and read the difference"
