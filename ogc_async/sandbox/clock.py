"""The sandbox's time: as real, or faster."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Counts seconds from its start, ``scale`` of them for each real one."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._start = time.monotonic()
        self._epoch = datetime.now(UTC)

    def now(self) -> float:
        """Seconds since the start."""
        return (time.monotonic() - self._start) * self._scale

    def moment(self, seconds: float) -> datetime:
        """A time of this clock as a date."""
        return self._epoch + timedelta(seconds=seconds)

    def limit(self, seconds: float) -> asyncio.Timeout:
        """``async with`` it: ``TimeoutError`` after that long."""
        return asyncio.timeout(seconds / self._scale)

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds / self._scale)
