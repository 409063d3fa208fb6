"""Work that outlasts its caller's cancellation."""

from __future__ import annotations

import asyncio

import pytest

from ogc_async.aio.finish import finish


async def test_work_that_must_end_ends_before_the_cancellation_goes_on() -> None:
    ended = []
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.append("well")

    caller = asyncio.create_task(finish(work(), grace_s=30))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == ["well"]


async def test_work_that_does_not_end_in_time_is_cancelled_too() -> None:
    heard = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    caller = asyncio.create_task(finish(work(), grace_s=0))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert heard == ["cancelled"]


async def test_what_work_returns_and_raises_is_the_callers() -> None:
    async def right() -> int:
        return 7

    async def wrong() -> int:
        raise ValueError("no")

    assert await finish(right(), grace_s=1) == 7
    with pytest.raises(ValueError, match="no"):
        await finish(wrong(), grace_s=1)
