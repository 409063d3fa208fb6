"""The rows of milestones: written in groups while work goes on, and looked up for the timeline."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import insert, select

from ogc_async.db.engine import Engine
from ogc_async.db.models import NodeMilestone
from ogc_async.db.nodes import chunks
from ogc_async.types import Milestone, MilestoneKind

COLUMNS = [getattr(NodeMilestone, name) for name in Milestone.__dataclass_fields__]


async def add_milestones(engine: Engine, milestones: Sequence[Milestone]) -> None:
    """Put these on record, in one transaction."""
    rows = [asdict(each) for each in milestones]
    async with engine.transaction() as connection:
        for chunk in chunks(rows):
            await connection.execute(insert(NodeMilestone), chunk)


async def find_milestones(engine: Engine, node_ids: Collection[int]) -> list[Milestone]:
    """All milestones of these nodes, in the order in which they were reached."""
    found: list[Milestone] = []
    async with engine.reading() as connection:
        for chunk in chunks(sorted(node_ids)):
            rows = await connection.execute(select(*COLUMNS).where(NodeMilestone.node_id.in_(chunk)))
            found += [Milestone(**dict(row) | {"kind": MilestoneKind(row["kind"])}) for row in rows.mappings()]
    return sorted(found, key=lambda each: each.at)
