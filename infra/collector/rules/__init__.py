"""The rules of sanitization: one source for the collector, the documents and the tests."""

from infra.collector.rules.builtin import (
    DIGITS,
    LEVELS,
    MARK,
    Attribute,
    Keys,
    Level,
    Ordinary,
    Pattern,
    Pseudonym,
    Refused,
    attributes,
    content,
    keys,
    ordinary,
    patterns,
    pseudonyms,
    refused,
)
from infra.collector.rules.team import TeamAttribute, TeamPattern

__all__ = [
    "DIGITS",
    "LEVELS",
    "MARK",
    "Attribute",
    "Keys",
    "Level",
    "Ordinary",
    "Pattern",
    "Pseudonym",
    "Refused",
    "TeamAttribute",
    "TeamPattern",
    "attributes",
    "content",
    "keys",
    "ordinary",
    "patterns",
    "pseudonyms",
    "refused",
]
