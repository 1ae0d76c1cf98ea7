"""`telemetry query --sql`: ask the store as the member, who sees their own rows."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from rich.table import Table

from infra.secrets import Secrets
from infra.settings import Settings
from scripts import console, warehouse
from scripts.errors import Failure

Format = Literal["table", "json", "csv"]


def ask(
    settings: Settings, secrets: Secrets, sql: str, parameters: dict[str, str]
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Column names and rows. `parameters` fill {name:Type} places."""
    from clickhouse_connect.driver.exceptions import Error

    client = warehouse.as_member(settings, secrets)
    try:
        result = client.query(sql, parameters=parameters)
    except Error as error:
        raise Failure(f"ClickHouse refuses the query: {str(error).strip()}") from None
    return result.column_names, result.result_rows


def _shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return "" if value is None else str(value)


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Format) -> None:
    """On standard output: for people, for programs, for spreadsheets."""
    if form == "json":
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(_shown(value) for value in row))
        console.out.print(table)
