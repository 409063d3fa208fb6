"""How much a limit lets through, decided without waiting: token buckets, minutes of the clock, pauses.

A rule reads a :class:`Level` and says what it becomes, so that it can be kept anywhere: by one process for itself, or
in one place for many. Times are seconds of whichever clock keeps the level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

MINUTE_S = 60.0

NEARLY_NOTHING = 1e-9
"""Below this a shortage of tokens is rounding, which no clock could wait out."""

LATE_S = 0.2
"""A call arrives that much later than it was let go: what a burst takes from a full bucket comes back no sooner."""

SET_BACK_S = 2.0
"""A level from so far ahead is none that others have put while we waited: the clock was set back."""

TRUST_S = 0.5
"""Where plenty is left, a process uses what comes back in this time before it says so: describing a fleet, second by
second, then costs one change of a level in ten calls."""

DEAR_PER_S = 4
"""Of what comes back more slowly, each token is asked for."""

REGAIN_S = 60.0
"""From half the published rate back to all of it takes half of this. In time, not in calls: twenty describes a second
would be back at the limit within one, and be refused again by the dozen."""

LOWEST_SHARE = 1 / 16
SAME_MOMENT_S = 2.0
"""Calls that were under way when the first one was refused are refused as well; that says nothing new."""
AGAIN_S = 20.0
"""A refusal so soon after another one, although the pace was slackened, has another cause than the pace."""


@dataclass(frozen=True, slots=True)
class Level:
    """Where a limit stands. Each rule has its own use for ``tokens`` and ``at``.

    ``share`` of the published rate was believed in at ``slowed_at``, when the other side refused a call for the last
    time; it comes back since. ``None``: it never did.
    """

    tokens: float
    at: float
    share: float = 1.0
    slowed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What was taken may be used after ``wait_s``; then ``trust`` more of it, before any more is asked for."""

    wait_s: float = 0.0
    trust: float = 0.0


class Rule(Protocol):
    """A limit of the other side. No level means one that nobody has touched yet."""

    @property
    def trust(self) -> float:
        """What a process may use before it asks for the first time."""
        ...

    def take(self, level: Level | None, now: float, count: float, owed: float = 0) -> tuple[Level, Grant]:
        """Take ``count``, now or in turn, and ``owed`` that was used on trust.

        Who has to wait has its place already: a large need is not starved by small ones. Raises ``ValueError`` for
        more than there can ever be.
        """
        ...

    def put_back(self, level: Level | None, now: float, count: float) -> Level:
        """Return what was taken and not used."""
        ...

    def refuse(self, level: Level | None, now: float) -> Level:
        """The other side said no: somebody else has used what this level still holds."""
        ...


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """Holds up to ``capacity`` tokens, full at first, and gains ``refill_per_s`` of them a second.

    A level below nothing is owed to callers that wait for their turn. Each refusal empties the bucket and halves the
    rate that is believed in, which then comes back by itself.
    """

    capacity: float
    refill_per_s: float

    @property
    def trust(self) -> float:
        """As much as comes back in half a second; see :class:`Rule`."""
        return _on_trust(self.capacity, self.refill_per_s)

    def tokens(self, level: Level | None, now: float) -> float:
        """Tokens in the bucket now."""
        return self._filled(level, now).tokens

    def take(self, level: Level | None, now: float, count: float, owed: float = 0) -> tuple[Level, Grant]:
        """Take tokens; see :class:`Rule`."""
        if count > self.capacity:
            raise ValueError(f"{count:g} tokens of a bucket that holds {self.capacity:g}")
        filled = self._filled(level, now)
        if filled.tokens >= self.capacity:
            filled = replace(filled, at=now + LATE_S)
        left = filled.tokens - min(count + owed, self.capacity)
        after = replace(filled, tokens=left)
        if left < -NEARLY_NOTHING:
            return after, Grant(filled.at - now - left / self._rate(filled, now))
        return after, Grant(trust=self.trust if left >= self.capacity / 2 else 0.0)

    def put_back(self, level: Level | None, now: float, count: float) -> Level:
        """Return tokens."""
        filled = self._filled(level, now)
        return replace(filled, tokens=min(filled.tokens + count, self.capacity))

    def refuse(self, level: Level | None, now: float) -> Level:
        """Empty the bucket, and halve the rate unless that was done a moment ago."""
        filled = self._filled(level, now)
        empty = replace(filled, tokens=min(filled.tokens, 0.0), at=now)
        if filled.slowed_at is not None and now - filled.slowed_at < SAME_MOMENT_S:
            return empty
        return replace(empty, share=max(share_of(filled, now) / 2, LOWEST_SHARE), slowed_at=now)

    def shorten(self, level: Level | None, now: float, most: float) -> Level:
        """Believe in ``most`` tokens at most; the rate is not in doubt."""
        filled = self._filled(level, now)
        return replace(filled, tokens=min(filled.tokens, most))

    def _filled(self, level: Level | None, now: float) -> Level:
        if level is None:
            return Level(self.capacity, now)
        if level.at > now + LATE_S + SET_BACK_S:
            # The time until then would be a time without any refill.
            return replace(level, at=now, slowed_at=None if level.slowed_at is None else now)
        gained = max(now - level.at, 0.0) * self._rate(level, now)
        return replace(level, tokens=min(self.capacity, level.tokens + gained), at=max(level.at, now))

    def _rate(self, level: Level, now: float) -> float:
        return self.refill_per_s * share_of(level, now)


@dataclass(frozen=True, slots=True)
class MinuteWindow:
    """Lets ``capacity`` calls through in each minute of the wall clock; the others wait for the next one.

    The clock is that of the epoch: the other side counts by its own clock's minutes, not by ours. ``at`` is the
    beginning of the minute that ``tokens`` are left of, the next one where this one is full.
    """

    capacity: int

    @property
    def trust(self) -> float:
        """As much as a half second's share of the minute; see :class:`Rule`."""
        return _on_trust(self.capacity, self.capacity / MINUTE_S)

    def left(self, level: Level | None, now: float) -> float:
        """Calls that this minute still has room for."""
        current = self._current(level, now)
        return current.tokens if current.at <= now else 0.0

    def take(self, level: Level | None, now: float, count: float, owed: float = 0) -> tuple[Level, Grant]:
        """Take places; see :class:`Rule`."""
        if count > self.capacity:
            raise ValueError(f"{count:g} calls of a minute that has room for {self.capacity}")
        current = self._current(level, now)
        if current.tokens < count:
            current = replace(current, tokens=float(self.capacity), at=current.at + MINUTE_S)
        left = max(current.tokens - count - owed, 0.0)
        wait_s = max(current.at - now, 0.0)
        is_plenty = not wait_s and left >= self.capacity / 2
        return replace(current, tokens=left), Grant(wait_s, self.trust if is_plenty else 0.0)

    def put_back(self, level: Level | None, now: float, count: float) -> Level:
        """Return places."""
        current = self._current(level, now)
        return replace(current, tokens=min(current.tokens + count, self.capacity))

    def refuse(self, level: Level | None, now: float) -> Level:
        """This minute is used up, whoever used it; the next one is as good as any."""
        current = self._current(level, now)
        return replace(current, tokens=0.0, slowed_at=now) if current.at <= now else current

    def _current(self, level: Level | None, now: float) -> Level:
        minute = now - now % MINUTE_S
        # Further ahead than the next minute but a few is a clock that was set back.
        if level is None or not minute <= level.at <= now + 10 * MINUTE_S:
            return Level(self.capacity, minute)
        return level


@dataclass(frozen=True, slots=True)
class Pause:
    """Lets everything through, but nothing for a while after a refusal; refused again soon after, it doubles.

    ``at`` is the end of the pause, ``tokens`` its length.
    """

    first_s: float
    longest_s: float
    trust: float = 12.0
    """Calls for which no pause is taken for granted, before it is looked for again."""

    def take(self, level: Level | None, now: float, count: float, owed: float = 0) -> tuple[Level, Grant]:
        """Wait for the end of the pause; see :class:`Rule`."""
        current = self._current(level, now)
        wait_s = max(current.at - now, 0.0)
        return current, Grant(wait_s, 0.0 if wait_s else self.trust)

    def put_back(self, level: Level | None, now: float, count: float) -> Level:
        """Nothing was taken."""
        return self._current(level, now)

    def refuse(self, level: Level | None, now: float) -> Level:
        """Begin a pause. Calls that were sent before it are refused as well; that says nothing new."""
        last = self._current(level, now)
        if now < last.at:
            return last
        is_again = now < last.at + last.tokens
        length_s = min(2 * last.tokens, self.longest_s) if is_again else self.first_s
        return Level(length_s, now + length_s, slowed_at=now)

    def _current(self, level: Level | None, now: float) -> Level:
        if level is None or level.at > now + self.longest_s:
            return Level(0.0, 0.0)
        return level


def _on_trust(capacity: float, refill_per_s: float) -> float:
    return min(refill_per_s * TRUST_S, capacity / 10) if refill_per_s >= DEAR_PER_S else 0.0


def share_of(level: Level, now: float) -> float:
    """The share of the published rate that is believed in now: all of it, a while after the last refusal."""
    if level.slowed_at is None:
        return 1.0
    return min(1.0, level.share + max(now - level.slowed_at, 0.0) / REGAIN_S)


def is_again(level: Level | None, now: float) -> bool:
    """A refusal now follows one that the pace was slackened for."""
    if level is None or level.slowed_at is None:
        return False
    return SAME_MOMENT_S <= now - level.slowed_at < AGAIN_S
