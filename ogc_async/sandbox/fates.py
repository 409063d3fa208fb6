"""What befalls machines without anybody's call: how a boot ends, when the cloud takes a spot machine back."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import BOOT, INTERNAL_ERROR, SHUTDOWN, SPOT_RECLAIM, WELL, Fault, Plan


@dataclass(frozen=True, slots=True)
class Blow:
    """What happens now to a machine, or to every one that it may happen to (``*``)."""

    kind: str
    target: str


class Fates:
    """Planned, or drawn as the settings say."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._plan = Plan()
        self._rng = random.Random(f"{settings.seed} fates")  # noqa: S311  # reproducible, not secret

    def add_faults(self, faults: Iterable[Fault]) -> list[Blow]:
        """Plan how boots end; returns what is to happen at once."""
        faults = list(faults)
        for each in faults:
            if each.operation == BOOT or (each.operation, each.kind) == ("*", WELL):
                self._plan.add(each)
        return [Blow(each.operation, each.kind) for each in faults if each.operation in (SPOT_RECLAIM, SHUTDOWN)]

    def of_boot(self) -> str:
        """How the next boot ends: "" is well. One roll a boot: the same seed has the same ends."""
        roll = self._rng.random()
        return self._plan.take(BOOT) or (INTERNAL_ERROR if roll < self._settings.boot_errors else "")

    def of_spot(self) -> float | None:
        """Seconds from running until the cloud takes it back, if it does."""
        roll, after = self._rng.random(), self._rng.uniform(*self._settings.reclaim_after)
        return after if roll < self._settings.reclaims else None
