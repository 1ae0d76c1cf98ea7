"""Step 3: sanitize, before anything touches a disk.

Layers, each of which would do for the ordinary case:
1. what is known and not to be stored is dropped, texts beyond the content level among it;
2. attributes that name a person or a machine become pseudonyms;
3. patterns cut secrets and personal data out of every value (`transform/sanitize`);
4. only listed attributes pass at all (`redaction`): one that nobody listed is gone, and its name
   counted (`transform/dropped`).

Statements are total: every attribute is a string by now, so no statement can fail on a type, and
one record never stops the others of its request. A record that the store could refuse is marked,
and goes to the side file instead of the queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from infra.collector import content, identify, ottl, rules
from infra.collector.placement import Placement
from infra.settings import Settings

FINGERPRINT_CHARACTERS = 200
MAX_VALUE_BYTES = 16 * 1024
_SEARCHED_BYTES = 64 * 1024
_CUT_MARK = "…[cut]"
"""Like the client's own mark, by which a pattern knows a token that was cut in two."""
ASIDE = "telemetry.aside"
NO_DATA = "metric.type == METRIC_DATA_TYPE_NONE"
"""Of a metric that has no data point to be marked, and that no exporter could ever write."""

_NAME = "^[a-z]{1,24}[0-9]{0,2}(?:[_.][a-z]{1,24}[0-9]{0,2}){0,7}$"
"""Of events and metrics: words, in which no secret can stand."""
_UNIT = r"^(?:1|%|\{?[A-Za-z]{1,12}\}?(?:/[A-Za-z]{1,12})?)?$"
_VERSION = r"^(?:[0-9]{1,4}(?:[.][0-9]{1,4}){1,3}(?:-[a-z]{1,8}[.]?[0-9]{0,3})?)?$"
_EARLIEST = "1577836800000000000"  # 2020-01-01: older than any client
_LATEST = "UnixNano(Now()) + 604800000000000"  # a week ahead: a clock that is wrong, not slow

_FINGERPRINT = (
    # What differs from one occurrence to the next, and may be text or a name.
    ("“[^”]*”|„[^“”]*[“”]|«[^»]*»|»[^«]*«", "[quoted]"),
    (r'"[^"]*"|`[^`]*`|(?:^|[\s(:=])\'[^\']*\'', "[quoted]"),
    (
        r"(?:[A-Za-z]:)?(?:[\\/](?:\[redacted:[a-z0-9-]+\]|[^\s\\/:\"'<>|])+){2,}[\\/]?|~[\\/]\S+",
        "[path]",
    ),
    (r"\b[0-9]+\b", "[n]"),
)


_SEARCH, _KNOWN = "telemetry.search", "telemetry.known"
"""Set while a record is at this step: whether to search it, and what of it need not be searched."""
_BETWEEN = "\u241f"
"""The picture of a unit separator: no pattern looks for it, and no ordinary value has it."""


def _take_out(settings: Settings, path: str, key: str) -> list[str]:
    """Statements that drop what is not to be stored, and set apart who it was, as a keyed hash."""
    statements = [f'set({path}.cache["key"], "{key}")']
    for rule in rules.pseudonyms():
        sent, value = ottl.attribute(path, rule.name), f'{path}.cache["known"]["{rule.name}"]'
        hashed = f'SHA256(Concat([{path}.cache["key"], {value}], ":"))'
        statements += [
            f"set({value}, {sent}) where {sent} != nil",
            # One already replaced, by a collector before this one, stays as it is.
            f'set({value}, Concat(["p1:", {hashed}], "")) '
            f'where {value} != nil and not IsMatch({value}, "^p1:[0-9a-f]{{64}}$$")',
        ]
    gone = [*content.refused(settings), *(rule.name for rule in rules.pseudonyms())]
    return [
        *statements,
        f"delete_matching_keys({path}.attributes, {ottl.literal(ottl.either(gone))})",
    ]


def _set_apart(path: str) -> list[str]:
    """Statements that leave in a record what is to be searched, and mark it if anything is."""
    target, known = f"{path}.attributes", f'{path}.cache["known"]'
    *named, other = rules.ordinary()
    statements = []
    for form in named:
        for name in form.attributes if form.resource == (path == "resource") else ():
            value = ottl.attribute(path, name)
            statements += [
                f'set({known}["{name}"], {value}) '
                f"where IsMatch({value}, {ottl.literal(f'^(?:{form.regex})$')})",
                f'delete_key({target}, "{name}") where {known}["{name}"] != nil',
            ]
    ordinary = f"^(?:{other.regex})?(?:{_BETWEEN}(?:{other.regex})?)*$"
    return [
        *statements,
        # Before the other mark, which is a value too.
        f"set({ottl.attribute(path, _SEARCH)}, true) where not "
        f'IsMatch(Concat(Values({target}), "{_BETWEEN}"), {ottl.literal(ordinary)})',
        f"set({ottl.attribute(path, _KNOWN)}, {known}) where {known} != nil",
    ]


def _without_marks(path: str) -> list[str]:
    """Statements that leave in a record nothing but what is to be searched."""
    return [
        f'set({path}.cache["known"], {ottl.attribute(path, _KNOWN)})',
        *(f'delete_key({path}.attributes, "{mark}")' for mark in (_KNOWN, _SEARCH)),
    ]


def _cut(path: str, patterns: Iterable[rules.Pattern]) -> list[str]:
    """Statements that cut every pattern out of a map of strings.

    Searching each value for each pattern is slow, and few records hold what a pattern needs.
    """
    target, text = f"{path}.attributes", f'{path}.cache["text"]'

    def cut(regex: str, shown: str, where: str) -> str:
        statement = (
            f'replace_all_patterns({target}, "value", {ottl.literal(regex)}, {ottl.literal(shown)})'
        )
        return f"{statement} where {where}" if where else statement

    def holds(words: Iterable[str]) -> str:
        return "(" + " or ".join(f"Index({text}, {ottl.literal(w)}) >= 0" for w in words) + ")"

    digits = f'{path}.cache["digits"] == true'
    statements = [
        f'set({text}, ToLowerCase(Concat(Values({target}), " ")))',
        f'set({path}.cache["digits"], true) where IsMatch({text}, {ottl.literal(rules.DIGITS)})',
    ]
    named, marked = f'{path}.cache["named"] == true', f'{path}.cache["marked"] == true'
    patterns, keys = tuple(patterns), rules.keys()
    if any(each.named for each in patterns):  # a team's come after these, and have no marks
        others = {word for each in keys.spared for word in each.needs}.difference(keys.searched)
        statements += [
            f'set({path}.cache["named"], true) where {holds(keys.searched)}',
            f'set({path}.cache["marked"], true) where {named} or {holds(sorted(others))}',
            cut(keys.unmarked, "", marked),
            *(cut(each.regex, keys.spare, holds(each.needs)) for each in keys.spared),
        ]
    for are_named, group in groupby(patterns, key=lambda pattern: pattern.named):
        if are_named:
            statements += [cut(regex, shown, named) for regex, shown in keys.steps]
        for pattern in group:
            needed = [digits] if pattern.digits else []
            needed += [named] if are_named else list(map(holds, pattern.needs))
            where = " and ".join(needed)
            if not are_named and len(pattern.expressions) > 1:  # ask once
                found = f'{path}.cache["{pattern.name}"]'
                statements.append(f"set({found}, true) where {where or 'true'}")
                where = f"{found} == true"
            statements += [
                cut(regex, pattern.replacement(regex), where) for regex in pattern.expressions
            ]
        if are_named:
            statements.append(cut(keys.behind, "", named))
    if any(each.named for each in patterns):
        statements.append(cut(keys.unmarked, "", marked))
    return statements


def _sanitized(settings: Settings, path: str, key: str, *more: str) -> list[dict[str, Any]]:
    """Groups of statements: before the patterns, the patterns where there is anything to search,
    and what comes after them."""
    team = [each.pattern for each in settings.sanitize.patterns]
    target, known = f"{path}.attributes", f'{path}.cache["known"]'
    return [
        {
            "context": path,
            "statements": [
                *(content.gather(settings) if path == "log" else []),
                # Pseudonyms first: an address that is cut out can no longer be told from another.
                *_take_out(settings, path, key),
                # Whatever stands behind it could not be told from a token that was cut.
                f'truncate_all({target}, {_SEARCHED_BYTES}, truncation_marker = "{_CUT_MARK}")',
                *(content.shape(settings) if path == "log" else []),
                *_set_apart(path),
            ],
        },
        {
            "context": path,
            "conditions": [f"{ottl.attribute(path, _SEARCH)} != nil"],
            "statements": [
                *_without_marks(path),
                *_cut(path, rules.patterns()),
                f"set({ottl.attribute(path, _KNOWN)}, {known}) where {known} != nil",
            ],
        },
        {
            "context": path,
            "statements": [
                *_without_marks(path),
                # A team's come last: by then a built-in one has done its work. What is ordinary to
                # a client may be a name to them, so each record is searched.
                *(_cut(path, team) if team else []),
                *(
                    ottl.shorten(ottl.attribute(path, each.name), rules.LABEL_CHARACTERS)
                    for each in settings.sanitize.attributes
                ),
                f'truncate_all({target}, {MAX_VALUE_BYTES}, truncation_marker = "{_CUT_MARK}")',
                f'merge_maps({target}, {known}, "upsert") where {known} != nil',
                *more,
            ],
        },
    ]


def _fingerprint(path: str) -> list[str]:
    value = ottl.attribute(path, "error")
    return [
        *(ottl.replace(value, regex, shown) for regex, shown in _FINGERPRINT),
        ottl.shorten(value, FINGERPRINT_CHARACTERS),
    ]


_ODD_NAME = (
    # A name of a client's attribute is made of words; anything else may be someone's text.
    r"(^|,)[^,]*(?:[^a-z0-9_.,]|[0-9]{5}|[a-z0-9]{25}|[^,]{64})[^,]*",
    "${1}(odd name)",
)
_DROPPED_CHARACTERS = 1000


def _dropped(path: str) -> dict[str, Any]:
    """Names of attributes that nobody listed, so that a new client version is noticed."""
    found = ottl.attribute(path, identify.REMOVED_KEYS)
    names = ottl.attribute(path, identify.DROPPED)
    return {
        "context": path,
        "conditions": [f"{found} != nil"],
        "statements": [
            f"set({names}, {found})",
            ottl.replace(names, *_ODD_NAME),
            ottl.shorten(names, _DROPPED_CHARACTERS),
            *(
                f'delete_key({path}.attributes, "{key}")'
                for key in (identify.REMOVED_KEYS, identify.REMOVED_COUNT)
            ),
        ],
    }


def _aside(path: str, reason: str, condition: str) -> str:
    return f'set({ottl.attribute(path, ASIDE)}, "{reason}") where {condition}'


def _log_statements() -> list[str]:
    name = ottl.attribute("log", "event.name")
    body_names_it = 'IsMatch(log.body, "^claude_code[.]")'
    return [
        *_fingerprint("log"),
        # Some records name their event in the body alone.
        f"set({name}, log.body) where {name} == nil and IsString(log.body) and {body_names_it}",
        ottl.replace(name, "^claude_code[.]", ""),
        _aside("log", "name", f"not IsMatch({name}, {ottl.literal(_NAME)})"),
        f'set({name}, "unnamed") where log.attributes["{ASIDE}"] == "name"',
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


def _datapoint_statements() -> list[str]:
    return [
        _aside(
            "datapoint",
            "type",
            "metric.type != METRIC_DATA_TYPE_SUM and metric.type != METRIC_DATA_TYPE_GAUGE",
        ),
        _aside("datapoint", "name", 'metric.name == "unnamed"'),
        _aside(
            "datapoint",
            "value",
            "datapoint.value_double != nil "
            'and IsMatch(Format("%v", [datapoint.value_double]), "NaN|Inf")',
        ),
        _aside(
            "datapoint",
            "time",
            f"datapoint.time_unix_nano < {_EARLIEST} or datapoint.time_unix_nano > {_LATEST}",
        ),
    ]


_METRIC_STATEMENTS = [
    f'set(metric.name, "unnamed") where not IsMatch(metric.name, {ottl.literal(_NAME)})',
    'set(metric.description, "")',
    'delete_matching_keys(metric.metadata, ".*")',
    f'set(metric.unit, "") where not IsMatch(metric.unit, {ottl.literal(_UNIT)})',
]

# Sample measurements repeat attributes that the allow-list does not look at.
_EXEMPLAR_STATEMENTS = ['delete_matching_keys(exemplar.filtered_attributes, ".*")']

_SCOPE_STATEMENTS = [
    # No attribute of a scope is stored; their names are still to be counted.
    "stringify_all(scope.attributes)",
    'replace_all_patterns(scope.attributes, "value", "(?s)^.*$$", "")',
    'set(scope.name, "other") where not IsMatch(scope.name, "^com[.]anthropic[.][a-z_.]{1,64}$$")',
    f'set(scope.version, "") where not IsMatch(scope.version, {ottl.literal(_VERSION)})',
    'set(scope.schema_url, "")',
]


def processors(settings: Settings, placement: Placement) -> dict[str, Any]:
    """`transform/sanitize`, `redaction` and `transform/dropped`, in this order."""
    key = placement.secret("pseudonym-key")
    outer = [
        *_sanitized(settings, "resource", key, 'set(resource.schema_url, "")'),
        {"context": "scope", "statements": list(_SCOPE_STATEMENTS)},
    ]
    return {
        "transform/sanitize": {
            "error_mode": "propagate",
            "log_statements": [
                *outer,
                *_sanitized(settings, "log", key, *_log_statements()),
            ],
            "metric_statements": [
                *outer,
                {"context": "metric", "statements": _METRIC_STATEMENTS},
                *_sanitized(settings, "datapoint", key, *_datapoint_statements()),
                {"context": "exemplar", "statements": list(_EXEMPLAR_STATEMENTS)},
            ],
        },
        "redaction": {
            "allow_all_keys": False,
            "allowed_keys": list(content.allowed(settings)),
            # Names what it removes, in attributes that the next step takes away again.
            "summary": "debug",
        },
        "transform/dropped": {
            "error_mode": "propagate",
            "log_statements": [_dropped(path) for path in ("resource", "scope", "log")],
            "metric_statements": [_dropped(path) for path in ("resource", "scope", "datapoint")],
        },
        # Two halves of one question, so that a record goes one way or the other, never both.
        "filter/store": {
            "error_mode": "propagate",
            "log_conditions": [f'log.attributes["{ASIDE}"] != nil'],
            "metric_conditions": [
                NO_DATA,
                f'datapoint.attributes["{ASIDE}"] != nil',
            ],
        },
        "filter/aside": {
            "error_mode": "propagate",
            "log_conditions": [f'log.attributes["{ASIDE}"] == nil'],
            "metric_conditions": [f'datapoint.attributes["{ASIDE}"] == nil'],
        },
    }
