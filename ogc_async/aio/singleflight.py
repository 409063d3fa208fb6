"""Callers who want the same thing at the same time share one call for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio

K = TypeVar("K")
V = TypeVar("V")

CANCEL_TIMEOUT_S = 10.0
"""A cancelled call has its own cleanups to do; longer than these may take, its last caller does not wait."""


@dataclass(slots=True)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    callers: int = 0


class SingleFlight(Generic[K, V]):
    """One call a key at a time; a success is remembered for ``keep_s`` seconds, a failure never.

    A caller that is cancelled leaves the call running for the others; with its last caller the call is cancelled too.
    """

    def __init__(self, *, keep_s: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._flights: dict[K, _Flight[V]] = {}
        self._kept: dict[K, tuple[float, V]] = {}

    async def run(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What ``call()`` returns, or what another caller's call for ``key`` returns or has returned lately."""
        if key in self._kept:
            kept_at, value = self._kept[key]
            if self._clock() - kept_at < self._keep_s:
                return value
            del self._kept[key]
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._call(key, call)))
        return await self._share(key, flight)

    def forget(self, key: K) -> None:
        """The next caller of ``key`` calls anew."""
        self._kept.pop(key, None)

    async def _call(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        try:
            value = await call()
            if self._keep_s > 0:
                self._kept[key] = (self._clock(), value)
            return value
        finally:
            self._land(key, asyncio.current_task())

    async def _share(self, key: K, flight: _Flight[V]) -> V:
        flight.callers += 1
        try:
            # A plain await would hand this caller's cancellation to the call that others wait for.
            await asyncio.wait({flight.task})
        finally:
            flight.callers -= 1
            if flight.callers == 0 and not flight.task.done():
                await self._cancel(key, flight.task)
        return flight.task.result()

    async def _cancel(self, key: K, task: asyncio.Task[V]) -> None:
        self._land(key, task)
        task.cancel()
        with anyio.move_on_after(CANCEL_TIMEOUT_S, shield=True):
            await asyncio.wait({task})
        if task.done() and not task.cancelled():
            # Nobody is left to hear how it ended; asyncio would report that as a mistake.
            task.exception()

    def _land(self, key: K, task: asyncio.Task[Any] | None) -> None:
        if key in self._flights and self._flights[key].task is task:
            del self._flights[key]
