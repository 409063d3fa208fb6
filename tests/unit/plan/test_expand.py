"""Layouts at their scale, in batches."""

from __future__ import annotations

import random

import pytest

from ogc_async.plan import Batch, expand, next_offer, offers
from ogc_async.types import Offer
from tests.unit.plan.conftest import make_layout


@pytest.mark.parametrize(
    ("scale", "batch_size", "sizes"),
    [(0, 10, []), (1, 10, [1]), (10, 10, [10]), (11, 10, [10, 1]), (25, 10, [10, 10, 5]), (3, 1, [1, 1, 1])],
)
def test_a_batch_is_never_larger_than_allowed_and_none_is_empty(scale: int, batch_size: int, sizes: list[int]) -> None:
    batches = expand([make_layout(scale=scale)], batch_size=batch_size)
    assert [len(batch.names) for batch in batches] == sizes


def test_batches_follow_the_order_of_the_layouts_and_never_mix_two() -> None:
    layouts = [make_layout("web", scale=3), make_layout("db", scale=0), make_layout("cache", scale=2)]
    batches = expand(layouts, batch_size=2)
    assert [(batch.layout, len(batch.names)) for batch in batches] == [("web", 2), ("web", 1), ("cache", 2)]
    assert all(name.startswith(f"ogc-{batch.layout}-") for batch in batches for name in batch.names)


def test_names_and_tokens_are_all_different() -> None:
    batches = expand([make_layout("web", scale=500), make_layout("db", scale=500)], batch_size=7)
    names = [name for batch in batches for name in batch.names]
    assert len(set(names)) == len(names) == 1000
    assert len({batch.token for batch in batches}) == len(batches)


def test_the_region_is_the_layout_s_own_or_the_default() -> None:
    batches = expand([make_layout("a", region="us-west-2"), make_layout("b")], batch_size=5, region="us-east-1")
    assert [batch.region for batch in batches] == ["us-west-2", "us-east-1"]
    assert expand([make_layout()], batch_size=5)[0].region is None


def test_a_batch_begins_in_the_first_zone_or_leaves_the_zone_to_the_cloud() -> None:
    batches = expand([make_layout("a", zones=["z-2", "z-1"]), make_layout("b")], batch_size=5)
    assert [batch.offer.zone for batch in batches if batch.offer] == ["z-2", None]


def test_a_seed_makes_the_whole_plan_repeatable() -> None:
    layout = make_layout(scale=30)
    plans = [expand([layout], batch_size=8, rng=random.Random(5)) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0] != expand([layout], batch_size=8, rng=random.Random(6))


def test_taken_suffixes_are_left_out() -> None:
    layout = make_layout(scale=3)
    first = expand([layout], batch_size=3, rng=random.Random(5))[0]
    taken = {name.rsplit("-", 1)[1] for name in first.names}
    second = expand([layout], batch_size=3, taken=taken, rng=random.Random(5))[0]
    assert not set(first.names) & set(second.names)


def test_a_batch_of_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="batch_size is at least 1, not 0"):
        expand([make_layout()], batch_size=0)


def test_a_batch_is_a_value() -> None:
    assert Batch("web", ("a",), "t") == Batch("web", ("a",), "t")
    assert len({Batch("web", ("a",), "t"), Batch("web", ("a",), "t")}) == 1


def test_offers_are_the_own_size_in_every_zone_before_the_next_size_in_any() -> None:
    layout = make_layout(zones=["z-1", "z-2"], **{"fallback-sizes": ["m5.large"]})
    assert [str(each) for each in offers(layout)] == [
        "t3.small in z-1",
        "t3.small in z-2",
        "m5.large in z-1",
        "m5.large in z-2",
    ]


def test_an_offer_is_tried_once_and_one_that_lately_was_a_hole_last() -> None:
    a, b, c = among = [Offer(zone, "t3.small") for zone in "abc"]
    assert next_offer(among, []) == a
    assert next_offer(among, [a]) == b
    assert next_offer(among, [a], lambda each: each == b) == c
    assert next_offer(among, [a, c], lambda each: each == b) == b
    assert next_offer(among, [a, b, c]) is None
