"""Compute Engine's rate quotas, as data, and what keeps one process within them.

Source: https://docs.cloud.google.com/compute/api-quota. Each group is counted by the minute of the clock, for a project
and a region; the figures are those published for the regional groups. A project with other figures is corrected by
what Compute Engine answers.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import anyio

from ogc_async.aio.limiter import MinuteWindow


class Group(StrEnum):
    """Methods that are counted together."""

    WRITE = "write"
    READ = "read"
    LIST = "list"
    OPERATION_READ = "operation read"
    HEAVY_READ = "heavy-weight read"
    GLOBAL = "global"


PER_MINUTE: Mapping[Group, int] = {
    Group.WRITE: 1500,
    Group.READ: 1500,
    Group.LIST: 1500,
    Group.OPERATION_READ: 1500,
    Group.HEAVY_READ: 750,
    Group.GLOBAL: 1500,
}

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Limits:
    """The windows of one project and region, and pauses where too many operations are under way."""

    def __init__(
        self,
        *,
        per_minute: Mapping[Group, int] = PER_MINUTE,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._windows = {
            group: MinuteWindow(count, wall_clock=wall_clock, sleep=sleep) for group, count in per_minute.items()
        }
        self._clock = clock
        self._sleep = sleep
        self._pauses: dict[str, _Pause] = {}

    async def take(self, operation: str, group: Group) -> None:
        """Wait until Compute Engine would let this call through, and count it."""
        pause = self._pauses.get(operation)
        if pause is not None and (left_s := pause.ends_at - self._clock()) > 0:
            await self._sleep(left_s)
        await self._windows[group].acquire()

    def used_up(self, group: Group) -> None:
        """Compute Engine said that the minute's calls are used up, whoever used them."""
        self._windows[group].drain()

    def too_many_at_once(self, operation: str) -> None:
        """Compute Engine said that too many operations of this kind are under way: none is begun for a while."""
        now = self._clock()
        last = self._pauses.get(operation)
        length_s = FIRST_PAUSE_S
        if last is not None and now < last.ends_at:
            # Calls that were sent before the pause began are refused as well; that says nothing new.
            return
        if last is not None and now < last.ends_at + last.length_s:
            length_s = min(2 * last.length_s, LONGEST_PAUSE_S)
        self._pauses[operation] = _Pause(now + length_s, length_s)

    def left(self, group: Group) -> int:
        """Calls that are left in this minute."""
        return self._windows[group].left


class _Pause:
    """No call of one kind before ``ends_at``; refused again within as long afterwards, it doubles."""

    def __init__(self, ends_at: float, length_s: float) -> None:
        self.ends_at = ends_at
        self.length_s = length_s
