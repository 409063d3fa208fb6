"""Fan-out over many items: bounded, order kept, expected failures returned beside the successes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

import anyio

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)


async def gather_bounded(
    function: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int, catch: type[E]
) -> list[R | E]:
    """Await ``function`` of every item, at most ``limit`` at once: an answer an item, in order.

    A ``catch`` error is that item's answer. Any other error cancels the rest and is raised.
    """
    todo = list(items)
    answers: dict[int, R | E] = {}
    gate = asyncio.Semaphore(limit)

    async def run(index: int, item: T) -> None:
        async with gate:
            try:
                answers[index] = await function(item)
            except catch as error:
                answers[index] = error

    with unwrapped_group():
        async with anyio.create_task_group() as group:
            for index, item in enumerate(todo):
                group.start_soon(run, index, item)
    return [answers[index] for index in range(len(todo))]


async def gather_all(function: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int) -> list[R]:
    """As :func:`gather_bounded`, where no error is expected: the first one cancels the rest and is raised."""
    answers = await gather_bounded(function, items, limit=limit, catch=_Unraised)
    return cast("list[R]", answers)


class _Unraised(Exception):
    """Nothing raises this."""


class unwrapped_group:  # noqa: N801  # used as a statement, like contextlib's own
    """Raise the only error of an ``ExceptionGroup`` bare: what a caller of one verb expects to catch."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BaseExceptionGroup):
            inner: BaseException = error
            while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
                inner = inner.exceptions[0]
            if inner is not error:
                raise inner
