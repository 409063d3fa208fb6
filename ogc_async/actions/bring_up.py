"""Launching that flows into deploying: each node is deployed to the moment it runs, whatever the others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from ogc_async.actions.claims import claiming
from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.launch_nodes import launch_layouts
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.aio.gather import unwrapped_group
from ogc_async.db.nodes import get_nodes
from ogc_async.db.results import DEPLOY
from ogc_async.spec import Layout
from ogc_async.types import DeployResult, NodeSnapshot, StepResult, UpResult


async def bring_up_layouts(layouts: Sequence[Layout], context: Context) -> UpResult:
    """Launch every layout at its scale, and deploy to each node as soon as it runs."""
    up, arrivals = anyio.create_memory_object_stream[Sequence[int]](inf)
    scale = sum(layout.scale for layout in layouts)
    async with (
        claiming(context, "up") as claim,
        Record(context, DEPLOY, claim.hold, nodes=scale) as record,
    ):
        fleet = Fleet(context, record)
        flow = _Flow(context, fleet, Scripting(context, fleet, record))
        try:
            with unwrapped_group():
                async with anyio.create_task_group() as group:
                    group.start_soon(flow.run, arrivals)
                    with up:
                        launched = await launch_layouts(layouts, context, claim=claim, arrived=up.send_nowait)
        finally:
            await fleet.aclose()
    deployed = [flow.results[node_id] for node_id in launched]
    return UpResult(launched, launched.failures, deployed, launched.pending, launched.warnings)


@dataclass(slots=True)
class _Flow:
    """Deploys to nodes as they come."""

    context: Context
    fleet: Fleet
    scripting: Scripting
    results: dict[int, DeployResult] = field(default_factory=dict)

    async def run(self, arrivals: MemoryObjectReceiveStream[Sequence[int]]) -> None:
        """Go on until no more will come, and all that came is done."""
        gate = anyio.CapacityLimiter(self.context.settings.ogc_max_nodes)
        async with arrivals, anyio.create_task_group() as group:
            async for node_ids in arrivals:
                nodes = await get_nodes(self.context.engine, node_ids)
                await self.scripting.see_everyone(self.scripting.folders_of(nodes))
                for node in nodes:
                    group.start_soon(self._deploy, node, gate)

    async def _deploy(self, node: NodeSnapshot, gate: anyio.CapacityLimiter) -> None:
        async def work(node: NodeSnapshot) -> tuple[StepResult, ...]:
            return await self.scripting.deploy(node, {}, rerun=False)

        async with gate:
            self.results[node.id] = await self.fleet.one(node, work)
