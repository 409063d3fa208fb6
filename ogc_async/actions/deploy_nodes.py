"""From running machines to deployed nodes: push the layout's scripts, run them in order, record each."""

from __future__ import annotations

from collections.abc import Sequence

from ogc_async.actions.context import AT_ONCE, Context, Terms
from ogc_async.actions.crew import open_crew
from ogc_async.db.results import DEPLOY, last_steps
from ogc_async.types import DeployResult, NodeSnapshot, StepResult


async def deploy_to_nodes(
    node_ids: Sequence[int], context: Context, *, rerun: bool = False, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    """Push and run each node's scripts: a result a node, in the order asked. A layout without scripts has no steps.

    Steps that passed before, unchanged, are skipped unless ``rerun``; a node with none left is not connected to.
    """
    async with open_crew(context, DEPLOY, node_ids, terms) as crew:
        history = await last_steps(context.engine, node_ids)
        await crew.scripting.see_everyone(crew.scripting.folders_of(crew.nodes))

        async def work(node: NodeSnapshot) -> tuple[StepResult, ...]:
            return await crew.scripting.deploy(node, history.get(node.id, {}), rerun=rerun)

        return await crew.fleet.each(crew.nodes, work)
