"""Where a cloud had no capacity a moment ago: asking again at once costs a call and finds the same."""

from __future__ import annotations

import time
from collections.abc import Callable

from ogc_async.types import Offer

KEEP_S = 180.0
"""Capacity comes back within minutes; node autoscalers of EC2 remember a refused offer for three."""


class Holes:
    """The offers of each provider and region that were refused lately."""

    def __init__(self, *, keep_s: float = KEEP_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._noted_at: dict[tuple[str, str, Offer], float] = {}

    def note(self, provider: str, region: str, offer: Offer) -> None:
        """The cloud has just said that it has no capacity for this."""
        self._noted_at[provider, region, offer] = self._clock()

    def has(self, provider: str, region: str, offer: Offer) -> bool:
        """The cloud said so within the time that it is remembered."""
        noted_at = self._noted_at.get((provider, region, offer))
        return noted_at is not None and self._clock() - noted_at < self._keep_s
