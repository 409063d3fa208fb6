"""What many nodes say, said once: equal answers together, their nodes as ranges, differences as a diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

FEW = 3
"""Up to so many nodes are called by their names."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A node, by what it is called."""

    node_id: int
    name: str
    layout: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node said, and how that ended (an exit code, or an error's kind)."""

    member: Member
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that gave the same answer."""

    members: tuple[Member, ...]
    outcome: str
    text: str


def fold(answers: Iterable[Answer]) -> list[Group]:
    """Equal answers together, the most common first."""
    by_answer: dict[tuple[str, str], list[Member]] = {}
    for each in answers:
        by_answer.setdefault((each.outcome, each.text), []).append(each.member)
    groups = [Group(tuple(sorted(members)), outcome, text) for (outcome, text), members in by_answer.items()]
    return sorted(groups, key=lambda group: (-len(group.members), group.members[0].node_id))


def headline(groups: Sequence[Group]) -> str:
    """``197 nodes identical, 3 differ``."""
    same = len(groups[0].members)
    rest = sum(len(group.members) for group in groups) - same
    if same == 1:
        return f"{rest + same} nodes, each different"
    return f"{same} nodes identical" + (f", {rest} differ{'s' if rest == 1 else ''}" if rest else "")


def called(members: Sequence[Member]) -> str:
    """The nodes by name where they are few, by layout and ranges of ids where they are many."""
    if len(members) <= FEW:
        return ", ".join(member.name for member in members)
    by_layout = groupby(sorted(members, key=lambda each: (each.layout, each.node_id)), key=lambda each: each.layout)
    return "; ".join(f"{layout} {ranges(each.node_id for each in group)}" for layout, group in by_layout)


def ranges(ids: Iterable[int]) -> str:
    """``1-3, 7``: what a command takes as words, too."""
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in _spans(sorted(ids)))


def difference(base: str, other: str, names: tuple[str, str]) -> list[str]:
    """A unified diff's lines, without their ends."""
    lines = difflib.unified_diff(base.splitlines(), other.splitlines(), *names, n=1, lineterm="")
    return list(lines)


def _spans(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for each in ids:
        if first is None or last is None or each > last + 1:
            if first is not None and last is not None:
                yield first, last
            first = each
        last = each
    if first is not None and last is not None:
        yield first, last
