"""Transactions: how many at once, and in which order."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import insert, select, text

from ogc_async import db
from ogc_async.db import Engine
from ogc_async.db.models import User
from ogc_async.db.users import create_user
from ogc_async.settings import Settings
from ogc_async.state import App


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


async def test_a_transaction_that_its_user_left_open_is_undone_before_the_next_one(database: Engine) -> None:
    async with database.connection_engine().connect() as connection:
        await connection.execute(insert(User).values(name="Left", slug="left", scope="left"))
    async with database.reading() as connection:
        assert (await connection.scalars(select(User.slug))).all() == []
    await database.aclose()


async def test_a_file_that_was_put_in_the_place_of_the_open_one_is_the_one_written_to(tmp_path: Path) -> None:
    path, aside = tmp_path / "one.db", tmp_path / "aside.db"
    async with App(engine=db.connect(f"sqlite:///{path}"), settings=Settings(_env_file=None)) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        with closing(sqlite3.connect(path)) as opened, closing(sqlite3.connect(aside)) as copy:
            opened.backup(copy)
        await create_user(app.engine, "Before")
        for each in tmp_path.glob("one.db*"):
            each.unlink()
        aside.rename(path)
        await create_user(app.engine, "After")
    with closing(sqlite3.connect(path)) as opened:
        assert opened.execute("SELECT slug FROM users").fetchall() == [("after",)]


def test_an_engine_that_nobody_closes_ends_quietly_with_its_loop_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    asyncio.run(db.migrate_async(db.connect(f"sqlite:///{tmp_path / 'left.db'}", settings=Settings(_env_file=None))))
    deadline = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.001)
