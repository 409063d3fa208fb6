"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.postgres", "tests.cloud"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
