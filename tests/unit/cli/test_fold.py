"""Equal answers are told once, and their nodes as ranges."""

from __future__ import annotations

from itertools import chain

from ogc_async.cli.fold import Answer, Member, called, difference, fold, headline, ranges


def member(number: int, layout: str = "web") -> Member:
    return Member(number, f"ogc-{layout}-{number:03}", layout)


def answers(*texts: str) -> list[Answer]:
    return [Answer(member(number), "0", text) for number, text in enumerate(texts, 1)]


def test_equal_answers_are_one_group_and_the_largest_comes_first() -> None:
    groups = fold(chain(answers("b", "a", "a", "a"), [Answer(member(9), "1", "a")]))
    assert [(group.outcome, group.text, len(group.members)) for group in groups] == [
        ("0", "a", 3),
        ("0", "b", 1),
        ("1", "a", 1),
    ]


def test_the_headline_counts_who_agrees_and_who_does_not() -> None:
    assert headline(fold(answers(*["x"] * 197, "1", "2", "2"))) == "197 nodes identical, 3 differ"
    assert headline(fold(answers("x", "x", "y"))) == "2 nodes identical, 1 differs"
    assert headline(fold(answers("x", "x"))) == "2 nodes identical"
    assert headline(fold(answers("x", "y", "z"))) == "3 nodes, each different"


def test_few_nodes_are_named_and_many_are_ranges_by_layout() -> None:
    assert called([member(1), member(2)]) == "ogc-web-001, ogc-web-002"
    many = [member(each) for each in (1, 2, 3, 7)] + [member(each, "db") for each in (4, 6)]
    assert called(many) == "db 4, 6; web 1-3, 7"


def test_ranges_close_over_what_is_next_to_each_other() -> None:
    assert ranges([]) == ""
    assert ranges([5]) == "5"
    assert ranges([3, 1, 2, 9, 10, 20]) == "1-3, 9-10, 20"


def test_a_difference_shows_lines_that_went_and_came() -> None:
    lines = difference("a\nb\nc\n", "a\nB\nc\n", ("most", "web-3"))
    assert lines[:2] == ["--- most", "+++ web-3"]
    assert "-b" in lines
    assert "+B" in lines
    assert difference("a\n", "a\n", ("most", "web-3")) == []
