"""`make pin-images`: write the digests of the images into infra/versions.py.

Needs a container engine and a registry to ask. The tags stay what they are; a digest makes two
machines run the same bytes even where someone has pushed a tag again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from scripts.console import say
from scripts.errors import Failure
from stacks.home import PROJECT

VERSIONS = PROJECT / "infra" / "versions.py"
_IMAGE = re.compile(
    r'"(?P<name>[a-z0-9./-]+:[A-Za-z0-9._-]+)"(?P<digest>\s*"@sha256:[0-9a-f]{64}")?'
)


def digest(engine: str, image: str) -> str:
    """The digest of a tag's multi-platform index. Raises Failure where no registry answers."""
    done = subprocess.run(
        [engine, "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise Failure(f"No digest of {image}: {(done.stderr or found).strip()[:300]}")
    return found


def pinned(text: str, digests: dict[str, str]) -> str:
    """versions.py with the digests of its images."""

    def write(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in digests:
            return match[0]
        return f'(\n    "{name}"\n    "@{digests[name]}"\n)'

    flat = re.sub(r'\(\s*("[a-z0-9./-]+:[^"]+"\s*"@sha256:[0-9a-f]{64}")\s*\)', r"\1", text)
    return _IMAGE.sub(write, flat)


def images(text: str) -> list[str]:
    """Image names with their tags."""
    return [match["name"] for match in _IMAGE.finditer(text) if "/" in match["name"]]


def main() -> int:
    """Ask for each, then write."""
    engine = shutil.which("docker")
    text = VERSIONS.read_text(encoding="utf-8")
    try:
        if engine is None:
            raise Failure("Missing on this machine:\n  - docker with buildx")
        found = {image: digest(engine, image) for image in images(text)}
    except Failure as error:
        say(str(error))
        return 1
    VERSIONS.write_text(pinned(text, found), encoding="utf-8")
    for image, value in found.items():
        say(f"{image}@{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
