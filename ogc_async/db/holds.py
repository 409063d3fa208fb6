"""What a worker holds of the nodes, and the guard that what it writes stands behind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

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

    def by_fence(self, node_ids: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
        """Those of these nodes that are held, as many at a time as one statement takes, with the fence they share."""
        groups: dict[int, list[int]] = {}
        for node_id in sorted(node_ids):
            if node_id in self.fences:
                groups.setdefault(self.fences[node_id], []).append(node_id)
        for fence, members in groups.items():
            for chunk in chunks(members):
                yield fence, chunk

    def guard(self, fence: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """Rows of nodes that this worker holds behind this fence."""
        return Node.worker == self.worker, Node.fence == fence


async def still_held(connection: AsyncConnection, hold: Hold, node_ids: Collection[int]) -> set[int]:
    """Those of these nodes that the hold still holds, and will until the transaction's end: their rows are locked."""
    held: set[int] = set()
    for fence, chunk in hold.by_fence(set(node_ids)):
        locked = (
            select(Node.id)
            .where(Node.id.in_(chunk), *hold.guard(fence))
            .order_by(Node.id)
            .with_for_update(key_share=True)
        )
        held.update((await connection.scalars(locked)).all())
    return held
