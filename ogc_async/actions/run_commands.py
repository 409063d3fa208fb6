"""A command, or a folder of scripts, on many nodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.db.nodes import get_nodes
from ogc_async.deploy.run import run_command
from ogc_async.deploy.scripts import read_scripts
from ogc_async.errors import ScriptsError
from ogc_async.ssh.connection import Session
from ogc_async.types import DeployResult, NodeSnapshot, StepResult


async def run_on_nodes(
    node_ids: Sequence[int], command: str, context: Context, timeout_s: float | None
) -> list[DeployResult]:
    """Run one shell command on every node, in the login folder: a result a node, in the order asked."""
    _check(command)
    nodes = await get_nodes(context.engine, node_ids)
    async with Record(context, "exec", nodes=len(nodes)) as record:
        fleet = Fleet(context, record)
        scripting = Scripting(context, fleet, record)

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            return await run_command(
                session,
                command,
                env=scripting.environment(node),
                limits=scripting.limits(node, timeout_s),
                recorder=record.of(node),
            )

        return await fleet.run(nodes, work)


async def run_scripts_on_nodes(node_ids: Sequence[int], folder: Path, context: Context) -> list[DeployResult]:
    """Push another folder of scripts to every node and run it, as a deploy would."""
    nodes = await get_nodes(context.engine, node_ids)
    scripts = read_scripts(folder, base=folder)
    async with Record(context, "exec", nodes=len(nodes)) as record:
        fleet = Fleet(context, record)
        scripting = Scripting(context, fleet, record)
        await scripting.see_everyone([scripts])

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            return await scripting.push_and_run(node, session, scripts)

        return await fleet.run(nodes, work)


def _check(command: str) -> None:
    """Raise :class:`~ogc_async.errors.ScriptsError` for what no shell takes."""
    try:
        data = command.encode()
    except UnicodeEncodeError:
        raise ScriptsError("the command holds half a character (a lone surrogate); decode it as UTF-8") from None
    if b"\0" in data:
        raise ScriptsError("the command holds a NUL character, at which a shell would end it; push a script instead")
