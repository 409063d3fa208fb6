"""From running machines to deployed nodes: push the layout's scripts, run them in order, record each."""

from __future__ import annotations

from collections.abc import Sequence

from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.db.nodes import get_nodes
from ogc_async.db.results import DEPLOY, last_steps
from ogc_async.types import DeployResult, NodeSnapshot, StepResult


async def deploy_to_nodes(node_ids: Sequence[int], context: Context, *, rerun: bool = False) -> list[DeployResult]:
    """Push and run each node's scripts: a result a node, in the order asked. A layout without scripts has no steps.

    Steps that passed before, unchanged, are skipped unless ``rerun``; a node with none left is not connected to.
    """
    nodes = await get_nodes(context.engine, node_ids)
    history = await last_steps(context.engine, node_ids)
    async with Record(context, DEPLOY, nodes=len(node_ids)) as record:
        fleet = Fleet(context, record)
        scripting = Scripting(context, fleet, record)
        await scripting.see_everyone(scripting.folders_of(nodes))

        async def work(node: NodeSnapshot) -> tuple[StepResult, ...]:
            return await scripting.deploy(node, history.get(node.id, {}), rerun=rerun)

        return await fleet.each(nodes, work)
