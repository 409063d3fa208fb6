"""Files to and from many nodes at once, each copy on record like a step."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from ogc_async.actions.context import ARTIFACTS, AT_ONCE, Context, Terms
from ogc_async.actions.crew import open_crew
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.folders import node_folder
from ogc_async.actions.record import LOST, WRITTEN, Record
from ogc_async.deploy.files import read_files
from ogc_async.deploy.run import RECORD_TIMEOUT_S
from ogc_async.errors import ClaimLost, OgcError
from ogc_async.events import FilesPushed
from ogc_async.ssh.archive import Packer
from ogc_async.ssh.connection import Session
from ogc_async.ssh.transfer import pull, push_changed
from ogc_async.types import DeployResult, NodeSnapshot, StepResult, StepState

Copy = Callable[[], Awaitable[Sequence[str | Path]]]


async def push_to_nodes(
    node_ids: Sequence[int],
    patterns: Iterable[str | Path],
    context: Context,
    remote_path: str | None,
    terms: Terms = AT_ONCE,
) -> list[DeployResult]:
    """Put files on every node, below its layout's folder unless another is given; a result a node, in order."""
    given = list(map(str, patterns))
    files = await anyio.to_thread.run_sync(read_files, given)
    packer = Packer()
    async with open_crew(context, "push", node_ids, terms) as crew:

        async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
            layout = crew.fleet.layout_of(node)
            folder = remote_path or layout.remote_path
            timeout_s = layout.timeouts.transfer or context.settings.ogc_transfer_timeout_s

            async def copy() -> Sequence[str]:
                pushed = await push_changed(session, files, folder, timeout_s=timeout_s, packer=packer)
                told = FilesPushed(node.id, node.name, node.layout, len(pushed.files), pushed.files.size_bytes)
                context.events.publish(told)
                return [each.path for each in pushed.files]

            return (await _on_record(crew.record, node, f"push {' '.join(given)} to {folder}", copy),)

        return await crew.fleet.run(crew.nodes, work)


async def pull_from_nodes(
    node_ids: Sequence[int], patterns: Iterable[str], context: Context, folder: Path, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    """Fetch what the patterns match from every node, to ``<folder>/<node>``; the results hold the files."""
    wanted = tuple(patterns)
    return await _pull(node_ids, lambda _fleet, _node: wanted, context, folder, terms)


async def pull_artifacts_of(
    node_ids: Sequence[int], context: Context, folder: Path = ARTIFACTS, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    """The same with each layout's own ``artifacts``; a node whose layout names none has no steps."""
    return await _pull(node_ids, lambda fleet, node: fleet.layout_of(node).artifacts, context, folder, terms)


async def _pull(
    node_ids: Sequence[int],
    wanted: Callable[[Fleet, NodeSnapshot], tuple[str, ...]],
    context: Context,
    folder: Path,
    terms: Terms,
) -> list[DeployResult]:
    fetched: dict[int, tuple[Path, ...]] = {}
    async with open_crew(context, "pull", node_ids, terms) as crew:
        fleet = crew.fleet

        async def work(node: NodeSnapshot) -> tuple[StepResult, ...]:
            patterns = wanted(fleet, node)
            if not patterns:
                return ()
            target = node_folder(folder, node)
            timeout_s = fleet.layout_of(node).timeouts.transfer or context.settings.ogc_transfer_timeout_s
            async with fleet.session(node) as session:

                async def copy() -> Sequence[Path]:
                    files = await pull(session, patterns, target, timeout_s=timeout_s)
                    fetched[node.id] = tuple(files)
                    return files

                return (await _on_record(crew.record, node, f"pull {' '.join(patterns)}", copy),)

        results = await fleet.each(crew.nodes, work)
    return [replace(result, files=fetched.get(result.node_id, ())) for result in results]


async def _on_record(record: Record, node: NodeSnapshot, title: str, copy: Copy) -> StepResult:
    """Copy, as a step whose output is the list of files. What ``copy`` raises is noted, and raised."""
    sha256 = hashlib.sha256(title.encode()).hexdigest()
    began = time.monotonic()
    action_id = await record.started(node, title, sha256)
    result = StepResult(script=title, state=StepState.INTERRUPTED, exit_code=None, seconds=0.0, sha256=sha256)
    try:
        output = "".join(f"{each}\n" for each in await copy()).encode()
        result = replace(result, state=StepState.PASSED, exit_code=0, output=output, output_bytes=len(output))
    except OgcError as error:
        result = replace(result, state=StepState.FAILED, error=str(error))
        raise
    finally:
        result = replace(result, seconds=round(time.monotonic() - began, 3))
        fate = WRITTEN
        with anyio.move_on_after(RECORD_TIMEOUT_S, shield=True):
            fate = await record.finished(node, action_id, result)
    if fate == LOST:
        raise ClaimLost(node.name, (result,))
    return result
