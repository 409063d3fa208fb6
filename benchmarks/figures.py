"""From laps to figures: medians, ratios, and the exponent of a curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any


def medians(laps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The middle of each figure over the laps; ``runs`` says how many there were."""
    names = dict.fromkeys(name for lap in laps for name in lap)
    return {name: round(median(lap[name] for lap in laps if name in lap), 3) for name in names} | {"runs": len(laps)}


def ratio(theirs: float, ours: float) -> float | None:
    """How many times ours theirs is, to two digits; nothing where ours is nothing."""
    return float(f"{theirs / ours:.2g}") if ours > 0 else None


def exponent(points: Iterable[tuple[float, float]]) -> float | None:
    """``b`` of the ``y = a * x**b`` that fits the points best in logarithms: 0 is flat, 1 is in proportion.

    Points without a positive ``y`` say nothing; fewer than two others have no curve.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    middle_x = sum(x for x, _ in logs) / len(logs)
    middle_y = sum(y for _, y in logs) / len(logs)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in logs) / sum((x - middle_x) ** 2 for x, _ in logs)
    return round(slope, 2)


def slower_than(entries: Mapping[str, Mapping[str, Any]], ours: str, figure: str) -> list[str]:
    """The others of whom this figure is smaller, so better, than ours."""
    mine = entries[ours][figure]
    return [name for name, each in entries.items() if name != ours and figure in each and each[figure] < mine]
