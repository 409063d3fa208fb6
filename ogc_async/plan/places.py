"""Where in the clouds things are: what one provider is asked about at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

Place = tuple[str, str]
"""A provider's name and a region."""


class Placed(Protocol):
    """A node, a change, a find: whatever is in one region of one cloud."""

    @property
    def provider(self) -> str:
        """The provider's name."""
        ...

    @property
    def region(self) -> str:
        """The region."""
        ...


P = TypeVar("P", bound=Placed)


def by_place(items: Iterable[P]) -> dict[Place, list[P]]:
    """The items of each place, in order."""
    groups: dict[Place, list[P]] = {}
    for each in items:
        groups.setdefault((each.provider, each.region), []).append(each)
    return groups
