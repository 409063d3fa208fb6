"""How long machines live, and how they come to their end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class EndedBy(StrEnum):
    """What ended a node's machine."""

    US = "us"
    """This program: a teardown, a sync, a reap, or a launch that gave it back."""
    TTL = "ttl"
    """Its time to live was over."""
    CLOUD = "cloud"
    """The cloud, for a reason of its own: a spot machine that it took back, an error at boot."""
    LOST = "lost"
    """Unknown: its machine was there, and is not any more."""


@dataclass(frozen=True, slots=True)
class End:
    """What ended a machine, and when: ``None`` is the moment at which that is put on record."""

    by: EndedBy
    at: datetime | None = None


class Then(StrEnum):
    """What becomes of a node whose time to live is over."""

    END = "end"
    """Its machine ends, and `sync` launches no other one."""
    REPLACE = "replace"
    """Its machine ends, and `sync` launches another one."""
    STOP = "stop"
    """Its machine stops, and can be started again."""


class Ttl(timedelta):
    """How long a layout's machines live, counted from their boot, and ``then``, what follows."""

    then: Then = Then.END

    @classmethod
    def of(cls, after: timedelta, then: Then = Then.END) -> Ttl:
        """The life of that length."""
        made = cls(days=after.days, seconds=after.seconds, microseconds=after.microseconds)
        made.then = then
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy says as much as its original."""
        return Ttl.of, (timedelta(self.days, self.seconds, self.microseconds), self.then)

    def __eq__(self, other: object) -> bool:
        """Two lives are equal in both parts; a plain length equals a life of that length."""
        return timedelta.__eq__(self, other) is True and getattr(other, "then", self.then) == self.then

    def __ne__(self, other: object) -> bool:
        """The opposite, which ``timedelta`` works out by itself."""
        return not self == other

    __hash__ = timedelta.__hash__
