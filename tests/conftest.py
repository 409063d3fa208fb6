"""Fixtures that every test may use, in an environment of the suite's own."""

from __future__ import annotations

import os
import shutil
from tempfile import mkdtemp

from ogc_async.sandbox.isolation import isolate

SWITCHES = (
    *("OGC_CRASH", "OGC_CRASH_AT", "OGC_CRASH_RANDOM", "OGC_CRASH_SEED", "OGC_CANCEL_AT"),
    *("CI", "PYTEST_VERSION", "PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"),
)
"""What this suite is asked by, and what pytest and its workers tell each other."""

# Before anything else is imported: libraries read variables too, and workers inherit these.
isolate(keep=SWITCHES)
HOME = os.environ["HOME"] = mkdtemp(prefix="ogc-home-")

import gc  # noqa: E402

import pytest  # noqa: E402

pytest_plugins = ["tests.postgres", "tests.cloud", "tests.not_tried"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# What is imported and collected stays: looking through it for garbage, over and over, would take a fifth of the run.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    # A checkout may hold a developer's .env and ogc.yml; a folder that holds nothing is where tests are at home.
    os.chdir(HOME)


def pytest_unconfigure() -> None:
    os.chdir("/")
    shutil.rmtree(HOME, ignore_errors=True)
