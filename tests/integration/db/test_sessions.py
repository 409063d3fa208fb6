"""Sessions in both worlds: ``with session as s`` in plain code, ``async with session as s`` in a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from slugify import slugify
from sqlalchemy import URL, func, select
from sqlalchemy.exc import IntegrityError

from ogc_async import db
from ogc_async.db import Engine, SessionFactory, User
from ogc_async.errors import InsideEventLoop, NotMigrated
from ogc_async.settings import Settings

WAIT_S = 30
"""Far longer than anything here takes: only a test that fails waits for it."""


@pytest.fixture
def session(database: Engine) -> SessionFactory:
    return db.session(database)


def create_user_as_the_page_does(session: SessionFactory, name: str) -> str:
    with session as s:
        has_user = s.select(db.User).first() or None
        if not has_user:
            user = db.User(name="adam", slug=slugify(name))
            s.add(user)
            s.commit()
            return "created"
        return "User exists, nothing to do here"


async def create_user_as_the_page_does_in_a_loop(session: SessionFactory, name: str) -> str:
    async with session as s:
        has_user = (await s.select(db.User)).first() or None
        if not has_user:
            user = db.User(name="adam", slug=slugify(name))
            s.add(user)
            await s.commit()
            return "created"
        return "User exists, nothing to do here"


def slugs(session: SessionFactory) -> list[str]:
    with session as s:
        return [user.slug for user in s.select(User)]


async def slugs_async(session: SessionFactory) -> list[str]:
    async with session as s:
        return [user.slug for user in await s.select(User)]


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run all at once; what they raised."""
    raised: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT_S)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_the_pages_user_block_creates_once_and_then_says_so(session: SessionFactory) -> None:
    answers = [create_user_as_the_page_does(session, "Adam") for _ in range(2)]
    assert answers == ["created", "User exists, nothing to do here"]
    assert slugs(session) == ["adam"]


async def test_the_pages_user_block_creates_once_and_then_says_so_in_a_loop(engine: Engine) -> None:
    session = db.session(engine)
    answers = [await create_user_as_the_page_does_in_a_loop(session, "Adam") for _ in range(2)]
    assert answers == ["created", "User exists, nothing to do here"]
    assert await slugs_async(session) == ["adam"]


def test_rows_are_selected_by_any_condition_in_the_order_they_were_made(session: SessionFactory) -> None:
    with session as s:
        for slug in ("zoe", "adam", "mia"):
            s.add(User(name=slug.title(), slug=slug))
            s.flush()
        s.commit()
        assert [user.slug for user in s.select(User)] == ["zoe", "adam", "mia"]
        assert [user.slug for user in s.select(User, User.slug != "adam", User.name.like("M%"))] == ["mia"]
        assert s.select(User, User.slug == "adam").one().name == "Adam"
        assert s.select(User, User.slug == "nobody").first() is None


def test_statements_of_sqlalchemy_run_as_they_are(session: SessionFactory) -> None:
    with session as s:
        s.add_all([User(name="a", slug="a"), User(name="b", slug="b")])
        s.commit()
        assert s.scalar(select(func.count()).select_from(User)) == 2
        assert s.scalars(select(User.slug).order_by(User.slug.desc())).all() == ["b", "a"]
        assert s.execute(select(User.name, User.slug).order_by(User.id)).all() == [("a", "a"), ("b", "b")]
        first = s.select(User).first()
        assert first is not None
        assert s.get(User, first.id) is first
        s.delete(first)
        s.commit()
        assert s.get(User, first.id) is None


def test_rows_outlive_their_session_and_its_commit(session: SessionFactory) -> None:
    with session as s:
        user = User(name="Adam", slug="adam")
        s.add(user)
        s.commit()
    assert (user.slug, len(user.scope)) == ("adam", 32)
    assert user.created_at.tzinfo is not None


def test_what_another_changed_is_seen_after_a_refresh(session: SessionFactory) -> None:
    with session as s:
        s.add(User(name="Adam", slug="adam"))
        s.commit()
        mine = s.select(User).one()
        s.commit()
        with session as other:
            other.select(User).one().name = "Eve"
            other.commit()
        s.refresh(mine)
        assert mine.name == "Eve"


def test_what_is_not_committed_is_gone(session: SessionFactory) -> None:
    with session as s:
        s.add(User(name="Adam", slug="adam"))
        s.flush()
        assert len(s.select(User).all()) == 1
    assert slugs(session) == []


def test_a_rollback_undoes_and_the_session_goes_on(session: SessionFactory) -> None:
    with session as s:
        s.add(User(name="Adam", slug="adam"))
        s.flush()
        s.rollback()
        s.add(User(name="Eve", slug="eve"))
        s.commit()
    assert slugs(session) == ["eve"]


def test_an_error_in_the_block_rolls_back_and_goes_on_as_it_is(session: SessionFactory) -> None:
    def fail() -> None:
        with session as s:
            s.add(User(name="Adam", slug="adam"))
            s.flush()
            raise KeyError("as it is")

    with pytest.raises(KeyError, match="as it is") as caught:
        fail()
    assert caught.value.__cause__ is None
    assert slugs(session) == []


async def test_an_error_in_the_block_rolls_back_and_goes_on_as_it_is_in_a_loop(engine: Engine) -> None:
    session = db.session(engine)

    async def fail() -> None:
        async with session as s:
            s.add(User(name="Adam", slug="adam"))
            await s.flush()
            raise KeyError("as it is")

    with pytest.raises(KeyError, match="as it is"):
        await fail()
    assert await slugs_async(session) == []


def test_a_broken_constraint_rolls_the_whole_block_back(session: SessionFactory) -> None:
    def fail() -> None:
        with session as s:
            s.add(User(name="Eve", slug="eve"))
            s.flush()
            s.add_all([User(name="Adam", slug="adam"), User(name="Adam", slug="adam")])
            s.commit()

    with pytest.raises(IntegrityError):
        fail()
    assert slugs(session) == []


def test_a_database_without_tables_is_told_as_such(database: Engine, session: SessionFactory) -> None:
    db.droptbl(database)
    with pytest.raises(NotMigrated, match="ogc db migrate"):
        slugs(session)


async def test_a_database_without_tables_is_told_as_such_in_a_loop(engine: Engine) -> None:
    await db.droptbl_async(engine)
    with pytest.raises(NotMigrated, match="ogc db migrate"):
        await slugs_async(db.session(engine))


async def test_plain_code_inside_a_loop_is_told_what_to_write_instead(engine: Engine) -> None:
    session = db.session(engine)
    with pytest.raises(InsideEventLoop, match="async with session"):
        slugs(session)
    assert await slugs_async(session) == []


async def test_a_thread_beside_a_loop_may_use_plain_code(engine: Engine) -> None:
    session = db.session(engine)
    assert await asyncio.to_thread(create_user_as_the_page_does, session, "adam") == "created"
    assert await slugs_async(session) == ["adam"]


def test_two_threads_have_sessions_of_their_own_on_one_factory(session: SessionFactory) -> None:
    both_read = threading.Barrier(2)

    def add(slug: str) -> None:
        with session as s:
            assert s.select(User, User.slug == slug).first() is None
            both_read.wait(WAIT_S)
            s.add(User(name=slug, slug=slug))
            s.commit()
            assert s.select(User, User.slug == slug).one().name == slug

    assert in_threads(lambda: add("one"), lambda: add("two")) == []
    assert sorted(slugs(session)) == ["one", "two"]


async def test_many_tasks_have_sessions_of_their_own_on_one_factory(engine: Engine) -> None:
    session = db.session(engine)
    all_read = asyncio.Barrier(5)

    async def add(slug: str) -> None:
        async with session as s:
            assert (await s.select(User, User.slug == slug)).first() is None
            await asyncio.wait_for(all_read.wait(), WAIT_S)
            s.add(User(name=slug, slug=slug))
            await s.commit()

    names = [f"user-{n}" for n in range(5)]
    await asyncio.gather(*map(add, names))
    assert sorted(await slugs_async(session)) == names


def test_an_open_session_that_only_read_keeps_nobody_from_writing(session: SessionFactory, database_url: URL) -> None:
    with session as s:
        assert s.select(User).first() is None
        elsewhere = db.connect(database_url, settings=Settings(_env_file=None, ogc_database_timeout_s=WAIT_S))
        assert create_user_as_the_page_does(db.session(elsewhere), "Adam") == "created"
        assert [user.slug for user in s.select(User)] == ["adam"]


def test_of_two_that_write_at_once_the_second_waits_for_the_first(session: SessionFactory) -> None:
    with session as s:
        s.add(User(name="Adam", slug="adam"))
        s.commit()
    is_written = threading.Event()

    def first() -> None:
        with session as s:
            s.select(User).one().name = "first"
            s.flush()
            is_written.set()
            s.commit()

    def second() -> None:
        is_written.wait(WAIT_S)
        with session as s:
            s.select(User).one().name = "second"
            s.commit()

    assert in_threads(first, second) == []
    with session as s:
        assert s.select(User).one().name == "second"


def test_blocks_may_be_nested_and_each_has_its_own_session(session: SessionFactory) -> None:
    with session as outer, session as inner:
        assert outer is not inner
        inner.add(User(name="Adam", slug="adam"))
        inner.commit()
        assert outer.select(User).one().slug == "adam"


async def test_blocks_may_be_nested_and_each_has_its_own_session_in_a_loop(engine: Engine) -> None:
    async with db.session(engine) as outer, db.session(engine) as inner:
        assert outer is not inner
        inner.add(User(name="Adam", slug="adam"))
        await inner.commit()
        assert (await outer.select(User)).one().slug == "adam"


async def test_a_savepoint_undoes_its_part_only(engine: Engine) -> None:
    async with db.session(engine) as s:
        s.add(User(name="kept", slug="kept"))
        async with s.begin_nested() as savepoint:
            s.add(User(name="undone", slug="undone"))
            await s.flush()
            await savepoint.rollback()
        await s.commit()
        async with s.begin_nested():
            s.add(User(name="not committed", slug="not-committed"))
    assert await slugs_async(db.session(engine)) == ["kept"]


async def test_a_cancelled_block_leaves_no_connection_behind(database_url: URL) -> None:
    engine = db.connect(
        database_url, settings=Settings(_env_file=None, ogc_database_pool=1, ogc_database_timeout_s=WAIT_S)
    )
    session = db.session(engine)
    is_open = asyncio.Event()

    async def hold() -> None:
        async with session as s:
            s.add(User(name="Adam", slug="adam"))
            await s.flush()
            is_open.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    try:
        await asyncio.wait_for(is_open.wait(), WAIT_S)
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        # The pool has one connection, and SQLite one writer.
        assert await create_user_as_the_page_does_in_a_loop(session, "eve") == "created"
    finally:
        await engine.aclose()
