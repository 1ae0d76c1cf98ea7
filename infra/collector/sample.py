"""Step 4, only where `sampling.ratio` is below 1: of some sessions just errors and costs are kept.

A session is kept as a whole or not, by a hash of its id, so that every collector decides alike.
What is kept of the others weighs 1, what is kept of these weighs so much more that totals stay what
they were; requests and errors are kept of all and weigh 1. Records without a session are all kept,
and so are metrics: they are few, and totals already.
"""

from __future__ import annotations

from typing import Any

from infra.collector import ottl
from infra.settings import Settings

SESSION_WEIGHT = "telemetry.session_weight"
"""How many sessions this record's session stands for; 0 where that was not sampled."""
PROCESSOR = "filter/sample"
ALWAYS = ("api_request", "api_error", "api_retries_exhausted", "api_refusal", "internal_error")
"""Events that are kept of every session, besides those that say that something failed."""

_SESSION = ottl.attribute("log", "session.id")
_WEIGHT = ottl.attribute("log", SESSION_WEIGHT)
_KEPT = (
    f"(IsMatch({ottl.attribute('log', 'event.name')}, {ottl.literal(ottl.either(ALWAYS))})"
    f' or {ottl.attribute("log", "success")} == "false"'
    f" or {ottl.attribute('log', 'error')} != nil)"
)
_HASHES = 2**32


def wanted(settings: Settings) -> bool:
    """Whether any session is left out."""
    return settings.sampling.ratio < 1


def statements(settings: Settings) -> list[str]:
    """OTTL for a log record that is sanitized; none where every session is kept."""
    if not wanted(settings):
        return []
    bound = f"{round(settings.sampling.ratio * _HASHES):08x}"
    weight = f"{1 / settings.sampling.ratio:.6f}"
    is_in = f'Substring(SHA256({_SESSION}), 0, 8) < "{bound}"'
    subject = (
        f'{_SESSION} != nil and {_SESSION} != "" '
        # Of a self-test every record is looked for.
        f"and {ottl.attribute('log', 'telemetry.synthetic')} == nil "
        # What is set aside tells of something that is wrong, whose session ever it is of.
        f"and {ottl.attribute('log', 'telemetry.aside')} == nil"
    )
    return [
        f'set({_WEIGHT}, "0") where {subject}',
        f'set({_WEIGHT}, "{weight}") where {_WEIGHT} != nil and {is_in}',
        f'set({ottl.attribute("log", "weight")}, "{weight}") '
        f'where {_WEIGHT} != nil and {_WEIGHT} != "0" and not {_KEPT}',
    ]


def processors(settings: Settings) -> dict[str, Any]:
    """The filter that leaves them out, and counts them."""
    if not wanted(settings):
        return {}
    out = f'{_WEIGHT} == "0" and not {_KEPT}'
    return {PROCESSOR: {"error_mode": "propagate", "log_conditions": [out]}}
