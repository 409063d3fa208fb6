"""What the APIs are asked, how long they take to answer, and what goes wrong on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.settings import SandboxSettings

LOST_REPLY = "lost-reply"
UNAVAILABLE = "unavailable"
THROTTLED = "throttled"
TWICE = "twice"
CUT = "cut"
OUTAGES = {"outage": UNAVAILABLE, "cut": CUT}
"""What every call meets during an outage: a refusal for the time being, or a connection that breaks off unheard."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time during which every call meets the same fault."""

    begins: float
    ends: float
    fault: str


class Traffic:
    """One cloud's calls: counted, delayed, and spoiled as the settings say."""

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self._latency = dict(settings.latency)
        self._slowness = settings.slowness
        self._shares = ((LOST_REPLY, settings.lost_replies), (TWICE, settings.duplicates))
        self._throttling = dict(settings.throttling)
        self._clock = clock
        self._rng = random.Random(f"{settings.seed} traffic")  # noqa: S311  # reproducible, not secret
        self._pace = random.Random(f"{settings.seed} pace")  # noqa: S311  # of its own: it shifts no fault
        self._faults: list[tuple[str, str]] = []
        self._outages = [
            *(Outage(start, start + lasts, UNAVAILABLE) for start, lasts in settings.outages),
            *(Outage(start, start + lasts, CUT) for start, lasts in settings.cuts),
        ]
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._spoiled: Counter[str] = Counter()
        self.add_faults(settings.faults)

    def add_faults(self, faults: Iterable[str]) -> None:
        """Plan faults: ``Operation=fault``, taken once, or ``outage=SECONDS`` and ``cut=SECONDS``, from now on.

        Raises ``ValueError`` for what is none, and plans nothing then.
        """
        parsed, outages = [], []
        for each in faults:
            operation, separator, fault = each.partition("=")
            if not (operation and separator and fault):
                raise ValueError(f"{each!r} is not Operation=fault")
            if operation in OUTAGES:
                now = self._clock.now()
                outages.append(Outage(now, now + float(fault), OUTAGES[operation]))
            else:
                parsed.append((operation, fault))
        self._faults.extend(parsed)
        self._outages.extend(outages)

    def next_fault(self, operation: str) -> str:
        """What goes wrong with this call, or ""."""
        fault = self._planned(operation) or self._drawn(operation)
        if fault:
            self._spoiled[fault] += 1
        return fault

    async def travel(self, operation: str) -> None:
        """One of a call's two ways: half its latency each, so that a caller may die before or after the effect."""
        latency = self._latency.get(operation, self._latency.get("*", 0.0))
        if self._slowness[1]:
            latency += self._pace.uniform(*self._slowness)
        if latency:
            await self._clock.sleep(latency / 2)

    def count(self, operation: str) -> None:
        """A call has come."""
        self._calls[operation] += 1

    def count_refused(self, operation: str) -> None:
        """It was refused."""
        self._refused[operation] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """Calls and refusals by operation."""
        return {name: {"calls": calls, "refused": self._refused[name]} for name, calls in self._calls.items()}

    def faults(self) -> dict[str, int]:
        """How many calls met each fault."""
        return dict(self._spoiled)

    def _planned(self, operation: str) -> str:
        for planned in self._faults:
            if planned[0] in (operation, "*"):
                self._faults.remove(planned)
                return planned[1]
        now = self._clock.now()
        return next((each.fault for each in self._outages if each.begins <= now < each.ends), "")

    def _drawn(self, operation: str) -> str:
        """One roll a call, whatever the shares are: the same seed spoils the same calls."""
        roll = self._rng.random()
        throttling = self._throttling.get(operation, self._throttling.get("*", 0.0))
        for fault, share in (*self._shares, (THROTTLED, throttling)):
            if roll < share:
                return fault
            roll -= share
        return ""
