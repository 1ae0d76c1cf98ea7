"""What changed since the month before, in words: sentences made of a section's rows.

Pure: the figures are those of queries/team/, nothing is asked or computed anew.
"""

from __future__ import annotations

from scripts.report_text import Row, Section, shown

_MOST = 3
"""Sentences about single rows."""
_WORTH_CENTS = 0.01
"""USD; a smaller change is not told of."""


def of_costs(section: Section, noun: str) -> tuple[str, ...]:
    """Of rows with `name`, `cost_usd` and `before_usd`: the whole, then what moved it most."""
    if not section.rows:
        return ()
    cost, before = (_sum(section, column) for column in ("cost_usd", "before_usd"))
    told = [f"Together {_usd(cost)}, {_against(cost, before)}."]
    moved = sorted(section.rows, key=lambda row: -abs(_difference(row)))
    if len(section.rows) > 1:
        told += [
            _moved(row, noun) for row in moved[:_MOST] if abs(_difference(row)) >= _WORTH_CENTS
        ]
    return tuple(told)


def of_failures(section: Section) -> tuple[str, ...]:
    """Of rows with `times` and `times_before`."""
    shared = [row for row in section.rows if row["error"] != "(under floor)"]
    if not section.rows:
        return ("Nothing failed.",)
    times, before = (_sum(section, column) for column in ("times", "times_before"))
    told = [f"{_times(times)} here; {_times(before)} of the same the month before."]
    told.append(f"{len(shared)} kind(s) of failure met enough members to be named.")
    fresh = [row for row in shared if not row["times_before"]]
    told += [
        f"New: `{_code(row['error'] or row['error_type'] or row['event'])}`, "
        f"{_times(row['times']).lower()}."
        for row in fresh[:_MOST]
    ]
    return tuple(told)


def _sum(section: Section, column: str) -> float:
    return float(sum(row[column] or 0 for row in section.rows))


def _difference(row: Row) -> float:
    return float((row["cost_usd"] or 0) - (row["before_usd"] or 0))


def _usd(value: float) -> str:
    return f"{shown('cost_usd', value)} USD"


def _against(cost: float, before: float) -> str:
    if not before:
        return "with nothing to compare it with in the month before"
    change = shown("change", round(100 * (cost / before - 1), 1))
    return f"{change} against {_usd(before)} the month before"


def _moved(row: Row, noun: str) -> str:
    name, cost, before = f"`{_code(row['name'])}`", row["cost_usd"] or 0, row["before_usd"] or 0
    if not before:
        return f"{noun} {name} is new, with {_usd(cost)}."
    if not cost:
        return f"{noun} {name} cost nothing, after {_usd(before)}."
    more = "more" if cost > before else "less"
    return f"{noun} {name} cost {_usd(abs(cost - before))} {more}: {_usd(cost)}."


def _times(value: float) -> str:
    count = int(value) if value == int(value) else round(value, 1)
    return f"{count:,} failure{'' if count == 1 else 's'}"


def _code(text: str) -> str:
    """As it may stand between back quotes."""
    return text.replace("`", "'")
