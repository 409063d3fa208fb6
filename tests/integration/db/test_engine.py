"""Transactions: how many at once, and in which order."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CursorResult, insert, select, text, update
from sqlalchemy.exc import OperationalError

from ogc_async import db
from ogc_async.db import Engine
from ogc_async.db.models import User
from ogc_async.db.sqlite import AT_ONCE_ROWS, SteadyConnection
from ogc_async.db.users import create_user
from ogc_async.settings import Settings
from ogc_async.state import App
from tests.timing import HANGS_AFTER_S, patiently


async def test_writers_to_sqlite_take_turns_in_the_order_they_came_and_others_work_side_by_side(
    database: Engine, kind: str
) -> None:
    inside: list[int] = []
    most = 0
    order: list[int] = []
    company = asyncio.Barrier(1 if kind == "sqlite" else 2)

    async def write(number: int) -> None:
        nonlocal most
        async with database.transaction() as connection:
            inside.append(number)
            most = max(most, len(inside))
            await connection.execute(text("SELECT 1"))
            await company.wait()
            order.append(number)
            inside.remove(number)

    async with asyncio.timeout(HANGS_AFTER_S):
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
    for _ in patiently("the end of its thread", pause_s=0.001):
        if threading.active_count() <= before:
            break
        gc.collect()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_small_transaction_visits_sqlites_thread_once_a_statement_and_once_for_the_commit(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.reading() as connection:
        await connection.execute(select(User.id))
    visits = 0
    submit = SteadyConnection._submit

    def counted(self: SteadyConnection, operation: Callable[[], object]) -> asyncio.Future[object]:
        nonlocal visits
        visits += 1
        return submit(self, operation)

    monkeypatch.setattr(SteadyConnection, "_submit", counted)
    async with database.transaction() as connection:
        inserted = insert(User).values(name="A", slug="a").returning(User.id)
        user_id = (await connection.execute(inserted)).scalar_one()
        await connection.execute(update(User).where(User.id == user_id).values(name="B"))
    assert visits == 3


async def test_a_transaction_without_a_statement_locks_nobody_out(database: Engine, app: App) -> None:
    other = db.connect(database.url, settings=app.settings)
    async with database.transaction():
        created, _ = await create_user(other, "other")
    async with database.reading() as connection:
        assert created.id in (await connection.execute(select(User.id))).scalars().all()
    await other.aclose()


async def test_what_a_transaction_left_unbegun_is_not_begun_by_the_next_user_of_its_connection(
    database: Engine, app: App
) -> None:
    async with database.transaction():
        pass
    other = db.connect(database.url, settings=app.settings)
    async with database.session_engine().connect() as reader:
        await reader.execute(select(User.id))
        # A reader that had begun to write would hold the lock.
        await create_user(other, "other")
    await other.aclose()


NUMBERS = """
SELECT n
FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :count) SELECT n FROM c) AS numbers
ORDER BY n
"""


@pytest.mark.parametrize("count", [4, AT_ONCE_ROWS - 1, AT_ONCE_ROWS, 2 * AT_ONCE_ROWS + 1])
async def test_rows_come_one_by_one_some_at_a_time_or_all_at_once(database: Engine, count: int) -> None:
    async with database.reading() as connection:

        async def counted() -> CursorResult[Any]:
            return await connection.execute(text(NUMBERS), {"count": count})

        assert (await counted()).fetchone() == (1,)
        assert (await counted()).fetchmany(2) == [(1,), (2,)]
        assert (await counted()).scalars().all() == list(range(1, count + 1))
        async with connection.stream(text(NUMBERS), {"count": count}) as streamed:
            assert [row.n async for row in streamed] == list(range(1, count + 1))
        async with connection.stream(text(NUMBERS), {"count": count}) as broken_off:
            assert (await broken_off.fetchone()) == (1,)


async def test_what_a_reader_writes_is_not_kept(database: Engine) -> None:
    async with database.reading() as connection:
        await connection.execute(insert(User).values(name="A", slug="a"))
    async with database.reading() as connection:
        assert (await connection.execute(select(User.id).where(User.slug == "a"))).all() == []


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_transaction_that_could_not_begin_has_not_begun_for_its_next_statement_either(
    database: Engine, app: App
) -> None:
    impatient = app.settings.model_copy(update={"ogc_database_timeout_s": 0.05})
    other = db.connect(database.url, settings=impatient)

    async def write_twice_and_give_up() -> None:
        async with other.transaction() as connection:
            async with database.transaction() as first:
                await first.execute(insert(User).values(name="A", slug="a"))
                with pytest.raises(OperationalError, match="locked"):
                    await connection.execute(insert(User).values(name="B", slug="b"))
            await connection.execute(insert(User).values(name="C", slug="c"))
            raise RuntimeError("given up")

    with pytest.raises(RuntimeError, match="given up"):
        await write_twice_and_give_up()
    async with database.reading() as connection:
        assert {"a", "b", "c"} & set((await connection.execute(select(User.slug))).scalars()) == {"a"}
    await other.aclose()
