"""Step 3: sanitize, before anything touches a disk.

Three layers, each of which would do for the ordinary case:
1. patterns cut secrets and addresses out of every value (`transform/sanitize`);
2. attributes that name a person or a machine become pseudonyms;
3. only listed attributes pass at all (`redaction`): an attribute nobody listed is gone.

Statements are total: a value is made a string first, so no statement can fail on a type, and one
record never stops the others of its request. A record that the store could refuse is marked, and
goes to the side file instead of the queue.
"""

from __future__ import annotations

from typing import Any

from infra.collector import rules
from infra.collector.placement import Placement

FINGERPRINT_CHARACTERS = 200
MAX_VALUE_BYTES = 16 * 1024
ASIDE = "telemetry.aside"

_EARLIEST = "1577836800000000000"  # 2020-01-01: older than any client
_LATEST = "UnixNano(Now()) + 604800000000000"  # a week ahead: a clock that is wrong, not slow

_FINGERPRINT = (
    # What differs from one occurrence to the next, and may be text or a name.
    (r'"[^"]*"|`[^`]*`|(?:^|[\s(:=])\'[^\']*\'', "[quoted]"),
    (r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/:\"'<>|]+){2,}[\\/]?|~[\\/]\S+", "[path]"),
    (r"\b[0-9]+\b", "[n]"),
)


def _yaml_safe(text: str) -> str:
    """A `$` stands for a variable in the collector's YAML unless doubled."""
    return text.replace("$", "$$")


def _ottl(text: str) -> str:
    """An OTTL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_yaml_safe(escaped)}"'


def _replacement(pattern: rules.Pattern) -> str:
    kept = "${1}" if pattern.keep else ""
    return f"{kept}[redacted:{pattern.name}]{pattern.after}"


def _clean(path: str) -> list[str]:
    """Statements that cut every pattern out of a map of strings.

    Searching each value for each pattern is slow, and almost no record holds what a pattern needs.
    """
    target, text = f"{path}.attributes", f'{path}.cache["text"]'

    def cut(pattern: rules.Pattern) -> str:
        needed = " and ".join(
            "(" + " or ".join(f"Index({text}, {_ottl(word)}) >= 0" for word in words) + ")"
            for words in pattern.needs
        )
        return (
            f'replace_all_patterns({target}, "value", '
            f"{_ottl(pattern.regex)}, {_ottl(_replacement(pattern))})"
            + (f" where {needed}" if needed else "")
        )

    return [
        f'set({text}, ToLowerCase(Concat(Values({target}), " ")))',
        *map(cut, rules.patterns()),
        f'truncate_all({target}, {MAX_VALUE_BYTES}, truncation_marker = "[cut]")',
    ]


def _pseudonymize(path: str, key: str) -> list[str]:
    """Statements that replace who by a keyed hash; one already replaced stays as it is."""
    statements = [f'set({path}.cache["key"], "{key}")']
    for rule in rules.pseudonyms():
        value = f'{path}.attributes["{rule.name}"]'
        hashed = f'SHA256(Concat([{path}.cache["key"], {value}], ":"))'
        statements.append(
            f'set({value}, Concat(["p1:", {hashed}], "")) '
            f'where {value} != nil and not IsMatch({value}, "^p1:[0-9a-f]{{64}}$$")'
        )
    return statements


def _sanitized(path: str, key: str) -> list[str]:
    # Pseudonyms first: an address that a pattern has cut out can no longer be told from another.
    return [f"stringify_all({path}.attributes)", *_pseudonymize(path, key), *_clean(path)]


def _fingerprint(path: str) -> list[str]:
    value = f'{path}.attributes["error"]'
    return [
        *(
            f"replace_pattern({value}, {_ottl(regex)}, {_ottl(shown)}) where {value} != nil"
            for regex, shown in _FINGERPRINT
        ),
        f"replace_pattern({value}, "
        + _ottl(f"^(?s)(.{{{FINGERPRINT_CHARACTERS}}}).*$")
        + ', "$${1}")'
        + f" where {value} != nil",
    ]


def _aside(path: str, reason: str, condition: str) -> str:
    return f'set({path}.attributes["{ASIDE}"], "{reason}") where {condition}'


def _log_statements(key: str) -> list[str]:
    name = 'log.attributes["event.name"]'
    body_names_it = 'IsMatch(log.body, "^claude_code[.][a-z][a-z0-9_.]{0,63}$$")'
    return [
        *_sanitized("log", key),
        *_fingerprint("log"),
        # Some records name their event in the body alone.
        f"set({name}, log.body) where {name} == nil and IsString(log.body) and {body_names_it}",
        f'replace_pattern({name}, "^claude_code[.]", "") where {name} != nil',
        _aside("log", "name", f'not IsMatch({name}, "^[a-z][a-z0-9_.]{{0,63}}$$")'),
        f'set({name}, "unnamed") where log.attributes["{ASIDE}"] == "name"',
        # Bodies of API requests and answers are whole conversations.
        'set(log.attributes["body"], "") where log.attributes["body"] != nil',
        f"set(log.body, {name})",
        'set(log.event_name, "")',
        'set(log.severity_text, "")',
        "set(log.time_unix_nano, log.observed_time_unix_nano) where log.time_unix_nano == 0",
        _aside(
            "log",
            "time",
            f"log.time_unix_nano < {_EARLIEST} or log.time_unix_nano > {_LATEST}",
        ),
    ]


def _datapoint_statements(key: str) -> list[str]:
    return [
        *_sanitized("datapoint", key),
        _aside(
            "datapoint",
            "type",
            "metric.type != METRIC_DATA_TYPE_SUM and metric.type != METRIC_DATA_TYPE_GAUGE",
        ),
        _aside("datapoint", "name", 'metric.name == "unnamed"'),
        _aside(
            "datapoint",
            "time",
            f"datapoint.time_unix_nano < {_EARLIEST} or datapoint.time_unix_nano > {_LATEST}",
        ),
    ]


_METRIC_STATEMENTS = [
    'set(metric.name, "unnamed") where not IsMatch(metric.name, "^[a-z][a-z0-9_.]{0,127}$$")',
    'set(metric.description, "")',
    'delete_matching_keys(metric.metadata, ".*")',
    'set(metric.unit, "") where not IsMatch(metric.unit, "^[A-Za-z0-9{}/%._-]{0,32}$$")',
]

# Sample measurements repeat attributes that the allow-list does not look at.
_EXEMPLAR_STATEMENTS = ['delete_matching_keys(exemplar.filtered_attributes, ".*")']

_SCOPE_STATEMENTS = [
    'set(scope.name, "other") where not IsMatch(scope.name, "^com[.]anthropic[.][a-z_.]{1,64}$$")',
    'set(scope.version, "") where not IsMatch(scope.version, "^[0-9A-Za-z._+-]{0,32}$$")',
    'set(scope.schema_url, "")',
]


def processors(placement: Placement) -> dict[str, Any]:
    """`transform/sanitize` and `redaction`, in this order."""
    key = placement.secret("pseudonym-key")
    outer = [
        {
            "context": "resource",
            "statements": [*_sanitized("resource", key), 'set(resource.schema_url, "")'],
        },
        {"context": "scope", "statements": [*_sanitized("scope", key), *_SCOPE_STATEMENTS]},
    ]
    return {
        "transform/sanitize": {
            "error_mode": "propagate",
            "log_statements": [
                *outer,
                {"context": "log", "statements": _log_statements(key)},
            ],
            "metric_statements": [
                *outer,
                {"context": "metric", "statements": _METRIC_STATEMENTS},
                {"context": "datapoint", "statements": _datapoint_statements(key)},
                {"context": "exemplar", "statements": list(_EXEMPLAR_STATEMENTS)},
            ],
        },
        "redaction": {
            "allow_all_keys": False,
            "allowed_keys": sorted(rule.name for rule in rules.attributes()),
            "summary": "silent",
        },
        # Two halves of one question, so that a record goes one way or the other, never both.
        "filter/store": {
            "error_mode": "propagate",
            "log_conditions": [f'log.attributes["{ASIDE}"] != nil'],
            "metric_conditions": [f'datapoint.attributes["{ASIDE}"] != nil'],
        },
        "filter/aside": {
            "error_mode": "propagate",
            "log_conditions": [f'log.attributes["{ASIDE}"] == nil'],
            "metric_conditions": [f'datapoint.attributes["{ASIDE}"] == nil'],
        },
    }
