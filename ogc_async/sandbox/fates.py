"""What befalls machines without anybody's call: how a boot ends, when the cloud takes a spot machine back."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import (
    AFFLICTIONS,
    BLOWS,
    BOOT,
    CLOCK,
    INTERNAL_ERROR,
    WELL,
    Fault,
    Plan,
    shift_of,
)


@dataclass(frozen=True, slots=True)
class Blow:
    """What happens now to a machine, or to every one that it may happen to (``*``)."""

    kind: str
    target: str
    seconds: float = 0.0
    """By which a clock is set."""


class Fates:
    """Planned, or drawn as the settings say."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._plan = Plan()
        self._afflicted: dict[str, set[str]] = {}
        self._rng = random.Random(f"{settings.seed} fates")  # noqa: S311  # reproducible, not secret

    def add_faults(self, faults: Iterable[Fault]) -> list[Blow]:
        """Plan how boots end, and what is wrong with machines from now on; returns what is to happen at once."""
        faults = list(faults)
        for each in faults:
            is_all_well = (each.operation, each.kind) == ("*", WELL)
            if each.operation == BOOT or is_all_well:
                self._plan.add(each)
            if is_all_well:
                self._afflicted.clear()
            elif each.operation in AFFLICTIONS:
                self._afflict(each)
        return [_blow(each) for each in faults if each.operation in BLOWS]

    def of_machine(self, machine_id: str) -> frozenset[str]:
        """What is wrong with it."""
        return frozenset(kind for kind, whose in self._afflicted.items() if not whose.isdisjoint(("*", machine_id)))

    def _afflict(self, fault: Fault) -> None:
        if fault.kind == WELL:
            self._afflicted.pop(fault.operation, None)
        else:
            self._afflicted.setdefault(fault.operation, set()).add(fault.kind)

    def of_boot(self) -> str:
        """How the next boot ends: "" is well. One roll a boot: the same seed has the same ends."""
        roll = self._rng.random()
        return self._plan.take(BOOT) or (INTERNAL_ERROR if roll < self._settings.boot_errors else "")

    def of_spot(self) -> float | None:
        """Seconds from running until the cloud takes it back, if it does."""
        roll, after = self._rng.random(), self._rng.uniform(*self._settings.reclaim_after)
        return after if roll < self._settings.reclaims else None


def _blow(fault: Fault) -> Blow:
    return Blow(CLOCK, *shift_of(fault)) if fault.operation == CLOCK else Blow(fault.operation, fault.kind)
