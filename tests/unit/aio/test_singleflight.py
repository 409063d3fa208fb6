from __future__ import annotations

import asyncio

import pytest

from ogc_async.aio.singleflight import SingleFlight


class Work:
    """A call that takes as long as the test wants."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_at_the_same_time_share_one_call() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.run("a", work)) for _ in range(10)]
    await settle()
    work.may_end.set()
    assert await asyncio.gather(*callers) == [1] * 10


async def test_other_keys_are_other_calls() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    work.may_end.set()
    assert await asyncio.gather(flights.run("a", work), flights.run("b", work)) == [1, 2]


async def test_the_next_caller_calls_anew_unless_the_answer_is_kept() -> None:
    now = [0.0]
    work = Work()
    work.may_end.set()
    plain: SingleFlight[str, int] = SingleFlight()
    assert [await plain.run("a", work), await plain.run("a", work)] == [1, 2]
    kept: SingleFlight[str, int] = SingleFlight(keep_s=60, clock=lambda: now[0])
    assert [await kept.run("a", work), await kept.run("a", work)] == [3, 3]
    now[0] = 61
    assert await kept.run("a", work) == 4
    kept.forget("a")
    assert await kept.run("a", work) == 5


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    flights: SingleFlight[str, int] = SingleFlight(keep_s=60)
    work = Work()
    work.error = OSError("down")
    work.may_end.set()
    outcomes = await asyncio.gather(flights.run("a", work), flights.run("a", work), return_exceptions=True)
    assert [str(each) for each in outcomes] == ["down", "down"]
    work.error = None
    assert await flights.run("a", work) == 2


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_a_cancelled_caller_leaves_the_call_to_the_others(leaver: int) -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await settle()
    callers[leaver].cancel()
    await settle()
    work.may_end.set()
    await asyncio.wait(callers)
    assert [caller.cancelled() for caller in callers].count(True) == 1
    assert [caller.result() for caller in callers if not caller.cancelled()] == [1, 1]
    assert work.cancelled == 0


async def test_with_its_last_caller_the_call_is_cancelled_and_a_later_one_starts_anew() -> None:
    flights: SingleFlight[str, int] = SingleFlight(keep_s=60)
    work = Work()
    callers = [asyncio.create_task(flights.run("a", work)) for _ in range(2)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert work.cancelled == 1
    work.may_end.set()
    assert await flights.run("a", work) == 2
