"""Compute Engine's rate quotas, as data, and what keeps all processes that share a database within them.

Source: https://docs.cloud.google.com/compute/api-quota. Each group is counted by the minute of the clock, for a project
and a region; the figures are those published for the regional groups. A project with other figures is corrected by
what Compute Engine answers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import anyio

from ogc_async.aio.buckets import MinuteWindow, Pause
from ogc_async.aio.limiter import Levels, Limiter, Place, Want


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

OF_THE_PROJECT = frozenset({Group.HEAVY_READ, Group.GLOBAL})
"""Groups that all regions draw on together; what is called heavy here is the listing of all zones."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

UNDER_WAY = Pause(FIRST_PAUSE_S, LONGEST_PAUSE_S)
"""Operations of one kind that go on at a time: how many may is not published, so only a refusal is heeded."""

NOWHERE = Place("google", "", "")


class Limits:
    """The windows of one project and region, and pauses where too many operations are under way.

    ``shared`` with other processes, or else counted for this one alone.
    """

    def __init__(
        self,
        place: Place = NOWHERE,
        *,
        shared: Levels | None = None,
        per_minute: Mapping[Group, int] = PER_MINUTE,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._windows = {group: MinuteWindow(count) for group, count in per_minute.items()}
        self._region = Limiter(place, shared=shared, clock=wall_clock, sleep=sleep)
        self._project = Limiter(place._replace(region="global"), shared=shared, clock=wall_clock, sleep=sleep)

    async def take(self, operation: str, group: Group, *, begins: bool = False) -> None:
        """Wait until Compute Engine would let this call through, and count it. ``begins``: it begins an operation."""
        window = Want(group, self._windows[group])
        if not begins:
            await self._limiter(group).acquire(window)
        else:
            await self._limiter(group).acquire(Want(_under_way(operation), UNDER_WAY), window)

    async def used_up(self, group: Group) -> None:
        """Compute Engine said that the minute's calls are used up, whoever used them."""
        await self._limiter(group).refused(group, self._windows[group])

    async def too_many_at_once(self, operation: str, group: Group) -> None:
        """Compute Engine said that too many operations of this kind are under way: none is begun for a while."""
        await self._limiter(group).refused(_under_way(operation), UNDER_WAY)

    def left(self, group: Group) -> float:
        """Calls that are left in this minute, for all that this process knows."""
        return self._windows[group].left(*self._limiter(group).own(group))

    def _limiter(self, group: Group) -> Limiter:
        return self._project if group in OF_THE_PROJECT else self._region


def place_of(project: str, endpoint: str, region: str) -> Place:
    """Whose quotas calls to this project count against."""
    return Place("google", hashlib.sha256(f"{endpoint} {project}".encode()).hexdigest()[:32], region)


def _under_way(operation: str) -> str:
    return f"{operation} under way"
