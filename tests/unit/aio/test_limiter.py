from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import pytest

from ogc_async.aio.buckets import LATE_S, Level, Rule, TokenBucket
from ogc_async.aio.limiter import ALONE_S, Decide, Levels, Limiter, Place, T, Want
from ogc_async.errors import DatabaseUnavailable
from tests.timing import HANGS_AFTER_S

PLACE = Place("aws", "me", "here")
CALLS = TokenBucket(5, 2)
CHEAP = TokenBucket(100, 20)


class Time:
    """A clock that sleeping moves, for all sleepers at once."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds


class Together:
    """Levels that several limiters share, with a clock of their own; out of order while ``broken``."""

    def __init__(self, time: Time) -> None:
        self.levels: dict[str, Level] = {}
        self.changes: list[Sequence[str]] = []
        self.broken = False
        self._time = time

    async def change(self, place: Place, buckets: Sequence[str], decide: Decide[T]) -> T:
        assert place == PLACE
        if self.broken:
            raise DatabaseUnavailable("gone")
        changed, answer = decide(self.levels, self._time.now + 1e9)
        self.levels |= changed
        self.changes.append(buckets)
        return answer


_fits: type[Levels] = Together


class Endless:
    """A sleep that never ends; ``begun`` once somebody sleeps."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def sleep(self, _: float) -> None:
        self.begun.set()
        await asyncio.Event().wait()


def limiter(time: Time, shared: Levels | None = None) -> Limiter:
    return Limiter(PLACE, shared=shared, clock=time.clock, sleep=time.sleep)


def calls(count: float = 1, rule: Rule = CALLS) -> Want:
    return Want("calls", rule, count)


async def test_a_burst_goes_through_and_the_next_ones_wait() -> None:
    time = Time()
    limits = limiter(time)
    for _ in range(5):
        await limits.acquire(calls())
    assert time.now == 100
    await limits.acquire(calls())
    assert time.now == pytest.approx(100 + LATE_S + 0.5)


async def test_callers_are_served_in_the_order_they_came() -> None:
    time = Time()
    limits, bucket = limiter(time), TokenBucket(10, 1)
    await limits.acquire(calls(10, bucket))
    served: list[str] = []

    async def take(name: str, count: float) -> None:
        await limits.acquire(calls(count, bucket))
        served.append(name)

    await asyncio.gather(take("large", 8), take("small", 1), take("smaller", 1))
    assert served == ["large", "small", "smaller"]


async def test_a_caller_cancelled_while_waiting_has_taken_nothing_and_holds_up_nobody() -> None:
    time, endless = Time(), Endless()

    async def sleep(seconds: float) -> None:
        if seconds > 50:
            await endless.sleep(seconds)
        await time.sleep(seconds)

    bucket = TokenBucket(100, 1)
    limits = Limiter(PLACE, clock=time.clock, sleep=sleep)
    await limits.acquire(calls(100, bucket))
    greedy = asyncio.create_task(limits.acquire(calls(100, bucket)))
    modest = asyncio.create_task(limits.acquire(calls(10, bucket)))
    await endless.begun.wait()
    greedy.cancel()
    await asyncio.wait({greedy, modest}, timeout=HANGS_AFTER_S)
    assert greedy.cancelled()
    assert modest.done()
    assert time.now == pytest.approx(110 + LATE_S)


async def test_a_cancelled_caller_gives_back_what_it_had_of_the_buckets_before() -> None:
    time = Time()
    shared, endless = Together(time), Endless()
    limits = Limiter(PLACE, shared=shared, clock=time.clock, sleep=endless.sleep)
    await limits.acquire(calls(5))
    waiting = asyncio.create_task(limits.acquire(Want("instances", TokenBucket(1000, 2), 100), calls()))
    await endless.begun.wait()
    taken = {bucket: level.tokens for bucket, level in shared.levels.items()}
    assert taken == {"instances": 900, "calls": -1}
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=HANGS_AFTER_S)
    assert {bucket: level.tokens for bucket, level in shared.levels.items()} == {"instances": 1000, "calls": 0}


async def test_processes_that_share_levels_keep_one_pace_together() -> None:
    time = Time()
    shared = Together(time)
    mine, yours = limiter(time, shared), limiter(time, shared)
    for _ in range(3):
        await mine.acquire(calls())
    for _ in range(2):
        await yours.acquire(calls())
    assert time.now == 100
    await yours.acquire(calls())
    assert time.now == pytest.approx(100 + LATE_S + 0.5)


async def test_a_process_waits_for_one_of_its_callers_at_a_time_so_that_no_more_dies_with_it() -> None:
    time = Time()
    shared, endless = Together(time), Endless()
    limits = Limiter(PLACE, shared=shared, clock=time.clock, sleep=endless.sleep)
    waiting = [asyncio.create_task(limits.acquire(calls())) for _ in range(20)]
    await endless.begun.wait()
    for _ in waiting:
        await asyncio.sleep(0)
    assert shared.levels["calls"].tokens == -1
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert shared.levels["calls"].tokens == 0


async def test_what_one_call_needs_of_several_buckets_is_one_change() -> None:
    time = Time()
    shared = Together(time)
    await limiter(time, shared).acquire(Want("instances", TokenBucket(1000, 2), 100), calls())
    assert shared.changes == [["instances", "calls"]]
    assert {bucket: level.tokens for bucket, level in shared.levels.items()} == {"instances": 900, "calls": 4}


async def test_a_later_bucket_is_not_touched_while_an_earlier_one_is_waited_for() -> None:
    time = Time()
    shared = Together(time)
    limits, instances = limiter(time, shared), TokenBucket(100, 1)
    await limits.acquire(Want("instances", instances, 100))
    taken: list[float | None] = []

    async def sleep(seconds: float) -> None:
        taken.append(shared.levels["calls"].tokens if "calls" in shared.levels else None)
        await time.sleep(seconds)

    slow = Limiter(PLACE, shared=shared, clock=time.clock, sleep=sleep)
    await slow.acquire(Want("instances", instances, 50), calls())
    assert taken == [None]
    assert shared.levels["calls"].tokens == 4


async def test_cheap_calls_are_counted_by_the_dozen() -> None:
    time = Time()
    shared = Together(time)
    limits = limiter(time, shared)
    for _ in range(33):
        await limits.acquire(calls(rule=CHEAP))
    assert len(shared.changes) == 3
    assert shared.levels["calls"].tokens == 67


async def test_a_refusal_slows_everybody_down_and_ends_all_trust() -> None:
    time = Time()
    shared = Together(time)
    mine, yours = limiter(time, shared), limiter(time, shared)
    assert not await mine.refused("calls", CALLS)
    await yours.acquire(calls())
    assert time.now == pytest.approx(101)
    cheap = limiter(time, shared)
    await cheap.refused("cheap", CHEAP)
    before = time.now
    await cheap.acquire(Want("cheap", CHEAP))
    assert time.now - before == pytest.approx(0.1)


async def test_a_refusal_in_spite_of_a_slower_pace_is_told() -> None:
    time = Time()
    limits = limiter(time)
    told = []
    for _ in range(3):
        told.append(await limits.refused("calls", CALLS))
        time.now += 3
    assert told == [False, True, True]


async def test_without_the_shared_levels_a_process_counts_alone_says_so_once_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    time = Time()
    shared = Together(time)
    limits = limiter(time, shared)
    await limits.acquire(calls(3))
    shared.broken = True
    await limits.acquire(calls(2))
    await limits.acquire(calls())
    assert time.now == pytest.approx(100 + LATE_S + 0.5)
    time.now += ALONE_S
    await limits.acquire(calls())
    (warning,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "aws here are counted by this process alone" in warning.getMessage()
    shared.broken = False
    asked = len(shared.changes)
    await limits.acquire(calls())
    assert len(shared.changes) == asked
    time.now += ALONE_S
    await limits.acquire(calls())
    assert len(shared.changes) == asked + 1
    assert caplog.records[-1].getMessage() == "the request limits of aws here are shared again"


async def test_a_mistake_of_the_caller_is_no_matter_of_the_levels() -> None:
    time = Time()
    with pytest.raises(ValueError, match="6 tokens of a bucket that holds 5"):
        await limiter(time, Together(time)).acquire(calls(6))


async def test_change_hands_over_both_counts() -> None:
    time = Time()
    shared = Together(time)
    seen: list[float] = []

    def decide(_: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], None]:
        seen.append(now)
        return {}, None

    await limiter(time, shared).change(["calls"], decide)
    assert seen == [100, 100 + 1e9]
