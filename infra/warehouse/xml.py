"""Plain data to ClickHouse's XML configuration."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

ATTRIBUTE = "@"
"""Prefix of a key that becomes an XML attribute, as in {"@remove": "remove"}."""


def document(content: Mapping[str, object]) -> str:
    """An indented `<clickhouse>` document. Lists repeat their element; None is an empty element."""
    root = ElementTree.Element("clickhouse")
    _fill(root, content)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _fill(parent: ElementTree.Element, content: Mapping[str, object]) -> None:
    for key, value in content.items():
        if key.startswith(ATTRIBUTE):
            parent.set(key.removeprefix(ATTRIBUTE), str(value))
            continue
        for entry in value if isinstance(value, list) else [value]:
            child = ElementTree.SubElement(parent, key)
            if isinstance(entry, Mapping):
                _fill(child, entry)
            elif entry is not None:
                child.text = str(entry)
