"""From running machines to deployed nodes: push the layout's scripts, run them in order, record each."""

from __future__ import annotations

from collections.abc import Sequence

from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.db.nodes import find_nodes, get_nodes
from ogc_async.ssh.connection import Session
from ogc_async.types import DeployResult, NodeSnapshot, NodeState, StepResult


async def deploy_to_nodes(node_ids: Sequence[int], context: Context) -> list[DeployResult]:
    """Push and run each node's scripts: a result a node, in the order asked. A layout without scripts has no steps."""
    nodes = await get_nodes(context.engine, node_ids)
    everyone = await find_nodes(context.engine, states={NodeState.RUNNING})
    async with Record(context.engine, context.events, "deploy") as record:
        fleet = Fleet(context, record)
        scripting = Scripting(context, fleet, record, tuple(everyone))

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            scripts = scripting.folder_of(node)
            return await scripting.push_and_run(node, session, scripts) if scripts is not None else ()

        return await fleet.run(nodes, work, check=scripting.folder_of)
