"""Node names that every cloud takes, and tokens that are UUIDs."""

from __future__ import annotations

import random
import re
import uuid

import pytest

from ogc_async.plan import new_suffixes, new_token, node_name

RFC1035 = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


class Replay(random.Random):
    """A random source that repeats each draw once before it goes on."""

    def __init__(self) -> None:
        super().__init__(1)
        self._last: list[str] | None = None

    def choices(self, population, weights=None, *, cum_weights=None, k=1):  # type: ignore[no-untyped-def] # the base class's overloads say nothing here
        again, self._last = self._last, None
        if again is None:
            again = self._last = super().choices(population, k=k)
        return again


@pytest.mark.parametrize("layout", ["w", "web", "web-", "a-1", "w" * 40])
def test_a_node_is_named_after_its_layout_and_legal_in_every_cloud(layout: str) -> None:
    (suffix,) = new_suffixes(1)
    name = node_name(layout, suffix)
    assert name == f"ogc-{layout}-{suffix}"
    assert RFC1035.fullmatch(name)
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("layout", "suffix"), [("Web", "a"), ("web", "a_b"), ("web", ""), ("web", "-"), ("w" * 60, "a")]
)
def test_a_name_that_a_cloud_would_refuse_is_never_made(layout: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="is no legal node name"):
        node_name(layout, suffix)


def test_suffixes_are_eight_characters_that_can_not_be_misread() -> None:
    for suffix in new_suffixes(200):
        assert re.fullmatch("[2-9b-z]{8}", suffix)
        assert not set(suffix) & set("01aeiouly")


def test_suffixes_are_all_different() -> None:
    assert len(set(new_suffixes(10_000))) == 10_000


def test_a_suffix_that_is_drawn_twice_counts_once() -> None:
    suffixes = new_suffixes(50, rng=Replay())
    assert len(set(suffixes)) == 50


def test_taken_suffixes_are_not_given_again() -> None:
    taken = new_suffixes(20, rng=random.Random(7))
    assert not set(new_suffixes(20, taken, random.Random(7))) & set(taken)


def test_a_seed_makes_names_and_tokens_repeatable_and_none_makes_them_differ() -> None:
    assert new_suffixes(5, rng=random.Random(3)) == new_suffixes(5, rng=random.Random(3))
    assert new_token(random.Random(3)) == new_token(random.Random(3))
    assert new_suffixes(5) != new_suffixes(5)
    assert new_token() != new_token()


@pytest.mark.parametrize("rng", [None, random.Random(1)])
def test_a_token_is_a_random_uuid_in_its_usual_spelling(rng: random.Random | None) -> None:
    token = new_token(rng)
    assert str(uuid.UUID(token)) == token
    assert uuid.UUID(token).version == 4
    assert token.isascii()
    assert len(token) <= 64
