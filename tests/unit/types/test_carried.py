"""Tags packed into the values that a machine carries."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from ogc_async.types.carried import COMPUTE_ENGINE, EC2, Room, packed

ROOMS = pytest.mark.parametrize("room", [EC2, COMPUTE_ENGINE], ids=["ec2", "compute-engine"])


@ROOMS
def test_tags_that_one_value_holds_are_written_as_every_release_wrote_them(room: Room) -> None:
    assert packed((), room) == {}
    assert packed(("blue",), room) == {"ogc:tags": "blue"}
    assert packed(("blue", "red"), room) == {"ogc:tags": f"blue{room.separator}red"}
    full = ("a" * (room.value_chars - 2), "b")
    assert packed(full, room) == {"ogc:tags": room.separator.join(full)}


@ROOMS
@pytest.mark.parametrize("seed", range(20))
def test_every_tag_is_carried_whole_and_in_order(room: Room, seed: int) -> None:
    source = random.Random(seed)
    tags = tuple("abc"[n % 3] * source.randint(1, room.value_chars) for n in range(source.randint(1, 60)))
    carried = packed(tags, room)
    assert all(len(value) <= room.value_chars for value in carried.values())
    assert room.separator.join(carried.values()) == room.separator.join(tags)
    assert list(carried) == ["ogc:tags", *(f"ogc:tags-{place}" for place in range(2, len(carried) + 1))]
    for value, following in pairwise(carried.values()):
        assert len(value) + 1 + len(following.split(room.separator)[0]) > room.value_chars
