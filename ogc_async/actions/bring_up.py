"""Launching that flows into deploying: each node is deployed to the moment it runs, whatever the others do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.launch_nodes import launch_layouts
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.aio.gather import unwrapped_group
from ogc_async.db.nodes import get_nodes
from ogc_async.db.results import DEPLOY
from ogc_async.events import Event, Events, NodeMoved
from ogc_async.spec import Layout
from ogc_async.types import DeployResult, NodeSnapshot, NodeState, StepResult, UpResult


async def bring_up_layouts(layouts: Sequence[Layout], context: Context) -> UpResult:
    """Launch every layout at its scale, and deploy to each node as soon as it runs."""
    # As many may wait as there are nodes: whoever tells of one can not be made to wait.
    scale = sum(layout.scale for layout in layouts)
    up, arrivals = anyio.create_memory_object_stream[int](scale)

    def pass_on(event: Event) -> None:
        context.events.publish(event)
        if isinstance(event, NodeMoved) and event.state is NodeState.RUNNING:
            up.send_nowait(event.node_id)

    async with Record(context, DEPLOY, nodes=scale) as record:
        fleet = Fleet(context, record)
        flow = _Flow(context, fleet, Scripting(context, fleet, record))
        own = Events()
        try:
            with own.subscribed(pass_on), unwrapped_group():
                async with anyio.create_task_group() as group:
                    group.start_soon(flow.run, arrivals)
                    # Events of this launch alone: others may be under way in the same app.
                    with up:
                        launched = await launch_layouts(layouts, replace(context, events=own))
        finally:
            await fleet.aclose()
    return UpResult(launched, launched.failures, [flow.results[node_id] for node_id in launched])


@dataclass(slots=True)
class _Flow:
    """Deploys to nodes as they come."""

    context: Context
    fleet: Fleet
    scripting: Scripting
    results: dict[int, DeployResult] = field(default_factory=dict)

    async def run(self, arrivals: MemoryObjectReceiveStream[int]) -> None:
        """Go on until no more will come, and all that came is done."""
        gate = anyio.CapacityLimiter(self.context.settings.ogc_max_nodes)
        async with arrivals, anyio.create_task_group() as group:
            async for first in arrivals:
                # A poll answers for many nodes at once: one question finds them all.
                ids = [first, *(arrivals.receive_nowait() for _ in range(arrivals.statistics().current_buffer_used))]
                nodes = await get_nodes(self.context.engine, ids)
                await self.scripting.see_everyone(self.scripting.folders_of(nodes))
                for node in nodes:
                    group.start_soon(self._deploy, node, gate)

    async def _deploy(self, node: NodeSnapshot, gate: anyio.CapacityLimiter) -> None:
        async def work(node: NodeSnapshot) -> tuple[StepResult, ...]:
            return await self.scripting.deploy(node, {}, rerun=False)

        async with gate:
            self.results[node.id] = await self.fleet.one(node, work)
