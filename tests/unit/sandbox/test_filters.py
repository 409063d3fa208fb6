"""Filters and pages over plain values."""

from __future__ import annotations

import pytest

from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.filters import page, select
from ogc_async.sandbox.ec2.wire import Parameters

WORDS = ["apple", "apricot", "banana", "a*c"]


def chosen(*values: str) -> list[str]:
    pairs = [("Filter.1.Name", "word"), *((f"Filter.1.Value.{n}", value) for n, value in enumerate(values, 1))]
    return select(WORDS, Parameters.of(pairs), {"word": lambda each: [each]}, lambda _: {})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["apple"], ["apple"]),
        (["apple", "banana"], ["apple", "banana"]),
        (["ap*"], ["apple", "apricot"]),
        (["?*an?na"], ["banana"]),
        (["a\\*c"], ["a*c"]),
        (["a.*"], []),
        (["*"], WORDS),
    ],
)
def test_values_are_alternatives_with_wildcards(values: list[str], expected: list[str]) -> None:
    assert chosen(*values) == expected


def test_a_filter_has_one_to_two_hundred_values() -> None:
    assert chosen(*(["apple"] * 200)) == ["apple"]
    for values in ([], ["apple"] * 201):
        with pytest.raises(Refused):
            chosen(*values)


def test_pages_meet_without_a_gap() -> None:
    seen: list[int] = []
    token: str | None = ""
    while token is not None:
        pairs = [("MaxResults", "7"), ("NextToken", token)] if token else [("MaxResults", "7")]
        some, token = page(range(20), Parameters.of(pairs), smallest=5, largest=1000)
        seen += some
    assert seen == list(range(20))
    with pytest.raises(Refused):
        page(range(20), Parameters.of([("NextToken", "forged")]), smallest=5, largest=1000)
