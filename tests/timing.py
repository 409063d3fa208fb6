"""Time in tests: it goes on where a test says so, and a deadline only ends what hangs."""

from __future__ import annotations

import asyncio

HANGS_AFTER_S = 60.0
"""Far more than anything here takes on a machine with ten times the work that it has cores for."""


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
