"""How far a node's end can be put off."""

from __future__ import annotations

from datetime import datetime, timedelta

from ogc_async.errors import CannotExtend
from ogc_async.spec.fields import MAX_DURATION
from ogc_async.types import NodeSnapshot
from ogc_async.types.span import lasting


def extended(node: NodeSnapshot, by: timedelta, now: datetime) -> datetime:
    """The node's new end: so much later than its end on record, or than now where that is over.

    Raises ``CannotExtend`` where it has no end, or where the new one is further away than any life may be long.
    """
    if node.ends_at is None:
        raise CannotExtend(
            node.name, "it has no end that could be put off; `ttl` in its layout gives one to nodes launched afterwards"
        )
    new = max(node.ends_at, now) + by
    if new - now > MAX_DURATION:
        most, longest = lasting(MAX_DURATION - (new - by - now)), lasting(MAX_DURATION)
        raise CannotExtend(node.name, f"a node lives for {longest} from now at most; extend it by {most} or less")
    return new
