"""What the APIs are asked, how long they take to answer, and what goes wrong on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.settings import SandboxSettings

LOST_REPLY = "lost-reply"
UNAVAILABLE = "unavailable"


class Traffic:
    """One cloud's calls: counted, delayed, and spoiled as the settings say."""

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self._latency = dict(settings.latency)
        self._lost_replies = settings.lost_replies
        self._clock = clock
        self._rng = random.Random(f"{settings.seed} traffic")  # noqa: S311  # reproducible, not secret
        self._faults: list[tuple[str, str]] = []
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self.add_faults(settings.faults)

    def add_faults(self, faults: Iterable[str]) -> None:
        """Plan faults, ``Operation=fault`` each. Raises ``ValueError`` for what is none, and plans nothing then."""
        parsed = []
        for each in faults:
            operation, separator, fault = each.partition("=")
            if not (operation and separator and fault):
                raise ValueError(f"{each!r} is not Operation=fault")
            parsed.append((operation, fault))
        self._faults.extend(parsed)

    def next_fault(self, operation: str) -> str:
        """What goes wrong with this call, or ""."""
        for planned in self._faults:
            if planned[0] in (operation, "*"):
                self._faults.remove(planned)
                return planned[1]
        return LOST_REPLY if self._rng.random() < self._lost_replies else ""

    async def travel(self, operation: str) -> None:
        """One of a call's two ways: half its latency each, so that a caller may die before or after the effect."""
        latency = self._latency.get(operation, self._latency.get("*", 0.0))
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
