"""Step 3: sanitize, before anything touches a disk.

Layers, each of which would do for the ordinary case:
1. attributes that name a person or a machine become pseudonyms;
2. only listed attributes pass at all: what is known and not to be stored is gone, texts beyond the
   content level among it, and so is one that nobody listed, whose name is counted;
3. patterns cut secrets and personal data out of every value.

Statements are total: every attribute is a string by now, so no statement can fail on a type, and
one record never stops the others of its request. A record that the store could refuse is marked,
and goes to the side file instead of the queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from infra.collector import content, identify, ottl, purge, rules, sample
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


_SEARCH = "telemetry.search"
"""Stands in a record or a resource while it is at this step, if it is to be searched: for all
patterns, or for those of a team alone."""
_FOR_ALL, _FOR_TEAMS = "all", "teams"
UNSEARCHED = f'resource.attributes["{_SEARCH}"] != nil'
"""Of a resource without any record; nothing of it may be written."""
_OUTER = "\u2420"
"""Before names of a resource's attributes while they are searched together with a record's."""
_BETWEEN = "\u241f"
"""The picture of a unit separator: no pattern looks for it, and no ordinary value has it."""
_NOTHING = "<nil>"
"""What Concat writes for an attribute that is not there."""


def _pseudonyms(path: str, key: str) -> list[str]:
    """Statements that put a keyed hash in place of who it was."""
    statements = [f'set({path}.cache["key"], "{key}")']
    for rule in rules.pseudonyms():
        value = ottl.attribute(path, rule.name)
        hashed = f'SHA256(Concat([{path}.cache["key"], {value}], ":"))'
        statements.append(
            f'set({value}, Concat(["p1:", {hashed}], "")) '
            # One already replaced, by a collector before this one, stays as it is.
            f'where {value} != nil and not IsMatch({value}, "^p1:[0-9a-f]{{64}}$$")'
        )
    return statements


def _formed(path: str) -> dict[str, str]:
    """Attributes whose ordinary values have a form of their own, and RE2 of it."""
    return {
        name: form.regex
        for form in rules.ordinary()
        for name in form.attributes
        if form.resource == (path == "resource")
    }


def _is_ordinary(values: str, regex: str) -> str:
    return f"IsMatch({values}, {ottl.literal(regex)})"


def _listed(settings: Settings, path: str, rest: str) -> list[str]:
    """Statements that let only listed attributes pass, and count the others by name. `rest`: a copy
    of the attributes."""
    target, unlisted = f"{path}.attributes", f'{path}.cache["unlisted"]'
    allowed = content.allowed(settings)
    known = ottl.literal(ottl.either((*allowed, *content.refused(settings))))
    return [
        f"keep_keys({target}, [{ottl.names(allowed)}])",
        f"set({unlisted}, {rest}) where Len({rest}) > Len({target})",
        f"delete_matching_keys({unlisted}, {known}) where {unlisted} != nil",
        f"set({ottl.attribute(path, identify.DROPPED)}, "
        f'Concat(Sort(Keys({unlisted})), ",")) where {unlisted} != nil and Len({unlisted}) > 0',
    ]


def _to_be_searched(settings: Settings, path: str, rest: str) -> list[str]:
    """Statements that mark a record of which a value that may be stored is not ordinary."""
    formed, other = _formed(path), rules.ordinary()[-1].regex
    known = {*formed, *(rule.name for rule in rules.pseudonyms())}
    others = ottl.names(name for name in content.allowed(settings) if name not in known)
    named = ", ".join(ottl.attribute(path, name) for name in formed)
    forms = _BETWEEN.join(f"(?:{regex}|{_NOTHING})" for regex in formed.values())
    return [
        f"keep_keys({rest}, [{others}])",
        f'set({ottl.attribute(path, _SEARCH)}, "{_FOR_ALL}") where '
        + "not "
        + _is_ordinary(f'Concat([{named}], "{_BETWEEN}")', f"^{forms}$")
        + " or not "
        + _is_ordinary(
            f'Concat(Values({rest}), "{_BETWEEN}")', f"^(?:{other})?(?:{_BETWEEN}(?:{other})?)*$"
        ),
    ]


def _may_be_text(settings: Settings) -> tuple[str, ...]:
    """Attributes that may be stored, but for pseudonyms and what is set here."""
    never = {*(rule.name for rule in rules.pseudonyms()), identify.DROPPED, ASIDE}
    return tuple(name for name in content.allowed(settings) if name not in never)


def _odd(settings: Settings, path: str, into: str) -> list[str]:
    """Statements that gather the values that are not ordinary, of attributes that may be stored."""
    formed, other = _formed(path), rules.ordinary()[-1].regex
    return [
        f"set({into}, {{}})",
        *(
            f'set({into}["{name}"], {value}) where {value} != nil and not '
            + _is_ordinary(value, f"^(?:{formed.get(name, other)})$")
            for name in _may_be_text(settings)
            for value in [ottl.attribute(path, name)]
        ),
    ]


def _all(settings: Settings, path: str, into: str, where: str = "true") -> list[str]:
    """Statements that gather all values that may be stored, but for who it was and ids."""
    return [
        f"set({into}, {path}.attributes) where {where}",
        f"keep_keys({into}, [{ottl.names(_may_be_text(settings))}]) where {where}",
        *(
            f'delete_key({into}, "{name}") where {where} and '
            + _is_ordinary(f'{into}["{name}"]', f"^(?:{regex})$")
            for name, regex in _formed(path).items()
        ),
    ]


def _search(
    settings: Settings, path: str, gathered: list[str], patterns: Iterable[rules.Pattern], mark: str
) -> list[str]:
    """Statements that cut patterns out of what is gathered of a record, and with it, so that no
    pattern stands in the collector's memory once more, out of all of its resource if that has the
    mark."""
    searched, outer = f'{path}.cache["searched"]', f'{path}.cache["outer"]'
    marked = f'{ottl.attribute("resource", _SEARCH)} == "{mark}"'
    return [
        *gathered,
        *_all(settings, "resource", f'{searched}["{_OUTER}"]', marked),
        f"flatten({searched}) where {marked}",
        *_cut(path, searched, patterns),
        f"set({outer}, {searched}) where {marked}",
        f'delete_matching_keys({outer}, "^[^{_OUTER}]") where {marked}',
        f'replace_all_patterns({outer}, "key", "^{_OUTER}[.]", "") where {marked}',
        f'merge_maps(resource.attributes, {outer}, "upsert") where {marked}',
        f'delete_matching_keys({searched}, "^{_OUTER}") where {marked}',
        f'merge_maps({path}.attributes, {searched}, "upsert")',
    ]


def _cut(path: str, target: str, patterns: Iterable[rules.Pattern]) -> list[str]:
    """Statements that cut every pattern out of `target`, a map of strings.

    Searching each value for each pattern is slow, and few records hold what a pattern needs.
    """
    text = f'{path}.cache["text"]'

    def cut(regex: str, shown: str, where: str) -> str:
        statement = (
            f'replace_all_patterns({target}, "value", {ottl.literal(regex)}, {ottl.literal(shown)})'
        )
        return f"{statement} where {where}" if where else statement

    def is_met(gate: str) -> str:
        return f'{path}.cache["{gate}"] == true'

    def holds(words: Iterable[str]) -> str:
        """One that holds another need not be looked for, nor most where all is ASCII."""
        least = [w for w in words if not any(other != w and other in w for other in words)]
        plain, foreign = (
            " or ".join(
                f"Index({text}, {ottl.literal(w)}) >= 0" for w in least if w.isascii() == is_ascii
            )
            for is_ascii in (True, False)
        )
        some = [
            *([plain] if plain else []),
            *([f"{is_met('foreign')} and ({foreign})"] if foreign else []),
        ]
        return f"({' or '.join(some)})"

    gates = {"digits": rules.DIGITS, "run": rules.RUN, "foreign": r"[^\x00-\x7f]"}
    patterns, keys = tuple(patterns), rules.keys()
    statements = [
        f'set({text}, ToLowerCase(Concat(Values({target}), " ")))',
        *(
            f'set({path}.cache["{gate}"], true) where IsMatch({text}, {ottl.literal(regex)})'
            for gate, regex in gates.items()
            if any(each.needs or getattr(each, gate, False) for each in patterns)
        ),
    ]
    named, marked = is_met("named"), is_met("marked")
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
            needed = [is_met(what) for what in ("digits", "run") if getattr(pattern, what)]
            needed += [named] if are_named else list(map(holds, pattern.needs))
            where = " and ".join(needed)
            if not are_named and len(pattern.expressions) > 1:  # ask once
                statements.append(
                    f'set({path}.cache["{pattern.name}"], true) where {where or "true"}'
                )
                where = is_met(pattern.name)
            statements += [
                cut(regex, pattern.replacement(regex), where) for regex in pattern.expressions
            ]
        if are_named:
            statements.append(cut(keys.behind, "", named))
    if any(each.named for each in patterns):
        statements.append(cut(keys.unmarked, "", marked))
    return statements


_ODD_NAME = (
    # A name of a client's attribute is made of words; anything else may be someone's text.
    r"(^|,)[^,]*(?:[^a-z0-9_.,]|[0-9]{5}|[a-z0-9]{25}|[^,]{64})[^,]*",
    "${1}(odd name)",
)
_DROPPED_CHARACTERS = 1000


def _dropped(path: str) -> tuple[str, list[str]]:
    """Names of attributes that nobody listed, so that a new client version is noticed: when there
    are any, and statements."""
    names = ottl.attribute(path, identify.DROPPED)
    return f"{names} != nil", [
        ottl.replace(names, *_ODD_NAME),
        ottl.shorten(names, _DROPPED_CHARACTERS),
    ]


def _fingerprint(path: str) -> tuple[str, list[str]]:
    """When there is an error, and statements that leave of it what is the same each time."""
    value = ottl.attribute(path, "error")
    return f"{value} != nil", [
        *(ottl.replace(value, regex, shown) for regex, shown in _FINGERPRINT),
        ottl.shorten(value, FINGERPRINT_CHARACTERS),
    ]


def _group(path: str, where: str, statements: list[str]) -> dict[str, Any]:
    return {
        "context": path,
        **({"conditions": [where]} if where else {}),
        "statements": statements,
    }


def _sanitized(settings: Settings, path: str, key: str, *more: str) -> list[dict[str, Any]]:
    """Groups of statements: before the patterns, names of what was dropped, the patterns where
    there is anything to search, and what comes after them. A resource is searched together with
    its first record."""
    target, rest = f"{path}.attributes", f'{path}.cache["rest"]'
    outer = path == "resource"
    groups: list[tuple[str, list[str]]] = [
        (
            "",
            [
                *(content.gather(settings) if path == "log" else []),
                # Pseudonyms first: an address that is cut out can no longer be told from another.
                *_pseudonyms(path, key),
                *(
                    f'delete_key({target}, "{each.name}")'
                    for each in rules.refused()
                    if each.everywhere
                ),
                _truncated(target, MAX_VALUE_BYTES if outer else _SEARCHED_BYTES),
                *(content.shape(settings) if path == "log" else []),
                f"set({rest}, {target})",
                *_listed(settings, path, rest),
                *_to_be_searched(settings, path, rest),
            ],
        ),
        _dropped(path),
        *([] if outer else _searched(settings, path)),
        (
            "",
            [
                *(
                    ottl.shorten(ottl.attribute(each, label.name), rules.LABEL_CHARACTERS)
                    for label in settings.sanitize.attributes
                    for each in ([] if outer else ["resource", path])
                ),
                *([] if outer else [_truncated(target, MAX_VALUE_BYTES)]),
                *more,
            ],
        ),
    ]
    if path == "log":
        groups.append(_fingerprint(path))
    return [_group(path, where, statements) for where, statements in groups]


def _truncated(target: str, size: int) -> str:
    # Whatever stands behind it could not be told from a token that was cut.
    return f'truncate_all({target}, {size}, truncation_marker = "{_CUT_MARK}")'


def _searched(settings: Settings, path: str) -> list[tuple[str, list[str]]]:
    """When a record is searched, and statements: for the built-in patterns, then for a team's. By
    then a built-in one has done its work; and what is ordinary to a client may be a name to a team,
    so that each record is searched."""
    into, mark = f'{path}.cache["searched"]', ottl.attribute(path, _SEARCH)
    outer = ottl.attribute("resource", _SEARCH)
    team = [each.pattern for each in settings.sanitize.patterns]
    groups = [
        (
            f'{mark} != nil or {outer} == "{_FOR_ALL}"',
            [
                f'delete_key({path}.attributes, "{_SEARCH}")',
                *_search(settings, path, _odd(settings, path, into), rules.patterns(), _FOR_ALL),
                f'set({outer}, "{_FOR_TEAMS}")'
                if team
                else f'delete_key(resource.attributes, "{_SEARCH}")',
            ],
        )
    ]
    if team:
        groups.append(
            (
                "",
                [
                    *_search(settings, path, _all(settings, path, into), team, _FOR_TEAMS),
                    f'delete_key(resource.attributes, "{_SEARCH}")',
                ],
            )
        )
    return groups


def _aside(path: str, reason: str, condition: str) -> str:
    return f'set({ottl.attribute(path, ASIDE)}, "{reason}") where {condition}'


def _log_statements() -> list[str]:
    name = ottl.attribute("log", "event.name")
    body_names_it = 'IsMatch(log.body, "^claude_code[.]")'
    return [
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


def _scope(settings: Settings) -> list[dict[str, Any]]:
    """No attribute of a scope is stored; names of those that nobody listed are counted."""
    rest = 'scope.cache["rest"]'
    where, names = _dropped("scope")
    name, version = ottl.literal("^com[.]anthropic[.][a-z_.]{1,64}$"), ottl.literal(_VERSION)
    statements = [
        f"set({rest}, scope.attributes)",
        *_listed(settings, "scope", rest),
        f'keep_keys(scope.attributes, ["{identify.DROPPED}"])',
        f'set(scope.name, "other") where not IsMatch(scope.name, {name})',
        f'set(scope.version, "") where not IsMatch(scope.version, {version})',
        'set(scope.schema_url, "")',
    ]
    return [_group("scope", "", statements), _group("scope", where, names)]


def processors(settings: Settings, placement: Placement) -> dict[str, Any]:
    """`transform/sanitize`, and the two filters that tell what goes to the side file."""
    key = placement.secret("pseudonym-key")
    outer_mark = ottl.attribute("resource", _SEARCH)
    outer = [
        *_sanitized(
            settings,
            "resource",
            key,
            'set(resource.schema_url, "")',
            *purge.statements("resource", "member", key),
            *(
                [f'set({outer_mark}, "{_FOR_TEAMS}") where {outer_mark} == nil']
                if settings.sanitize.patterns
                else []
            ),
        ),
        *_scope(settings),
    ]
    return {
        "transform/sanitize": {
            "error_mode": "propagate",
            "log_statements": [
                *outer,
                *_sanitized(
                    settings,
                    "log",
                    key,
                    *_log_statements(),
                    *purge.statements("log", "session.id", key),
                    *sample.statements(settings),
                ),
            ],
            "metric_statements": [
                *outer,
                {"context": "metric", "statements": _METRIC_STATEMENTS},
                *_sanitized(
                    settings,
                    "datapoint",
                    key,
                    *_datapoint_statements(),
                    *purge.statements("datapoint", "session.id", key),
                ),
                {"context": "exemplar", "statements": list(_EXEMPLAR_STATEMENTS)},
            ],
        },
        # Two halves of one question, so that a record goes one way or the other, never both.
        "filter/store": {
            "error_mode": "propagate",
            "log_conditions": [UNSEARCHED, f'log.attributes["{ASIDE}"] != nil'],
            "metric_conditions": [
                UNSEARCHED,
                NO_DATA,
                f'datapoint.attributes["{ASIDE}"] != nil',
            ],
        },
        "filter/aside": {
            "error_mode": "propagate",
            "log_conditions": [UNSEARCHED, f'log.attributes["{ASIDE}"] == nil'],
            "metric_conditions": [UNSEARCHED, f'datapoint.attributes["{ASIDE}"] == nil'],
        },
    }
