from __future__ import annotations

import asyncio

import pytest

from ogc_async.aio.limiter import TokenBucket


class Time:
    """A clock that sleeping moves, for all sleepers at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds


def bucket(capacity: float, refill_per_s: float, time: Time) -> TokenBucket:
    return TokenBucket(capacity, refill_per_s, clock=time.clock, sleep=time.sleep)


async def test_a_full_bucket_lets_a_burst_through_and_then_paces() -> None:
    time = Time()
    calls = bucket(5, 2, time)
    moments = []
    for _ in range(9):
        await calls.acquire()
        moments.append(time.now)
    assert moments == pytest.approx([0, 0, 0, 0, 0, 0.5, 1.0, 1.5, 2.0])


async def test_an_idle_bucket_fills_up_to_its_capacity_and_no_further() -> None:
    time = Time()
    calls = bucket(5, 2, time)
    await calls.acquire(5)
    time.now += 1
    assert calls.level == 2
    time.now += 1000
    assert calls.level == 5


async def test_callers_are_served_in_the_order_they_came() -> None:
    time = Time()
    calls = bucket(10, 1, time)
    await calls.acquire(10)
    served: list[str] = []

    async def take(name: str, n: int) -> None:
        await calls.acquire(n)
        served.append(name)

    await asyncio.gather(take("large", 8), take("small", 1), take("smaller", 1))
    assert served == ["large", "small", "smaller"]


async def test_a_caller_cancelled_while_waiting_has_taken_nothing_and_holds_up_nobody() -> None:
    time = Time()
    never = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds > 50:
            await never.wait()
        await time.sleep(seconds)

    calls = TokenBucket(100, 1, clock=time.clock, sleep=sleep)
    await calls.acquire(100)
    greedy = asyncio.create_task(calls.acquire(100))
    modest = asyncio.create_task(calls.acquire(10))
    await asyncio.sleep(0)
    greedy.cancel()
    await asyncio.wait({greedy})
    await modest
    assert greedy.cancelled()
    assert time.now == pytest.approx(10)


async def test_a_drained_bucket_starts_from_nothing() -> None:
    time = Time()
    calls = bucket(100, 20, time)
    calls.drain()
    await calls.acquire(10)
    assert time.now == pytest.approx(0.5)


async def test_a_drain_during_a_wait_makes_the_wait_longer() -> None:
    time = Time()
    drained = [False]

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        if not drained[0]:
            drained[0] = True
            calls.drain()

    calls = TokenBucket(10, 1, clock=time.clock, sleep=sleep)
    await calls.acquire(10)
    await calls.acquire(5)
    assert time.now == pytest.approx(10)


async def test_rounding_never_makes_a_wait_endless() -> None:
    time = Time()
    time.now = 1e9
    calls = bucket(3, 0.1, time)
    for _ in range(100):
        await calls.acquire(0.3)
    assert time.now == pytest.approx(1e9 + 270, rel=1e-9)


async def test_more_than_the_bucket_ever_holds_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="11 tokens of a bucket that holds 10"):
        await bucket(10, 1, Time()).acquire(11)
