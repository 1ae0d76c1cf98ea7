"""Merges ClickHouse's XML configuration files as the server's own preprocessor does.

The image runs this file by itself: nothing but the standard library.

An element is known by its name and its attributes. A file of config.d is laid over what is there:
a known element is merged, the others are added at the end; `remove="1"` takes the known element
away and `replace="1"` puts the new one in its place. One element takes one partner, so laying one
`<listen_host>` over two of them changes the first and leaves the second, here as there.
"""

from __future__ import annotations

import copy
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

ROOTS = ("clickhouse", "yandex")
CONTROLS = ("remove", "replace")
NOT_EMULATED = ("incl", "from_zk", "from_env")


class BadConfigError(Exception):
    """A configuration file the server would not start with; names the file and the reason."""


def merged(base: Path) -> Element:
    """The tree of `base` with every file of its folder (config.xml: config.d) merged over it."""
    tree = _read(base)
    folder = base.with_suffix(".d")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in (".yaml", ".yml"):
            raise BadConfigError(f"{path}: YAML is not emulated by this test image; use XML")
        if path.suffix in (".xml", ".conf"):
            lay_over(tree, _read(path), path)
    return tree


def lay_over(tree: Element, patch: Element, path: Path) -> None:
    """Lays `patch` over `tree` in place; `path` is for the message of an error."""
    if (patch.text or "").strip() or not len(patch):
        tree.text = patch.text
    partners = list(tree)
    for element in patch:
        if all(element.get(word) for word in CONTROLS):
            raise BadConfigError(f"{path}: <{element.tag}> says both remove and replace")
        partner = next((one for one in partners if _identity(one) == _identity(element)), None)
        if partner is not None:
            partners.remove(partner)
        if element.get("remove"):
            if partner is not None:
                tree.remove(partner)
        elif partner is None:
            tree.append(_without_controls(element))
        elif element.get("replace"):
            tree[list(tree).index(partner)] = _without_controls(element)
        else:
            lay_over(partner, element, path)


def _read(path: Path) -> Element:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise BadConfigError(f"{path}: {error}") from error
    if root.tag not in ROOTS:
        raise BadConfigError(f"{path}: the root element is <{root.tag}>, expected <clickhouse>")
    for element in root.iter():
        for word in NOT_EMULATED:
            if element.get(word) is not None:
                raise BadConfigError(f"{path}: {word}= of <{element.tag}> is not emulated here")
    return root


def _identity(element: Element) -> tuple[str, tuple[tuple[str, str], ...]]:
    attributes = ((name, value) for name, value in element.items() if name not in CONTROLS)
    return element.tag, tuple(sorted(attributes))


def _without_controls(element: Element) -> Element:
    kept = copy.deepcopy(element)
    for word in CONTROLS:
        kept.attrib.pop(word, None)
    return kept
