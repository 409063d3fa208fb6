from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable

import anyio
import pytest

from ogc_async.aio.blocking import blocking, verb
from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.errors import InsideEventLoop
from tests.timing import HANGS_AFTER_S


@verb
async def double_async(values: list[int]) -> list[int]:
    """Twice each value."""
    await asyncio.sleep(0)
    return [2 * value for value in values]


double = blocking(double_async)


async def fail_async() -> None:
    raise ValueError("as asked")


def test_a_twin_returns_what_its_coroutine_returns() -> None:
    assert double([1, 2]) == [2, 4]


def test_a_twin_has_the_name_signature_and_docstring_of_its_verb() -> None:
    assert (double.__name__, double.__doc__) == ("double", "Twice each value.")
    assert inspect.signature(double) == inspect.signature(double_async)


def test_a_twin_raises_what_its_coroutine_raises() -> None:
    with pytest.raises(ValueError, match="as asked"):
        blocking(fail_async)()


async def test_a_twin_inside_a_loop_names_the_coroutine_to_await() -> None:
    with pytest.raises(InsideEventLoop, match=r"double\(\) was called inside a running event loop: use `await double_"):
        double([1])


def test_twins_work_three_times_in_a_row_and_from_two_threads() -> None:
    answers: list[list[int]] = [double([number]) for number in (1, 2, 3)]
    threads = [threading.Thread(target=lambda: answers.append(double([4]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS_AFTER_S)
    assert answers == [[2], [4], [6], [8], [8]]


@pytest.mark.parametrize("use", [list, lambda call: [call[0]], lambda call: call.result(), lambda call: list(call)[:]])
def test_plain_code_may_use_a_call_as_its_result(use: Callable[[object], list[int]]) -> None:
    assert use(double_async([3])) == [6]


def test_a_call_runs_once_however_often_it_is_used() -> None:
    runs = []

    @verb
    async def count_async() -> list[int]:
        runs.append(1)
        return runs

    call = count_async()
    assert (len(call), call[0], list(call), bool(call)) == (1, 1, [1], True)
    assert asyncio.run(call) == [1]


async def test_a_call_is_a_coroutine_to_every_way_of_awaiting() -> None:
    assert await double_async([1]) == [2]
    assert await asyncio.create_task(double_async([2])) == [4]  # type: ignore[arg-type]
    assert await asyncio.wait_for(double_async([3]), HANGS_AFTER_S) == [6]
    async with anyio.create_task_group() as group:
        group.start_soon(double_async, [4])


async def test_a_call_used_as_its_result_inside_a_loop_says_to_await_it() -> None:
    with pytest.raises(InsideEventLoop, match="await double_async"):
        list(double_async([1]))


def test_a_call_nobody_awaits_is_not_forgotten_in_silence() -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        double_async([1])


def test_what_a_loop_made_is_closed_before_the_loop_is() -> None:
    closed: list[tuple[str, bool]] = []

    async def close(value: str) -> None:
        closed.append((value, asyncio.get_running_loop().is_running()))

    local = LoopLocal(lambda: "pool", close)

    async def use_async() -> bool:
        return local.get() is local.get()

    assert blocking(use_async)()
    assert blocking(use_async)()
    assert closed == [("pool", True)] * 2


def test_one_bad_closer_does_not_keep_the_others_open(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    async def fail(_value: int) -> None:
        raise OSError("will not close")

    async def close(value: int) -> None:
        closed.append(value)

    first, second = LoopLocal(lambda: 1, close), LoopLocal(lambda: 2, fail)

    async def use_async() -> None:
        first.get()
        second.get()

    blocking(use_async)()
    assert closed == [1]
    assert "will not close" in caplog.text
