"""Calls wait here, in turn, instead of being refused there; what is left is counted together with other processes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import anyio

from ogc_async.aio.buckets import NEARLY_NOTHING, Grant, Level, Rule, is_again
from ogc_async.errors import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")

Decide = Callable[[Mapping[str, Level], float], tuple[Mapping[str, Level], T]]
"""From the levels of some buckets, and the time of the clock that keeps them, to those that change, and an answer.

A level that was never changed is absent.
"""

ALONE_S = 30.0
"""How long a process counts for itself where the shared levels can not be reached, before it looks again."""

PUT_BACK_TIMEOUT_S = 5.0


class Place(NamedTuple):
    """Whose limits: an account in a region of a cloud. ``account`` tells accounts apart and says nothing else."""

    provider: str
    account: str
    region: str


class Levels(Protocol):
    """Where the levels of buckets are kept, for all who share them."""

    async def change(self, place: Place, buckets: Sequence[str], decide: Decide[T]) -> T:
        """Put what ``decide`` makes of these buckets' levels, alone and whole, and return its answer.

        ``decide`` may be asked more than once. Raises :class:`~ogc_async.errors.StoreError` where the levels can not
        be reached; then nothing was changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Want:
    """So many tokens of a bucket."""

    bucket: str
    rule: Rule
    count: float = 1


class Limiter:
    """Takes tokens of the buckets of one place, from ``shared`` levels where there are some.

    Callers who want the same are served in the order they came. A process has one place at a time among those of
    others, however many of its callers want the same: that much is lost with a process that dies, and no more.
    """

    def __init__(
        self,
        place: Place,
        *,
        shared: Levels | None = None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.place = place
        self._shared = shared
        self._own: dict[str, Level] = {}
        self._clock = clock
        self._sleep = sleep
        self._alone_until: float | None = None
        self._turns: dict[tuple[str, ...], anyio.Lock] = {}
        self._tabs: dict[str, _Tab] = {}

    async def acquire(self, *wants: Want) -> None:
        """Take all that is wanted, after waiting for it where need be, in this order.

        A caller that is cancelled while it waits has taken nothing.
        """
        async with self._turns.setdefault(tuple(want.bucket for want in wants), anyio.Lock()):
            due = [] if self._take_on_trust(wants) else list(wants)
            paid: list[Want] = []
            while due:
                grant, count = await self._pay(due)
                paid, due = paid + due[:count], due[count:]
                if grant.wait_s > 0:
                    await self._wait(grant.wait_s, paid)

    async def put_back(self, *wants: Want) -> None:
        """Return tokens of a call that was not carried out."""

        def decide(levels: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], None]:
            return {each.bucket: each.rule.put_back(levels.get(each.bucket), now, each.count) for each in wants}, None

        await self.change([want.bucket for want in wants], decide)

    async def refused(self, bucket: str, rule: Rule) -> bool:
        """The other side said no: everybody slows down, and nothing is used on trust for now.

        Returns whether it said so a while ago as well, and the slower pace has not helped.
        """
        self._tabs[bucket] = _Tab(0.0)

        def decide(levels: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], tuple[Level, bool]]:
            after = rule.refuse(levels.get(bucket), now)
            return {bucket: after}, (after, is_again(levels.get(bucket), now))

        level, was_slow = await self.change([bucket], decide)
        log.info("%s %s: %s was refused, from now on %r", self.place.provider, self.place.region, bucket, level)
        return was_slow

    async def change(self, buckets: Sequence[str], decide: Decide[T]) -> T:
        """Change levels where they are shared, and in this process's own count, which has to do where they are not."""
        changed, answer = decide(self._own, self._clock())
        self._own.update(changed)
        if self._shared is None or (self._alone_until is not None and self._clock() < self._alone_until):
            return answer
        try:
            answer = await self._shared.change(self.place, buckets, decide)
        except StoreError as error:
            self._go_alone(error)
        else:
            self._come_back()
        return answer

    def own(self, bucket: str) -> tuple[Level | None, float]:
        """This process's own count of a bucket, and the time of its clock."""
        return self._own.get(bucket), self._clock()

    def _take_on_trust(self, wants: Sequence[Want]) -> bool:
        """Use all that is wanted without asking, or nothing: one question costs as much as several."""
        tabs = [(self._tab(want), want.count) for want in wants]
        if not all(tab.has_room(count) for tab, count in tabs):
            return False
        for tab, count in tabs:
            tab.owed += count
        return True

    async def _pay(self, due: Sequence[Want]) -> tuple[Grant, int]:
        """Take what is due, and what was used on trust, up to the first that has to be waited for; and how many."""
        owed = {want.bucket: self._tab(want).owed for want in due}

        def decide(levels: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], list[Grant]]:
            changed: dict[str, Level] = {}
            grants: list[Grant] = []
            for want in due:
                bucket = want.bucket
                changed[bucket], grant = want.rule.take(levels.get(bucket), now, want.count, owed[bucket])
                grants.append(grant)
                if grant.wait_s > 0:
                    break
            return changed, grants

        grants = await self.change([want.bucket for want in due], decide)
        for want, grant in zip(due, grants, strict=False):
            self._tabs[want.bucket] = _Tab(grant.trust)
        return grants[-1], len(grants)

    async def _wait(self, seconds: float, paid: Sequence[Want]) -> None:
        try:
            await self._sleep(seconds)
        except BaseException:
            with anyio.move_on_after(PUT_BACK_TIMEOUT_S, shield=True):
                await self.put_back(*paid)
            raise

    def _tab(self, want: Want) -> _Tab:
        return self._tabs.setdefault(want.bucket, _Tab(want.rule.trust))

    def _go_alone(self, error: StoreError) -> None:
        if self._alone_until is None:
            log.warning(
                "the request limits of %s %s are counted by this process alone, until the database answers: %s",
                self.place.provider,
                self.place.region,
                error,
            )
        self._alone_until = self._clock() + ALONE_S

    def _come_back(self) -> None:
        if self._alone_until is not None:
            log.info("the request limits of %s %s are shared again", self.place.provider, self.place.region)
        self._alone_until = None


@dataclass(slots=True)
class _Tab:
    """What this process uses of a bucket on trust, and pays when it asks for the next."""

    trust: float
    owed: float = 0.0

    def has_room(self, count: float) -> bool:
        """So much more may be used on trust."""
        return self.owed + count <= self.trust + NEARLY_NOTHING
