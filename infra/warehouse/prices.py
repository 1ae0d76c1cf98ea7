"""List prices by model and day, from prices.yaml."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).parent / "prices.yaml"
ALWAYS = date(1970, 1, 1)
"""Since a model exists."""
PARTS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
"""What a price consists of."""

Usd = Field(ge=0)


class Price(BaseModel):
    """What a model costs from a day on. USD per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(pattern=r"^[a-z0-9-]+$")
    """Without date and context window: claude-opus-4-5."""
    since: date = Field(ALWAYS, alias="from")
    input: Decimal = Usd
    output: Decimal = Usd
    cache_write_5m: Decimal = Usd
    cache_write_1h: Decimal = Usd
    cache_read: Decimal = Usd
    source: str = ""
    """Where this one comes from, if not where the list does."""


class PriceList(BaseModel):
    """All prices, and where they come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked: date
    source: str
    prices: tuple[Price, ...]


@cache
def price_list() -> PriceList:
    """The list as it is shipped."""
    return PriceList.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def select() -> str:
    """The prices as a SELECT of constants; nullable, so that a join finds no price instead of 0."""
    usd = ", ".join(f"{name} Nullable(Decimal(18, 6))" for name in PARTS)
    rows = ", ".join(
        f"('{price.model}', '{price.since}', "
        + ", ".join(f"'{getattr(price, name)}'" for name in PARTS)
        + ")"
        for price in price_list().prices
    )
    return f"SELECT * FROM values('model String, since Date, {usd}', {rows})"
