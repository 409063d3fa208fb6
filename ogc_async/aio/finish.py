"""Work that is not broken off where it would leave something behind that nobody knows of."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

CANCEL_TIMEOUT_S = 5.0


async def outlast(future: asyncio.Future[T]) -> T:
    """Await ``future`` to its end, however often the caller is cancelled meanwhile; then the cancellation goes on.

    For what can not be called back and ends by itself, such as a call on another thread.
    """
    if await _wait(future, None):
        _hear(future)
        raise asyncio.CancelledError
    return future.result()


async def finish(work: Coroutine[Any, Any, T], *, grace_s: float) -> T:
    """Await ``work``; a caller that is cancelled still waits for its end, ``grace_s`` seconds at most.

    Then the cancellation goes on, and what ``work`` returned is gone: it has to note by itself what must not be lost.
    """
    task = asyncio.create_task(work)
    try:
        # A plain await would hand the cancellation on to the work.
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await _wait(task, grace_s)
        if not task.done():
            task.cancel()
            await _wait(task, CANCEL_TIMEOUT_S)
        _hear(task)
        raise
    return task.result()


async def _wait(future: asyncio.Future[Any], timeout_s: float | None) -> bool:
    """Wait for the future's end, without raising; whether the caller was cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout_s is None else loop.time() + timeout_s
    was_cancelled = False
    with anyio.CancelScope(shield=True):
        while not future.done():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait({future}, timeout=left)
            except asyncio.CancelledError:
                was_cancelled = True
    return was_cancelled


def _hear(future: asyncio.Future[Any]) -> None:
    """Nobody is left to hear how it ended; asyncio would report that as a mistake."""
    if future.done() and not future.cancelled():
        future.exception()
