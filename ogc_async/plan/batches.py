"""From layouts to batches: how many machines, of what and where, under which names and token."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ogc_async.plan.naming import new_suffixes, new_token, node_name
from ogc_async.spec import Layout
from ogc_async.types import Offer


@dataclass(frozen=True, slots=True)
class Batch:
    """Machines that one call asks for: one layout's, of one offer (None: the layout's own), under one token."""

    layout: str
    names: tuple[str, ...]
    token: str
    region: str | None = None
    offer: Offer | None = None


def expand(
    layouts: Iterable[Layout],
    *,
    batch_size: int,
    region: str | None = None,
    offer: Offer | None = None,
    taken: Collection[str] = (),
    rng: random.Random | None = None,
) -> list[Batch]:
    """Every layout at its scale in batches of at most ``batch_size`` names, in the order of the layouts.

    ``region`` is that of layouts that name none; ``offer`` is each layout's first one if it is not given. Suffixes in
    ``taken`` are not used again.
    """
    wanted = list(layouts)
    suffixes = iter(new_suffixes(sum(layout.scale for layout in wanted), taken, rng))
    batches: list[Batch] = []
    for layout in wanted:
        names = [node_name(layout.name, next(suffixes)) for _ in range(layout.scale)]
        where, what = layout.region or region, offer or offers(layout)[0]
        batches += [Batch(layout.name, chunk, new_token(rng), where, what) for chunk in cut(names, batch_size)]
    return batches


def cut(names: Sequence[str], batch_size: int) -> list[tuple[str, ...]]:
    """The names in runs of at most ``batch_size``, in order."""
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1, not {batch_size}")
    return [tuple(names[start : start + batch_size]) for start in range(0, len(names), batch_size)]


def offers(layout: Layout) -> tuple[Offer, ...]:
    """Where a layout's machines may be had, best first: its own size in each of its zones, then the next size."""
    sizes = dict.fromkeys((layout.instance_size, *layout.fallback_sizes))
    return tuple(Offer(zone, size) for size in sizes for zone in layout.zones or (None,))


def next_offer(
    among: Sequence[Offer], tried: Collection[Offer], is_hole: Callable[[Offer], bool] = lambda _: False
) -> Offer | None:
    """The offer to try after those ``tried``: the first that is not known to be a hole, else the first; or None."""
    left = [offer for offer in among if offer not in tried]
    return next((offer for offer in left if not is_hole(offer)), left[0] if left else None)
