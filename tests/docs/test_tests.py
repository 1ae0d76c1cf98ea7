"""The tests themselves: every file under tests/ is run, or serves one that is."""

from __future__ import annotations

import ast
from pathlib import Path

from stacks.home import PROJECT

from .reading import tracked

TESTS = PROJECT / "tests"


def module(path: Path) -> str:
    """Dotted name of a file; a package is called after its folder."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("__init__", "__main__"))


def mentions(path: Path) -> set[str]:
    """Modules a file imports, and last words of texts in it (a double is started by its name)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(path.relative_to(PROJECT).parent.parts)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = (
                ".".join([*up, node.module] if node.module else up) if node.level else node.module
            )
            found |= {str(base), *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def is_used(path: Path, by: dict[Path, set[str]]) -> bool:
    """Whether another file imports it, or names it as a file or folder it starts."""
    name = module(path)
    names = {name, path.name, path.parent.name, f"{path.parent.name}/{path.name}"}
    return any(
        words & names or any(word.startswith(f"{name}.") for word in words)
        for other, words in by.items()
        if other != path
    )


def test_every_file_under_tests_is_a_test_or_serves_one() -> None:
    files = [path for path in tracked("tests/*.py") if "fixtures" not in path.parts]
    by = {path: mentions(path) for path in files}
    idle = [
        str(path.relative_to(PROJECT))
        for path in files
        if not path.name.startswith("test_")
        and path.name not in ("conftest.py", "__init__.py")
        and not is_used(path, by)
    ]
    assert idle == []


def test_every_test_file_holds_a_test() -> None:
    empty = [
        str(path.relative_to(PROJECT))
        for path in tracked("tests/*.py")
        if path.name.startswith("test_") and "def test_" not in path.read_text(encoding="utf-8")
    ]
    assert empty == []
