"""What others may rely on, written down from a freshly made database (`make contracts`).

- `contracts/database-schema.sql` is a dump.
- `contracts/telemetry-events.json` is half by hand: what the client sends, from which version on
  and when. What becomes of it is filled in here, from the allow-list and from the tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra.collector import rules
from infra.warehouse import names
from stacks.home import PROJECT

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

SCHEMA = PROJECT / "contracts" / "database-schema.sql"
EVENTS = PROJECT / "contracts" / "telemetry-events.json"

_HEADER = """\
-- The database as it stands after a first `telemetry up`: every table and view, what others build
-- on first. Written by `make contracts` from a real database; a test compares. To change the
-- schema, add a file to infra/warehouse/ddl/ and write this one anew.
--
-- As ClickHouse shows it, but for what differs from one team to the next: retention is the default,
-- of the price list (infra/warehouse/prices.yaml) the first line stands for all, and the checksums
-- of both are left out.
"""
_JSON_TYPES = {
    "string": "string",
    "int": "integer",
    "double": "number",
    "bool": "boolean",
    "array": "array",
}
_STANDING = (names.RETENTION, names.PRICES, names.BUDGET, names.COHORT_FLOOR)
_TABLES = {"events": names.EVENTS, "metrics": names.METRIC_POINTS}

Columns = Mapping[str, Mapping[str, str]]
"""Types by table and column."""


def database_schema(client: Client) -> str:
    """The CREATE statements of all tables and views, each behind those it names."""
    databases = (names.DATABASE, names.TEAM_DATABASE)
    found = client.query(
        "SELECT concat(database, '.', name) AS name, formatQuery(create_table_query) "
        "FROM system.tables "
        # A refresh that is under way has a table of its own, whose name begins with a dot.
        "WHERE database IN {databases:Array(String)} AND NOT startsWith(system.tables.name, '.') "
        "ORDER BY database, name",
        parameters={"databases": list(databases)},
    )
    left = {name: _plain(name, text) for name, text in found.result_rows}
    statements = [f"CREATE DATABASE {name};\n" for name in databases]
    while left:
        ready = [
            name for name, text in left.items() if not _mentioned(text) & (left.keys() - {name})
        ]
        statements += [f"{left.pop(name)};\n" for name in ready]
    return "\n".join([_HEADER, *statements])


def _plain(name: str, text: str) -> str:
    """Without what differs between databases of the same schema."""
    if name in {f"{names.DATABASE}.{view}" for view in _STANDING}:
        text = re.sub(r"\nCOMMENT '[0-9a-f]+'", "", text)
    # A price list of one line.
    return re.sub(r"arrayJoin\(\[(\('.*?)\), \('.*\]\)", r"arrayJoin([\1)])", text)


def _mentioned(text: str) -> set[str]:
    return set(re.findall(rf"\b(?:{names.DATABASE}|{names.TEAM_DATABASE})\.\w+", text))


def columns(client: Client) -> Columns:
    """The columns of the two tables that attributes land in."""
    found = client.query(
        "SELECT table, name, type FROM system.columns "
        "WHERE database = {db:String} AND table IN {tables:Array(String)} ORDER BY table, position",
        parameters={"db": names.DATABASE, "tables": list(_TABLES.values())},
    )
    types: dict[str, dict[str, str]] = {}
    for table, name, type_ in found.result_rows:
        types.setdefault(table, {})[name] = type_
    return types


def telemetry_events(written: dict[str, Any], types: Columns) -> dict[str, Any]:
    """The contract of what the client sends, with everything filled in that the code knows."""
    definitions = written["$defs"]
    every = {kind: [key for key in definitions if key.startswith(f"{kind}.")] for kind in _TABLES}
    for key, definition in definitions.items():
        own = [table for kind, table in _TABLES.items() if key.partition(".")[0] == kind]
        for name, attribute in definition["properties"].items():
            _fill(name, attribute, own or list(_TABLES.values()), types)
        definition["required"] = sorted(
            name
            for name, attribute in definition["properties"].items()
            if attribute["present"] == "always"
            and not attribute.keys() & {"toggle", "without"}
            and first(attribute) == definition["since"]
        )
    for table, described in written["other_columns"].items():
        for name, each in described.items():
            each["type"] = types[table][name]
    written["properties"]["name"]["enum"] = [
        key.partition(".")[2] for keys in every.values() for key in keys
    ]
    written["allOf"] = [
        {
            "if": {"properties": {"name": {"const": key.partition(".")[2]}}},
            "then": {"properties": {"attributes": {"$ref": f"#/$defs/{key}"}}},
        }
        for keys in every.values()
        for key in keys
    ]
    return written


def first(attribute: Mapping[str, Any]) -> str:
    """The first version in which an attribute was seen."""
    return str(min((span["from"] for span in attribute["sent"].values()), key=version))


def version(text: str) -> tuple[int, ...]:
    """A client version as something that can be compared."""
    return tuple(int(part) for part in text.split("."))


def _fill(name: str, attribute: dict[str, Any], tables: list[str], types: Columns) -> None:
    """Its JSON type, what it is for, and what becomes of it in each table it may land in."""
    sent = [_JSON_TYPES[each] for each in attribute["sent"]]
    attribute["type"] = sent[0] if len(sent) == 1 else sent
    rule = next((each for each in rules.attributes() if each.name == name), None)
    if rule is None:
        attribute["stored"] = "dropped"
        return
    attribute["description"] = rule.why
    if rule.level != "none":
        attribute["stored"] = {names.CONTENT: {"kind": name, "from_level": rule.level}}
        return
    hashed = name in {each.name for each in rules.pseudonyms()}
    attribute["stored"] = {
        table: {"column": rule.column, "type": types[table][rule.column]}
        if rule.column in types[table]
        else ("pseudonym" if hashed else "extra")
        for table in tables
    }


def shown(contract: Mapping[str, Any]) -> str:
    """As the file reads: what fits on a line stands on one."""
    return _laid_out(contract, 0, 0) + "\n"


def _laid_out(value: Any, indent: int, before: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or indent + before + len(flat) < 100:
        return flat
    inner = indent + 2
    if isinstance(value, list):
        parts = [_laid_out(each, inner, 1) for each in value]
    else:
        keys = {name: f"{json.dumps(name, ensure_ascii=False)}: " for name in value}
        parts = [key + _laid_out(value[name], inner, len(key) + 1) for name, key in keys.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    lines = ",\n".join(" " * inner + part for part in parts)
    return f"{opening}\n{lines}\n{' ' * indent}{closing}"
