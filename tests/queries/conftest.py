"""What these tests share."""

from __future__ import annotations

import pytest

from .prometheus_program import NoPrometheusError, need_prometheus


@pytest.fixture(scope="session")
def _prometheus() -> None:
    """A `prometheus` on the PATH, or a skip that says why there is none."""
    try:
        need_prometheus()
    except NoPrometheusError as reason:
        pytest.skip(str(reason))
