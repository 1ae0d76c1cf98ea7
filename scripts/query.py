"""`telemetry query`: ask the store as the member, who sees their own rows."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import names
from scripts import console, queries, warehouse
from scripts.errors import Failure

Format = Literal["table", "json", "csv"]


def ask(
    settings: Settings,
    secrets: Secrets,
    sql: str,
    parameters: dict[str, str],
    *,
    admin: bool = False,
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Column names and rows. `parameters` fill {name:Type} places. `admin`: not as the member."""
    from clickhouse_connect.driver.exceptions import Error

    client = (warehouse.as_admin if admin else warehouse.as_member)(settings, secrets)
    client.database = names.DATABASE
    try:
        result = client.query(sql, parameters=parameters)
    except Error as error:
        raise Failure(f"ClickHouse refuses the query: {str(error).strip()}") from None
    return result.column_names, result.result_rows


def _shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(each) for each in value)
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """For JSON: numbers stay numbers, whole ones without a fraction."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def list_shipped(form: Format) -> None:
    """All shipped questions."""
    show(
        ("name", "question", "parameters"),
        [
            (
                each.name,
                each.question,
                ", ".join(
                    p.name if p.default is None else f"{p.name}={p.default}"
                    for p in each.parameters
                ),
            )
            for each in queries.shipped().values()
        ],
        form,
    )


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Format) -> None:
    """On standard output: for people, for programs, for spreadsheets."""
    if form == "json":
        shown = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        print(json.dumps(shown, default=str, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_shown(value) for value in row] for row in rows)
    elif not rows:
        console.say("No rows.")
    else:
        table = Table(*columns)
        for row in rows:
            # As text: an error's [quoted] would otherwise be taken for a style.
            table.add_row(*(Text(_shown(value)) for value in row))
        console.out.print(table)
