"""How much a machine can carry of its layout in each cloud, and tags packed into that room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from ogc_async.types.launch import TAG_BATCH, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE, TAG_TAGS


@dataclass(frozen=True, slots=True)
class Room:
    """What one machine carries at most: ``entries`` keys with a value each, those of ``ours`` among them.

    ``separator`` is written between tags that share a value.
    """

    entries: int
    key_chars: int
    value_chars: int
    separator: str
    ours: frozenset[str]


_OURS = frozenset({TAG_OWNER, TAG_SCOPE, TAG_LAYOUT, TAG_BATCH})

EC2 = Room(50, 128, 256, ",", _OURS | {"Name"})
"""EC2's tags (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions).

EC2 takes every character; the narrower set on that page is what all services of AWS take.
"""

COMPUTE_ENGINE = Room(64, 63, 63, "_", _OURS)
"""Compute Engine's labels (https://cloud.google.com/compute/docs/labeling-resources#requirements)."""


def packed(tags: Iterable[str], room: Room) -> dict[str, str]:
    """The tags in order, none of them cut, in as few values as hold them: ``ogc:tags``, ``ogc:tags-2`` and so on."""
    values: list[str] = []
    for tag in tags:
        longer = f"{values[-1]}{room.separator}{tag}" if values else tag
        if values and len(longer) <= room.value_chars:
            values[-1] = longer
        else:
            values.append(tag)
    return {TAG_TAGS if place == 1 else f"{TAG_TAGS}-{place}": value for place, value in enumerate(values, 1)}


def end_tag(ends_at: datetime) -> str:
    """What a machine says of its end: the whole second, since the epoch, by which its life is over."""
    return str(ceil(ends_at.timestamp()))
