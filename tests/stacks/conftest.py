"""Fixtures of the mock tests."""

from __future__ import annotations

import pytest

from .registry import Registry, deployed


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Everything that the `local` stack declares with the default settings."""
    return deployed(tmp_path_factory.mktemp("stack") / "home")
