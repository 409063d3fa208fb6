"""The levels of request limits on both databases: alone and whole, by one clock, and a help that nothing fails for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
from sqlalchemy import func, select, text

from ogc_async import db
from ogc_async.aio.buckets import Level, TokenBucket
from ogc_async.aio.limiter import Limiter, Place, Want
from ogc_async.db import Engine
from ogc_async.db.models import PaceLevel
from ogc_async.db.pacing import FORGOTTEN_S, SharedLevels
from ogc_async.errors import StoreError
from ogc_async.settings import Settings

PLACE = Place("aws", "me", "us-east-2")
BUCKET = TokenBucket(1000, 2)


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1e9

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def look(levels: SharedLevels, place: Place, *buckets: str) -> dict[str, float]:
    """The tokens of each bucket that was ever touched."""

    def decide(found: Mapping[str, Level], _: float) -> tuple[Mapping[str, Level], dict[str, float]]:
        return found, {bucket: level.tokens for bucket, level in found.items()}

    return await levels.change(place, buckets, decide)


async def test_a_level_is_kept_whole_for_everybody_on_the_database(database: Engine) -> None:
    level = Level(12.5, 1e9 + 0.125, share=0.5, slowed_at=1e9)

    def put(_: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], float]:
        return {"calls": level}, now

    def read(found: Mapping[str, Level], _: float) -> tuple[Mapping[str, Level], Level]:
        return {}, found["calls"]

    now = await SharedLevels(database).change(PLACE, ["calls"], put)
    assert now == pytest.approx(time.time(), abs=60)
    other = db.connect(database.url, settings=Settings(_env_file=None))
    # Nothing to change is no mistake either.
    assert await SharedLevels(other).change(PLACE, ["calls"], read) == level
    await other.aclose()


async def test_buckets_accounts_and_regions_are_counted_apart(database: Engine) -> None:
    moment = time.time()
    levels = SharedLevels(database, clock=lambda: moment)
    places = [PLACE, PLACE._replace(account="you"), PLACE._replace(region="eu-west-1"), Place("google", "me", "x")]
    for count, place in enumerate(places, 1):
        await Limiter(place, shared=levels, clock=time.monotonic).acquire(Want("calls", BUCKET, 100 * count))
    for count, place in enumerate(places, 1):
        assert await look(levels, place, "calls") == {"calls": 1000 - 100 * count}


async def test_many_at_once_on_a_new_bucket_lose_no_token(database: Engine) -> None:
    # The present: levels of long ago are forgotten wherever a bucket is new.
    moment = time.time()
    frozen = SharedLevels(database, clock=lambda: moment)
    others = [Limiter(PLACE, shared=frozen, clock=time.monotonic) for _ in range(8)]

    async def take(limits: Limiter) -> None:
        for _ in range(3):
            await limits.acquire(Want("a", BUCKET, 10), Want("b", BUCKET, 1))

    await asyncio.gather(*map(take, others))
    assert await look(frozen, PLACE, "a", "b") == {"a": 1000 - 8 * 3 * 10, "b": 1000 - 8 * 3}


async def test_callers_of_several_processes_wait_for_one_after_the_other(database: Engine) -> None:
    clock = Time()
    shared = SharedLevels(database, clock=lambda: 1e9)
    waits = []
    for _ in range(3):
        mine = Limiter(PLACE, shared=shared, clock=clock.clock, sleep=clock.sleep)
        before = clock.now
        await mine.acquire(Want("calls", TokenBucket(10, 1), 10))
        waits.append(clock.now - before)
    assert waits == pytest.approx([0, 10.2, 20.2])


async def test_what_is_long_forgotten_makes_room(database: Engine) -> None:
    moment = Time()
    levels = SharedLevels(database, clock=moment.clock)
    limits = Limiter(PLACE, shared=levels, clock=moment.clock)
    # By the database's own clock, this was years ago.
    await limits.acquire(Want("old", BUCKET))
    moment.now = time.time() - FORGOTTEN_S / 2
    await limits.acquire(Want("young", BUCKET))
    await limits.acquire(Want("new", BUCKET))
    async with database.reading() as connection:
        buckets = set((await connection.scalars(select(PaceLevel.bucket))).all())
        count = (await connection.execute(select(func.count()).select_from(PaceLevel))).scalar_one()
    assert (buckets, count) == ({"young", "new"}, 2)


async def test_no_trouble_of_the_database_keeps_a_call_from_the_cloud(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE pace_levels"))
    levels = SharedLevels(database)
    with pytest.raises(StoreError):
        await look(levels, PLACE, "calls")
    limits = Limiter(PLACE, shared=levels, clock=time.monotonic)
    for _ in range(5):
        await limits.acquire(Want("calls", BUCKET, 100))
    (record,) = caplog.records
    assert "counted by this process alone" in record.getMessage()


async def test_a_database_that_is_nowhere_is_done_without() -> None:
    engine = db.connect("postgresql://nobody@127.0.0.1:1/nothing", settings=Settings(_env_file=None))
    limits = Limiter(PLACE, shared=SharedLevels(engine), clock=time.monotonic)
    await limits.acquire(Want("calls", BUCKET))
    assert limits.own("calls")[0] is not None
    await engine.aclose()
