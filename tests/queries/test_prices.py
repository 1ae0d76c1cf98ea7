"""The price list: what is typed is checked, written into the file and known to ClickHouse."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from infra.warehouse import prices
from infra.warehouse.prices import PriceList
from scripts import prices as pricing
from scripts import warehouse
from scripts.errors import Misuse
from tests.conftest import Stack

USD = {
    "input": "6",
    "output": "30.5",
    "cache_write_5m": "7.5",
    "cache_write_1h": "12",
    "cache_read": "0.6",
}
TODAY = date(2026, 11, 30)


def test_a_price_is_added_beside_the_others_of_its_model_and_nothing_else_changes() -> None:
    before = prices.FILE.read_text(encoding="utf-8")
    price = pricing.entry("claude-opus-5", date(2026, 12, 1), dict(USD), "a: letter, of theirs")
    after = pricing.added(before, price, TODAY)
    lines = after.splitlines()
    [number] = [n for n, line in enumerate(lines) if "from: 2026-12-01" in line]
    assert "{model: claude-opus-5," in lines[number - 1]
    rest = [line for line in lines[:number] + lines[number + 1 :] if "checked:" not in line]
    assert rest == [line for line in before.splitlines() if "checked:" not in line]
    listed = PriceList.model_validate(yaml.safe_load(after))
    assert listed.checked == TODAY
    assert price in listed.prices
    assert price.source == "a: letter, of theirs"


def test_a_price_of_the_same_model_and_day_is_replaced_and_a_new_model_comes_last() -> None:
    before = prices.FILE.read_text(encoding="utf-8")
    replaced = pricing.added(before, pricing.entry("claude-opus-5", None, dict(USD), ""), TODAY)
    assert len(replaced.splitlines()) == len(before.splitlines())
    new = pricing.added(before, pricing.entry("claude-next", None, dict(USD), ""), TODAY)
    assert new.splitlines()[-1] == (
        "  - {model: claude-next, input: 6, output: 30.5, cache_write_5m: 7.5, "
        "cache_write_1h: 12, cache_read: 0.6}"
    )


@pytest.mark.parametrize(
    ("model", "change", "told"),
    [
        ("claude-opus-5", {"output": None}, "--output is missing"),
        ("claude-opus-5", {"output": "-1"}, "output"),
        ("claude-opus-5", {"output": "much"}, "output"),
        ("Claude Opus", {}, "model"),
    ],
)
def test_what_is_no_price_is_refused(model: str, change: dict[str, str | None], told: str) -> None:
    with pytest.raises(Misuse, match=told):
        pricing.entry(model, None, {**USD, **change}, "")


@pytest.mark.stack
def test_a_new_price_is_known_at_once(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_stack.ok("up")
    copy = tmp_path / "prices.yaml"
    copy.write_bytes(prices.FILE.read_bytes())
    monkeypatch.setattr(prices, "FILE", copy)
    client = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    try:
        pricing.add(pricing.entry("claude-next", date(2026, 12, 1), dict(USD), ""))
        assert warehouse.write_standing_views(client, own_stack.settings) == ["wrote prices"]
        assert warehouse.write_standing_views(client, own_stack.settings) == []
    finally:
        client.close_connections()
        prices.price_list.cache_clear()
    asked = "SELECT since, input, output, cache_read FROM prices WHERE model = 'claude-next'"
    found = [(date(2026, 12, 1), Decimal(6), Decimal("30.5"), Decimal("0.6"))]
    assert own_stack.member(asked) == found
