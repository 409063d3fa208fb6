"""A token bucket and a minute's window: calls wait here, in turn, instead of being refused there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

NEARLY_NOTHING = 1e-9
"""Below this a shortage of tokens is rounding, which no clock could wait out."""


MINUTE_S = 60.0


class TokenBucket:
    """Holds up to ``capacity`` tokens, full at first, and gains ``refill_per_s`` of them a second.

    Callers are served strictly in the order they came, so a large request is not starved by small ones. A caller that
    is cancelled while it waits has taken nothing.
    """

    def __init__(
        self,
        capacity: float,
        refill_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.capacity = capacity
        self.refill_per_s = refill_per_s
        self._clock = clock
        self._sleep = sleep
        self._level = float(capacity)
        self._filled_at = clock()
        self._turn = anyio.Lock()

    @property
    def level(self) -> float:
        """Tokens in the bucket now."""
        gained = (self._clock() - self._filled_at) * self.refill_per_s
        return min(self.capacity, self._level + gained)

    async def acquire(self, n: float = 1) -> None:
        """Take ``n`` tokens, after waiting for them where need be. Raises ``ValueError`` if they can never be there."""
        if n > self.capacity:
            raise ValueError(f"{n} tokens of a bucket that holds {self.capacity}")
        async with self._turn:
            # A refusal may drain the bucket during the sleep, hence the loop.
            while (missing := n - self.level) > NEARLY_NOTHING:
                await self._sleep(missing / self.refill_per_s)
            self._set(self.level - n)

    def drain(self) -> None:
        """Forget the tokens held: the other side has just said that there are none."""
        self._set(0.0)

    def _set(self, level: float) -> None:
        self._level = level
        self._filled_at = self._clock()


class MinuteWindow:
    """Lets ``capacity`` callers through in each minute of the wall clock; the others wait for the next one, in turn.

    ``wall_clock`` is seconds since the epoch: the other side counts by its own clock's minutes, not by ours.
    """

    def __init__(
        self,
        capacity: int,
        *,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.capacity = capacity
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._minute = -1
        self._used = 0
        self._turn = anyio.Lock()

    @property
    def left(self) -> int:
        """Callers that this minute still has room for."""
        return self.capacity - self._used if self._minute == self._this_minute() else self.capacity

    async def acquire(self) -> None:
        """Take one place, in the next minute where this one is full."""
        async with self._turn:
            while self.left <= 0:
                await self._sleep(MINUTE_S - self._wall_clock() % MINUTE_S)
            self._begin()
            self._used += 1

    def drain(self) -> None:
        """Forget the places left: the other side has just said that there are none."""
        self._begin()
        self._used = self.capacity

    def _begin(self) -> None:
        if self._minute != self._this_minute():
            self._minute, self._used = self._this_minute(), 0

    def _this_minute(self) -> int:
        return int(self._wall_clock() // MINUTE_S)
