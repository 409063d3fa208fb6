"""Repeats of a call that failed for a while: exponential backoff with full jitter, within a budget of seconds."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

STEEPEST = 30
"""Doublings after which a delay is beyond any cap; more would overflow a float after a long time."""


def next_delay(
    attempt: int, *, spent_s: float, budget_s: float, base_s: float, cap_s: float, roll: float
) -> float | None:
    """Seconds to wait before repeat number ``attempt`` (from 0), or ``None`` where the budget ends before it.

    ``roll`` in [0, 1) spreads callers that failed together over the whole delay.
    """
    delay_s = roll * min(cap_s, base_s * 2.0 ** min(attempt, STEEPEST))
    return delay_s if spent_s + delay_s < budget_s else None


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    is_retryable: Callable[[Exception], bool],
    budget_s: float,
    base_s: float = 0.5,
    cap_s: float = 20.0,
    rng: Callable[[], float] = random.random,
    clock: Clock = time.monotonic,
    sleep: Sleep = anyio.sleep,
) -> T:
    """Await ``call()``, again and again while it raises what ``is_retryable``; the last error is raised.

    ``budget_s`` counts from the first failure: a call that had to queue before has not used any of it.
    """
    failed_at: float | None = None
    attempt = 0
    while True:
        try:
            return await call()
        except Exception as error:
            now = clock()
            failed_at = now if failed_at is None else failed_at
            if not is_retryable(error):
                raise
            spent_s = now - failed_at
            delay_s = next_delay(attempt, spent_s=spent_s, budget_s=budget_s, base_s=base_s, cap_s=cap_s, roll=rng())
            if delay_s is None:
                raise
        attempt += 1
        await sleep(delay_s)


class Retrier:
    """:func:`retry` with the clock, the pauses and the luck that a client was given."""

    def __init__(self, *, rng: Callable[[], float], clock: Clock, sleep: Sleep) -> None:
        self._rng = rng
        self._clock = clock
        self._sleep = sleep

    async def __call__(
        self,
        call: Callable[[], Awaitable[T]],
        decide: Callable[[Exception], bool],
        budget_s: float,
        clock: Clock | None = None,
    ) -> T:
        """Repeat ``call`` while ``decide`` says so of its error, by the client's clock if no other is given."""
        return await retry(
            call, is_retryable=decide, budget_s=budget_s, rng=self._rng, clock=clock or self._clock, sleep=self._sleep
        )


class TurnClock:
    """A clock that stands still while a call waits in turn: that is no failure, and uses up no time for repeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queued_s = 0.0

    def __call__(self) -> float:
        """Seconds, but for those in the queue."""
        return self._clock() - self._queued_s

    async def stand_still(self, turn: Awaitable[None]) -> None:
        """Wait for the turn to come."""
        came_at = self._clock()
        await turn
        self._queued_s += self._clock() - came_at
