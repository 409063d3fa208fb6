from __future__ import annotations

import anyio
import pytest

from ogc_async.aio.gather import gather_bounded


async def test_answers_keep_the_order_of_the_items() -> None:
    gates = [anyio.Event() for _ in range(3)]

    async def run(index: int) -> int:
        if index < 2:
            await gates[index + 1].wait()
        gates[index].set()
        return index

    assert await gather_bounded(run, range(3), limit=3, catch=ValueError) == [0, 1, 2]


async def test_no_more_run_at_once_than_the_limit() -> None:
    running, most = 0, 0

    async def run(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0)
        running -= 1

    await gather_bounded(run, range(20), limit=4, catch=ValueError)
    assert most == 4


async def test_an_expected_failure_is_the_answer_of_its_item() -> None:
    async def run(number: int) -> int:
        if number == 1:
            raise ValueError("one")
        return number

    first, second, third = await gather_bounded(run, range(3), limit=2, catch=ValueError)
    assert (first, third) == (0, 2)
    assert isinstance(second, ValueError)


async def test_any_other_failure_is_raised_bare() -> None:
    async def run(_: int) -> int:
        raise KeyError("surprise")

    with pytest.raises(KeyError, match="surprise"):
        await gather_bounded(run, [1], limit=2, catch=ValueError)
