"""`telemetry prices`: the price list that costs are checked against, and how it is kept up to date.

The list is a file of the team's (prices.yaml, kept in git); a price that changed is added to it and
known to ClickHouse at once.
"""

from __future__ import annotations

import re
from datetime import date

import yaml
from pydantic import ValidationError

from infra.warehouse import prices
from infra.warehouse.prices import Price, PriceList
from scripts.errors import Misuse

COLUMNS = ("model", "from", *prices.PARTS, "source")


def rows() -> list[list[object]]:
    """The list by model and day, a row a price (COLUMNS); no day: since the model exists."""
    return [
        [
            price.model,
            "" if price.since == prices.ALWAYS else price.since,
            *(getattr(price, part) for part in prices.PARTS),
            price.source,
        ]
        for price in sorted(prices.price_list().prices, key=lambda each: (each.model, each.since))
    ]


def entry(model: str, since: date | None, values: dict[str, str | None], source: str) -> Price:
    """A price out of what was typed. Raises Misuse where something is missing or no price."""
    missing = [f"--{name.replace('_', '-')}" for name, value in values.items() if value is None]
    if missing:
        raise Misuse(f"A price needs all of its parts; {', '.join(missing)} is missing.")
    given = {"model": model, "source": source, **values, **({"from": since} if since else {})}
    try:
        return Price.model_validate(given)
    except ValidationError as error:
        [first, *_] = error.errors()
        raise Misuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def _line(price: Price) -> str:
    given = {"model": price.model}
    if price.since != prices.ALWAYS:
        given["from"] = str(price.since)
    for part in prices.PARTS:
        given[part] = format(getattr(price, part).normalize(), "f")
    text = ", ".join(f"{key}: {value}" for key, value in given.items())
    quoted = (
        f", source: {yaml.safe_dump(price.source, width=10**6).strip()}" if price.source else ""
    )
    return f"  - {{{text}{quoted}}}"


def added(text: str, price: Price, today: date) -> str:
    """The file with one price more; one of the same model and day is replaced.

    What else stands in the file, comments too, stays as it is.
    """
    lines = re.sub(r"(?m)^checked: .*$", f"checked: {today}", text).rstrip("\n").split("\n")
    same = [number for number, line in enumerate(lines) if f"{{model: {price.model}," in line]
    for number in same:
        [there] = yaml.safe_load(lines[number])
        if Price.model_validate(there).since == price.since:
            lines[number] = _line(price)
            break
    else:
        lines.insert(same[-1] + 1 if same else len(lines), _line(price))
    changed = "\n".join(lines) + "\n"
    PriceList.model_validate(yaml.safe_load(changed))
    return changed


def add(price: Price) -> None:
    """Write it into the list."""
    changed = added(prices.FILE.read_text(encoding="utf-8"), price, date.today())
    prices.FILE.write_text(changed, encoding="utf-8")
    prices.price_list.cache_clear()
