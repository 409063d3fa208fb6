"""What every verb opens that works on nodes over SSH: their claim, the record of steps, sessions, and scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ogc_async.actions.claims import claiming
from ogc_async.actions.context import Context, Terms
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.db.nodes import get_nodes
from ogc_async.types import NodeSnapshot


@dataclass(frozen=True, slots=True)
class Crew:
    """One verb at work. ``nodes`` are those asked for, in order, as they were once they were claimed."""

    nodes: Sequence[NodeSnapshot]
    record: Record
    fleet: Fleet
    scripting: Scripting


@asynccontextmanager
async def open_crew(context: Context, kind: str, node_ids: Sequence[int], terms: Terms) -> AsyncIterator[Crew]:
    """Claim the nodes for the block's duration, to record steps of this kind.

    A node that another process works on has the result that says so, and stops no other. Raises ``UnknownNode``.
    """
    async with claiming(context, kind, terms) as claim:
        if terms.is_claiming:
            await claim.take(node_ids, terms)
        else:
            await claim.register()
        nodes = await get_nodes(context.engine, node_ids)
        async with Record(context, kind, claim.hold, nodes=len(nodes)) as record:
            fleet = Fleet(context, record, busy=await claim.busy(nodes))
            yield Crew(nodes, record, fleet, Scripting(context, fleet, record))
