"""Things that belong to one event loop (pools, clients): made on first use there, closed before the loop is.

``asyncio.run`` closes the loop's asynchronous generators at its end, while coroutines still run: one of ours, which
does nothing else, tells us of that. Nobody has to close anything who does not want it closed earlier.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio

T = TypeVar("T")
Closer = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 10.0
"""Longer than any orderly close takes; a peer that is gone must not hold up the end of a program."""


@dataclass(slots=True)
class _Scope:
    until_shutdown: AsyncGenerator[None, None]
    closers: dict[int, Closer] = field(default_factory=dict)


_scopes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Scope] = WeakKeyDictionary()


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
            _scope_of(loop).closers[id(self)] = self.aclose
        return self._values[loop]

    async def aclose(self) -> None:
        """Close the running loop's value, if there is one. A later ``get()`` makes another."""
        loop = asyncio.get_running_loop()
        if loop in _scopes:
            _scopes[loop].closers.pop(id(self), None)
        value = self._values.pop(loop, None)
        if value is not None and self._close is not None:
            await self._close(value)


async def _close_all() -> None:
    """Close all that the running loop has made, latest first; shielded, bounded, and never in silence."""
    scope = _scopes.get(asyncio.get_running_loop())
    closers = scope.closers if scope else {}
    while closers:
        _, close = closers.popitem()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True) as limit:
            try:
                await close()
            except Exception:
                log.warning("closing at the end of the loop failed", exc_info=True)
        if limit.cancelled_caught:
            log.warning("closing at the end of the loop took longer than %.0f s and was given up", CLOSE_TIMEOUT_S)


def _scope_of(loop: asyncio.AbstractEventLoop) -> _Scope:
    if loop not in _scopes:
        _scopes[loop] = _Scope(_until_shutdown())
        _start(_scopes[loop].until_shutdown)
    return _scopes[loop]


async def _until_shutdown() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await _close_all()


def _start(generator: AsyncGenerator[None, None]) -> None:
    """Run it to its first ``yield``, where it waits for nothing: from then on the loop knows of it."""
    with suppress(StopIteration):
        generator.__anext__().send(None)
