"""From layouts to batches: how many machines, of what, under which names and token."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ogc_async.plan.naming import new_suffixes, new_token, node_name
from ogc_async.spec import Layout


@dataclass(frozen=True, slots=True)
class Batch:
    """Machines that one call asks for: one layout's, in one zone (None: the cloud chooses), under one token."""

    layout: str
    names: tuple[str, ...]
    token: str
    region: str | None = None
    zone: str | None = None


def expand(
    layouts: Iterable[Layout],
    *,
    batch_size: int,
    region: str | None = None,
    taken: Collection[str] = (),
    rng: random.Random | None = None,
) -> list[Batch]:
    """Every layout at its scale in batches of at most ``batch_size`` names, in the order of the layouts.

    ``region`` is that of layouts that name none. Suffixes in ``taken`` are not used again. Every batch begins in the
    layout's first zone; :func:`next_zone` says where to go on.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1, not {batch_size}")
    wanted = list(layouts)
    suffixes = iter(new_suffixes(sum(layout.scale for layout in wanted), taken, rng))
    batches: list[Batch] = []
    for layout in wanted:
        names = [node_name(layout.name, next(suffixes)) for _ in range(layout.scale)]
        for start in range(0, len(names), batch_size):
            chunk = tuple(names[start : start + batch_size])
            zone = layout.zones[0] if layout.zones else None
            batches.append(Batch(layout.name, chunk, new_token(rng), layout.region or region, zone))
    return batches


def next_zone(zones: Sequence[str], current: str | None) -> str | None:
    """The zone to try after ``current``; None after the last one, and where ``current`` is none of ``zones``."""
    if current not in zones:
        return None
    return next(iter(zones[zones.index(current) + 1 :]), None)
