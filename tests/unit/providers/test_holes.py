from __future__ import annotations

from ogc_async.providers.holes import KEEP_S, Holes
from ogc_async.types import Offer

OFFER = Offer("us-east-2a", "t3.small")


def test_a_refused_offer_is_a_hole_for_some_minutes_in_its_own_region_only() -> None:
    now = 100.0
    holes = Holes(clock=lambda: now)
    assert not holes.has("aws", "us-east-2", OFFER)
    holes.note("aws", "us-east-2", OFFER)
    assert holes.has("aws", "us-east-2", OFFER)
    assert not holes.has("aws", "us-west-2", OFFER)
    assert not holes.has("aws", "us-east-2", Offer("us-east-2b", "t3.small"))
    now += KEEP_S
    assert not holes.has("aws", "us-east-2", OFFER)
