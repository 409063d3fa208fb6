from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from ogc_async.aio.batcher import Batcher


async def test_what_comes_in_together_goes_in_one_group() -> None:
    groups: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        groups.append(items)
        return [10 * item for item in items]

    async with Batcher(run) as batcher:
        answers = await asyncio.gather(*(batcher.submit(item) for item in range(50)))
    assert answers == [10 * item for item in range(50)]
    assert groups == [list(range(50))]


async def test_a_group_is_never_larger_than_its_ceiling() -> None:
    sizes: list[int] = []

    async def run(items: list[int]) -> list[int]:
        sizes.append(len(items))
        return items

    async with Batcher(run, max_batch=20) as batcher:
        await asyncio.gather(*(batcher.submit(item) for item in range(50)))
    assert sizes == [20, 20, 10]


async def test_an_error_reaches_every_caller_of_its_group_and_no_other() -> None:
    async def run(items: list[int]) -> list[int]:
        if 1 in items:
            raise OSError("down")
        return items

    async with Batcher(run, max_batch=2) as batcher:
        answers = await asyncio.gather(*(batcher.submit(item) for item in range(4)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError, OSError, int, int]


async def test_leaving_writes_what_a_cancelled_caller_left_behind() -> None:
    written: list[int] = []

    async def run(items: list[int]) -> list[int]:
        await anyio.sleep(0)
        written.extend(items)
        return items

    with anyio.CancelScope() as scope:
        async with Batcher(run) as batcher, anyio.create_task_group() as group:
            group.start_soon(batcher.submit, 1)
            await anyio.sleep(0)
            scope.cancel()
    assert written == [1]


async def test_a_closed_batcher_takes_nothing() -> None:
    async def run(items: list[int]) -> list[int]:
        return items

    async with Batcher(run) as batcher:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await batcher.submit(1)


async def test_what_trickles_in_within_the_window_goes_in_one_group() -> None:
    groups: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        groups.append(items)
        return items

    batcher = Batcher(run, idle_s=0.05, ceiling_s=60)
    calls = []
    for item in range(20):
        calls.append(asyncio.create_task(batcher.submit(item)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == list(range(20))
    assert groups == [list(range(20))]


async def test_without_a_block_it_works_whenever_there_is_something_to_do() -> None:
    async def run(items: list[int]) -> list[int]:
        return items

    before = asyncio.all_tasks()
    batcher = Batcher(run)
    assert [await batcher.submit(item) for item in range(3)] == [0, 1, 2]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_between_two_groups_there_is_time_for_more_to_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[list[int]] = []
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        assert 0 < seconds <= 60
        paused.set()
        await go_on.wait()

    async def run(items: list[int]) -> list[int]:
        groups.append(items)
        return items

    async with Batcher(run, interval_s=60) as batcher:
        monkeypatch.setattr("ogc_async.aio.batcher.asyncio.sleep", pause)
        assert await batcher.submit(1) == 1
        await paused.wait()
        rest = [asyncio.create_task(batcher.submit(item)) for item in (2, 3, 4)]
        await anyio.lowlevel.checkpoint()
        go_on.set()
        assert await asyncio.gather(*rest) == [2, 3, 4]
    assert groups == [[1], [2, 3, 4]]
