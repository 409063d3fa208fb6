"""Engines that close in the loop they were used in, and a count of what the database was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import URL, event

from ogc_async import db
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.results import Notes, StepEnd, StepStart, write_notes
from ogc_async.db.users import create_user
from ogc_async.settings import Settings
from ogc_async.types import StepResult, UserSnapshot
from tests.holding import living

STEPS = Hold("steps", is_exclusive=False)
"""Of a worker that lives for the whole test."""


@pytest.fixture
async def engine(database: Engine) -> AsyncIterator[Engine]:
    """A migrated database of the test's own, for use in the test's loop."""
    yield database
    await database.aclose()


@pytest.fixture
async def another(database_url: URL) -> AsyncIterator[Engine]:
    """The same database as another process sees it: with connections of its own."""
    opened = db.connect(database_url, settings=Settings(_env_file=None))
    yield opened
    await opened.aclose()


@pytest.fixture
async def user(engine: Engine) -> UserSnapshot:
    created, _ = await create_user(engine, "Adam")
    await living(engine, STEPS.worker)
    return created


async def start_actions(engine: Engine, starts: Sequence[StepStart]) -> list[int]:
    """Put steps on record as running; the actions' ids, in order."""
    return (await write_notes(engine, Notes(starts=list(starts)), STEPS)).started


async def finish_actions(engine: Engine, ends: Mapping[int, StepResult]) -> None:
    """Note how steps ended, by action id."""
    await write_notes(engine, Notes(ends={key: StepEnd(0, result) for key, result in ends.items()}), STEPS)


@contextmanager
def counted_statements(engine: Engine) -> Iterator[list[str]]:
    """Every statement sent to the database by the running loop's part of ``engine``."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    target = engine.connection_engine().sync_engine
    event.listen(target, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(target, "before_cursor_execute", see)
