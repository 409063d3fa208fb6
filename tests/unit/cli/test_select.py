"""Which nodes the words of a command mean."""

from __future__ import annotations

import pytest

from ogc_async.cli.select import Selection, choose, matches
from ogc_async.errors import AmbiguousNode, NothingMatched, UnknownNode
from ogc_async.types import NodeState
from tests.unit.cli.nodes import node

NODES = [
    node(1, "ogc-web-k87wkb5k", tags=("blue", "ci")),
    node(2, "ogc-web-4vspszft", tags=("ci",)),
    node(3, "ogc-db-3qpwth6q", state=NodeState.LAUNCHING),
    node(12, "ogc-worker-k8zzzzzz"),
]


def ids(selection: Selection) -> list[int]:
    return [each.id for each in choose(NODES, selection)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ogc-web-k87wkb5k", [1]),
        ("web-k87", [1]),
        ("ogc-web-k", [1]),
        ("k87", [1]),
        ("db", [3]),
        ("12", [12]),
        ("1", [1]),
        ("2-11", [2, 3]),
        ("1-99", [1, 2, 3, 12]),
        ("ogc-web-*", [1, 2]),
        ("*k8*", [1, 12]),
        ("ogc-[dw]*-[34]*", [2, 3]),
    ],
)
def test_a_word_is_a_name_or_part_of_one_an_id_a_range_or_a_glob(word: str, expected: list[int]) -> None:
    assert [each.id for each in matches(word, NODES)] == expected
    assert ids(Selection((word,))) == expected


def test_words_add_up_and_options_narrow() -> None:
    assert ids(Selection(("1", "db"))) == [1, 3]
    assert ids(Selection(layouts=("web", "db"))) == [1, 2, 3]
    assert ids(Selection(layouts=("w*",))) == [1, 2, 12]
    assert ids(Selection(tags=("ci",))) == [1, 2]
    assert ids(Selection(tags=("ci",), words=("*k87*",))) == [1]
    assert ids(Selection(states=(NodeState.LAUNCHING,))) == [3]
    assert ids(Selection(is_all=True)) == [1, 2, 3, 12]


def test_a_part_that_several_names_have_is_told_with_some_of_them() -> None:
    with pytest.raises(AmbiguousNode, match="'web' is the name of 2 nodes: ogc-web-k87wkb5k, ogc-web-4vspszft"):
        ids(Selection(("web",)))
    with pytest.raises(AmbiguousNode):
        ids(Selection(("k8",)))


def test_what_matches_nothing_is_told_with_what_is_near_or_there() -> None:
    with pytest.raises(UnknownNode, match=r"no such node: ogc-web-x87wkb5k; did you mean ogc-web-k87wkb5k\?"):
        ids(Selection(("ogc-web-x87wkb5k",)))
    with pytest.raises(UnknownNode, match="no such node: 99, 77"):
        ids(Selection(("99", "77", "1")))
    with pytest.raises(NothingMatched, match="no node on record fits --tag nightly; there are: blue, ci"):
        ids(Selection(tags=("nightly",)))
    with pytest.raises(NothingMatched, match="--layout wib; there are: db, web, worker"):
        ids(Selection(layouts=("wib",)))
    with pytest.raises(UnknownNode):
        ids(Selection(("db",), tags=("ci",)))


def test_saying_nothing_is_empty_whatever_the_default() -> None:
    assert Selection().is_empty
    assert not Selection(is_all=True).is_empty
    assert not Selection(states=(NodeState.LOST,)).is_empty
