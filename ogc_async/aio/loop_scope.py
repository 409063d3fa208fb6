"""Things that belong to one event loop (pools, clients): made on first use there, closed before the loop is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio

T = TypeVar("T")
Closer = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 10.0
"""Longer than any orderly close takes; a peer that is gone must not hold up the end of a program."""

_closers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Closer]] = WeakKeyDictionary()


class LoopLocal(Generic[T]):
    """One value a loop: ``get()`` makes it on first use in the running loop, ``aclose()`` ends the running loop's.

    ``close`` is left out where there is nothing to close.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]] | None = None) -> None:
        self._make = make
        self._close = close
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's value. Raises ``RuntimeError`` where no loop runs."""
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            self._values[loop] = self._make()
            _closers.setdefault(loop, {})[id(self)] = self.aclose
        return self._values[loop]

    async def aclose(self) -> None:
        """Close the running loop's value, if there is one. A later ``get()`` makes another."""
        loop = asyncio.get_running_loop()
        _closers.get(loop, {}).pop(id(self), None)
        value = self._values.pop(loop, None)
        if value is not None and self._close is not None:
            await self._close(value)


async def close_loop_scope() -> None:
    """Close all that the running loop has made, latest first; shielded, bounded, and never in silence."""
    closers = _closers.pop(asyncio.get_running_loop(), {})
    for close in reversed(tuple(closers.values())):
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True) as scope:
            try:
                await close()
            except Exception:
                log.warning("closing at the end of the loop failed", exc_info=True)
        if scope.cancelled_caught:
            log.warning("closing at the end of the loop took longer than %.0f s and was given up", CLOSE_TIMEOUT_S)
