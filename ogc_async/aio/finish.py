"""Work that is not broken off where it would leave something behind that nobody knows of."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

CANCEL_TIMEOUT_S = 5.0


async def finish(work: Coroutine[Any, Any, T], *, grace_s: float) -> T:
    """Await ``work``; a caller that is cancelled still waits for its end, ``grace_s`` seconds at most.

    Then the cancellation goes on, and what ``work`` returned is gone: it has to note by itself what must not be lost.
    """
    task = asyncio.create_task(work)
    try:
        # A plain await would hand the cancellation on to the work.
        await asyncio.wait({task})
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=grace_s)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_TIMEOUT_S)
        if task.done() and not task.cancelled():
            # Nobody is left to hear how it ended; asyncio would report that as a mistake.
            task.exception()
        raise
    return task.result()
