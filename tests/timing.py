"""Time in tests: it goes on where a test says so, and a deadline only ends what hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

HANGS_AFTER_S = 120.0
"""Far more than anything here takes on a machine with ten times the work that it has cores for."""


PAUSE_S = 0.02
"""Between two looks: what is looked at has the processor meanwhile."""


def patiently(what: str, *, pause_s: float = PAUSE_S, seconds: float = HANGS_AFTER_S) -> Iterator[None]:
    """Rounds for a loop that looks until it sees ``what``, and leaves then; fails where it never does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(pause_s)
    raise AssertionError(f"in {seconds:g} s there was not: {what}")


class LoopTime:
    """The running loop's clock, which a test sets forward: what waits for a later moment goes on at once.

    Made before anything keeps the loop's clock for itself.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._ahead_s = 0.0
        loop.time = self.now  # type: ignore[method-assign]  # every timer and deadline of the loop goes by it

    def now(self) -> float:
        return self._real() + self._ahead_s

    def forward(self, seconds: float) -> None:
        self._ahead_s += seconds
