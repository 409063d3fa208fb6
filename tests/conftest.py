"""Fixtures that every test may use."""

from __future__ import annotations

import gc

import pytest

pytest_plugins = ["tests.postgres", "tests.cloud", "tests.not_tried"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# What is imported and collected stays: looking through it for garbage, over and over, would take a fifth of the run.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
