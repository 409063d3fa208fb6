"""A command, or a folder of scripts, on many nodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ogc_async.actions.context import AT_ONCE, Context, Terms
from ogc_async.actions.crew import open_crew
from ogc_async.deploy.run import run_command
from ogc_async.deploy.scripts import read_scripts
from ogc_async.errors import ScriptsError
from ogc_async.ssh.connection import Session
from ogc_async.types import DeployResult, NodeSnapshot, StepResult

KIND = "exec"


async def run_on_nodes(
    node_ids: Sequence[int], command: str, context: Context, timeout_s: float | None, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    """Run one shell command on every node, in the login folder: a result a node, in the order asked."""
    _check(command)
    async with open_crew(context, KIND, node_ids, terms) as crew:

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            return await run_command(
                session,
                command,
                env=crew.scripting.environment(node),
                limits=crew.scripting.limits(node, timeout_s),
                recorder=crew.record.of(node),
            )

        return await crew.fleet.run(crew.nodes, work)


async def run_scripts_on_nodes(
    node_ids: Sequence[int], folder: Path, context: Context, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    """Push another folder of scripts to every node and run it, as a deploy would."""
    scripts = read_scripts(folder, base=folder)
    async with open_crew(context, KIND, node_ids, terms) as crew:
        await crew.scripting.see_everyone([scripts])

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            return await crew.scripting.push_and_run(node, session, scripts)

        return await crew.fleet.run(crew.nodes, work)


def _check(command: str) -> None:
    """Raise :class:`~ogc_async.errors.ScriptsError` for what no shell takes."""
    try:
        data = command.encode()
    except UnicodeEncodeError:
        raise ScriptsError("the command holds half a character (a lone surrogate); decode it as UTF-8") from None
    if b"\0" in data:
        raise ScriptsError("the command holds a NUL character, at which a shell would end it; push a script instead")
