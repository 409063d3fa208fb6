"""Work on the database that is broken off at any of its steps: nothing hangs, nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import threading

import anyio
import pytest
from sqlalchemy import select, update

from ogc_async.db import Engine
from ogc_async.db.models import User
from ogc_async.db.users import create_user, current_user
from ogc_async.errors import DatabaseUnavailable
from tests.cancellation.steps import How, Steps
from tests.timing import HANGS_AFTER_S

STEPS = (*range(40), *range(40, 400, 15))
"""Turns of the event loop after which the work is broken off: the first ones open the connection."""


async def broken_off(work: asyncio.Task[object], steps: int, times: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)
    for _ in range(times):
        work.cancel()
        await asyncio.sleep(0)
    done, _ = await asyncio.wait({work}, timeout=HANGS_AFTER_S)
    assert done, f"broken off {times} times after {steps} steps, it hangs"


async def threads_have_ended(before: int) -> None:
    """A thread answers its last call a moment before it ends."""
    with anyio.fail_after(HANGS_AFTER_S):
        while threading.active_count() > before:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(("times", "is_kept_open"), [(1, False), (3, False), (3, True)])
async def test_a_transaction_that_is_cancelled_ends_and_leaves_nothing_open(
    database: Engine, times: int, is_kept_open: bool
) -> None:
    before = threading.active_count()
    for steps in STEPS:
        work: asyncio.Task[object] = asyncio.create_task(create_user(database, "Adam"))
        await broken_off(work, steps, times)
        if not is_kept_open:
            await database.aclose()
    await create_user(database, "Adam")
    assert (await current_user(database)).slug == "adam"
    await database.aclose()
    await threads_have_ended(before)


async def test_a_transaction_that_is_cancelled_lets_others_write_at_once(database: Engine, another: Engine) -> None:
    async def write(engine: Engine) -> None:
        async with engine.transaction(HANGS_AFTER_S) as connection:
            for _ in range(2):
                await connection.execute(select(User.id))
            await connection.execute(update(User).values(name="Eve"))

    await create_user(database, "Adam")
    steps = Steps(How.TASK)
    assert not await steps.cancelled_at(0, write(database))
    # What only the garbage collector finds would hold the lock until it comes by.
    gc.disable()
    try:
        for step in range(1, steps.taken + 1):
            await steps.cancelled_at(step, write(database))
            await write(another)
    finally:
        gc.enable()
    await database.aclose()


async def test_a_deadline_at_any_moment_is_a_database_that_does_not_answer(database: Engine) -> None:
    before = threading.active_count()
    for part in range(30):
        with anyio.fail_after(HANGS_AFTER_S), pytest.raises(DatabaseUnavailable, match="does not answer"):
            async with database.transaction(part / 2000):
                await asyncio.Event().wait()
    await create_user(database, "Adam")
    await database.aclose()
    await threads_have_ended(before)
