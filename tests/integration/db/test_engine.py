"""Transactions: how many at once, and in which order."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from ogc_async.db import Engine


async def test_writers_to_sqlite_take_turns_in_the_order_they_came_and_others_work_side_by_side(
    database: Engine, kind: str
) -> None:
    inside: list[int] = []
    most = 0
    order: list[int] = []

    async def write(number: int) -> None:
        nonlocal most
        async with database.transaction() as connection:
            inside.append(number)
            most = max(most, len(inside))
            await connection.execute(text("SELECT 1"))
            order.append(number)
            inside.remove(number)

    await asyncio.gather(*map(write, range(8)))
    assert sorted(order) == list(range(8))
    if kind == "sqlite":
        assert most == 1
        assert order == list(range(8))
    else:
        assert most > 1


async def test_a_writer_that_fails_gives_its_turn_on(database: Engine) -> None:
    async def fail() -> None:
        async with database.transaction():
            raise RuntimeError("it went wrong")

    async def write() -> int:
        async with database.transaction() as connection:
            return int((await connection.execute(text("SELECT 7"))).scalar_one())

    failed, written = await asyncio.gather(fail(), write(), return_exceptions=True)
    assert isinstance(failed, RuntimeError)
    assert written == 7
