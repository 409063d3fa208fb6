"""What a worker holds of the nodes, and the guard that what it writes stands behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.locking import update_in_order
from ogc_async.db.models import Node
from ogc_async.db.nodes import chunks


@dataclass(frozen=True, slots=True)
class Hold:
    """What a worker holds: the fence of each node, by the node's id.

    One that is not ``is_exclusive`` claims nothing, and guards nothing of what is written under it.
    """

    worker: str
    fences: Mapping[int, int] = field(default_factory=dict)
    is_exclusive: bool = True

    def common_fence(self, node_ids: Iterable[int]) -> int | None:
        """The fence that all of these nodes share, if they do."""
        fences = {self.fences.get(node_id, 0) for node_id in node_ids}
        return fences.pop() if len(fences) == 1 else None


async def still_held(connection: AsyncConnection, hold: Hold, node_ids: Iterable[int]) -> set[int]:
    """Those of these nodes that the hold still holds, and will until the transaction's end: their rows are locked.

    All rows that a transaction writes are locked in the order of their ids, whatever their fences are.
    """
    held: set[int] = set()
    for chunk in chunks(sorted(set(node_ids) & hold.fences.keys())):
        locked = select(Node.id, Node.fence).where(Node.id.in_(chunk), Node.worker == hold.worker).order_by(Node.id)
        rows = await connection.execute(locked.with_for_update(key_share=True))
        held.update(node_id for node_id, fence in rows if hold.fences[node_id] == fence)
    return held


async def update_held(
    connection: AsyncConnection,
    hold: Hold,
    node_ids: Iterable[int],
    values: Mapping[str, Any],
    *where: ColumnElement[bool],
) -> set[int]:
    """Write these values into the rows that the hold still holds, and that meet ``where``; the ids written."""
    node_ids = set(node_ids) & hold.fences.keys()
    fence = hold.common_fence(node_ids)
    guard: tuple[ColumnElement[bool], ...] = ()
    if fence is None:
        # Several fences would be several statements, each of which locks rows in an order of its own.
        node_ids = await still_held(connection, hold, node_ids)
    else:
        guard = Node.worker == hold.worker, Node.fence == fence
    written: set[int] = set()
    for chunk in chunks(sorted(node_ids)):
        found = update_in_order(Node, Node.id.in_(chunk), *guard, *where)
        written.update((await connection.scalars(found.values(values).returning(Node.id))).all())
    return written
