"""What many nodes' steps said last, looked up at once."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from ogc_async.db.engine import Engine
from ogc_async.db.models import Action
from ogc_async.db.nodes import chunks
from ogc_async.db.results import ActionSnapshot, action_columns, snapshot_of


async def find_last_actions(engine: Engine, node_ids: Collection[int]) -> list[ActionSnapshot]:
    """Of each script on each of these nodes, its last action; in the order in which they began."""
    found: list[ActionSnapshot] = []
    async with engine.reading() as connection:
        for chunk in chunks(sorted(node_ids)):
            last = select(func.max(Action.id)).where(Action.node_id.in_(chunk)).group_by(Action.node_id, Action.script)
            rows = await connection.execute(select(*action_columns()).where(Action.id.in_(last)))
            found += [snapshot_of(row) for row in rows.mappings()]
    return sorted(found, key=lambda action: action.id)
