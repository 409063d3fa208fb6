"""What scripts need on a node: their folder, read once a layout; their context and environment; push and run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ogc_async.actions.context import Context
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.db.nodes import find_nodes
from ogc_async.db.results import LastStep
from ogc_async.deploy.ready import lock_probe, pass_gate, wait_for_locks
from ogc_async.deploy.resume import due_steps, with_skipped
from ogc_async.deploy.run import Limits, run_steps
from ogc_async.deploy.scripts import ScriptFolder, read_scripts
from ogc_async.deploy.steps import NodePlan, Step, node_environment, plan_node
from ogc_async.deploy.template import Templates
from ogc_async.errors import ScriptsError
from ogc_async.events import FilesPushed
from ogc_async.settings import shared_environment
from ogc_async.ssh.archive import Packer, PushFile
from ogc_async.ssh.connection import Session
from ogc_async.ssh.shell import POSIX, POWERSHELL
from ogc_async.ssh.transfer import Pushed, pull, push_changed
from ogc_async.types import NodeSnapshot, NodeState, StepResult


class Scripting:
    """One verb's scripts."""

    def __init__(self, context: Context, fleet: Fleet, record: Record) -> None:
        self._context = context
        self._fleet = fleet
        self._record = record
        self._everyone: tuple[NodeSnapshot, ...] = ()
        self._folders: dict[tuple[Any, ...], ScriptFolder] = {}
        self._templates: dict[Path, Templates] = {}
        self._plans: dict[tuple[int, str, str], NodePlan] = {}
        self._shared: dict[tuple[str, ...], dict[str, str]] = {}
        self._packer = Packer()

    def folder_of(self, node: NodeSnapshot) -> ScriptFolder | None:
        """The node's script folder, read once for all nodes of a layout. Raises ``ScriptsError``."""
        layout = self._fleet.layout_of(node)
        if layout.scripts is None:
            return None
        key = (layout.scripts, layout.folder, layout.include, layout.exclude)
        if key not in self._folders:
            self._folders[key] = read_scripts(
                layout.scripts, base=layout.folder, include=layout.include, exclude=layout.exclude
            )
        return self._folders[key]

    def folders_of(self, nodes: Iterable[NodeSnapshot]) -> Iterator[ScriptFolder]:
        """The nodes' script folders. One that can not be read is told at its nodes' turn."""
        for node in nodes:
            with suppress(ScriptsError):
                folder = self.folder_of(node)
                if folder is not None:
                    yield folder

    async def see_everyone(self, folders: Iterable[ScriptFolder]) -> None:
        """Learn which nodes run, which templates see as ``nodes``, where one of the folders has templates."""
        if any(folder.has_templates for folder in folders):
            self._everyone = tuple(await find_nodes(self._context.engine, states={NodeState.RUNNING}))

    def environment(self, node: NodeSnapshot) -> dict[str, str]:
        """What a script sees: the node's facts, and what the layout shares of this process's environment."""
        names = self._fleet.layout_of(node).env
        if names not in self._shared:
            self._shared[names] = shared_environment(names)
        return self._shared[names] | node_environment(node, self._context.user)

    def limits(self, node: NodeSnapshot, timeout_s: float | None = None) -> Limits:
        """What bounds a step on this node."""
        settings = self._context.settings
        layout_s = self._fleet.layout_of(node).timeouts.step
        return Limits(
            timeout_s=timeout_s or layout_s or settings.ogc_step_timeout_s, output_limit=settings.ogc_output_limit
        )

    async def deploy(self, node: NodeSnapshot, last: Mapping[str, LastStep], *, rerun: bool) -> tuple[StepResult, ...]:
        """Go on with the node's scripts where ``last`` left off: all steps' results, also of those skipped."""
        scripts = self.folder_of(node)
        if scripts is None:
            return ()
        plan = self._plan(node, scripts)
        due = plan.steps if rerun else due_steps(plan.steps, last)
        if not due:
            return with_skipped(plan.steps, due, ())
        async with self._fleet.session(node) as session:
            ran = await self._push_and_run(node, session, plan, due, is_first=not last)
        return with_skipped(plan.steps, due, ran)

    async def push_and_run(self, node: NodeSnapshot, session: Session, scripts: ScriptFolder) -> tuple[StepResult, ...]:
        """Push a folder to the node and run its steps, in order."""
        plan = self._plan(node, scripts)
        return await self._push_and_run(node, session, plan, plan.steps)

    async def push(
        self,
        node: NodeSnapshot,
        session: Session,
        files: Sequence[PushFile],
        *,
        is_first: bool,
        then: str = "",
        ahead: str = "",
    ) -> Pushed:
        """Bring the node's files up to date, below its layout's folder."""
        pushed = await push_changed(
            session,
            files,
            self._fleet.layout_of(node).remote_path,
            timeout_s=self.transfer_timeout_s(node),
            packer=self._packer,
            is_first=is_first,
            then=then,
            ahead=ahead,
        )
        self._context.events.publish(
            FilesPushed(node.id, node.name, node.layout, len(pushed.files), pushed.files.size_bytes)
        )
        return pushed

    def transfer_timeout_s(self, node: NodeSnapshot) -> float:
        """What bounds one transfer to or from the node."""
        return self._fleet.layout_of(node).timeouts.transfer or self._context.settings.ogc_transfer_timeout_s

    def has_goodbye(self, node: NodeSnapshot) -> bool:
        """The node has artifacts to fetch or a teardown script to run."""
        layout = self._fleet.layout_of(node)
        scripts = self.folder_of(node)
        return bool(layout.artifacts) or (scripts is not None and scripts.teardown is not None)

    async def say_goodbye(self, node: NodeSnapshot, session: Session, artifacts: Path) -> tuple[StepResult, ...]:
        """Fetch the artifacts into a folder, then run the teardown script."""
        layout = self._fleet.layout_of(node)
        scripts = self.folder_of(node)
        await self._record.check_held(node)
        if layout.artifacts:
            await pull(session, layout.artifacts, artifacts, timeout_s=self.transfer_timeout_s(node))
        if scripts is None or scripts.teardown is None:
            return ()
        plan = self._plan(node, scripts)
        assert plan.teardown is not None  # noqa: S101  # the folder has one
        # A node that was never deployed to does not hold the script yet.
        await self.push(node, session, plan.files, is_first=False)
        return await run_steps(
            session,
            [plan.teardown],
            env=self.environment(node),
            limits=self.limits(node),
            recorder=self._record.of(node),
        )

    async def _push_and_run(
        self, node: NodeSnapshot, session: Session, plan: NodePlan, due: Sequence[Step], *, is_first: bool = False
    ) -> tuple[StepResult, ...]:
        layout = self._fleet.layout_of(node)
        timeout_s = layout.timeouts.ready or self._context.settings.ogc_ready_timeout_s
        # The way here may have been long: nothing is sent to a node that somebody else holds by now.
        await self._record.check_held(node)
        await pass_gate(session, layout.ready, timeout_s=timeout_s)
        # All down one channel: nearly always the answer is that no lock is held, and the first step can go at once.
        ahead = due[0].command if due else ""
        pushed = await self.push(node, session, plan.files, is_first=is_first, then=lock_probe(), ahead=ahead)
        waiting = pushed.waiting
        if pushed.said.strip():
            if waiting is not None:
                # A server may let a session have one channel only.
                await waiting.dismiss()
                waiting = None
            await wait_for_locks(session, timeout_s=timeout_s)
        return await run_steps(
            session,
            due,
            env=self.environment(node),
            limits=self.limits(node),
            recorder=self._record.of(node),
            is_stopping=layout.on_failure == "stop",
            reopen=partial(self._session_again, node),
            waiting=waiting,
        )

    @asynccontextmanager
    async def _session_again(self, node: NodeSnapshot) -> AsyncIterator[Session]:
        """Another session, to a machine that was lost: who ended it may well be whoever holds the node by now."""
        await self._record.check_held(node)
        async with self._fleet.session(node) as session:
            yield session

    def _plan(self, node: NodeSnapshot, scripts: ScriptFolder) -> NodePlan:
        """The node's own, or the one of all nodes where nothing is rendered."""
        layout = self._fleet.layout_of(node)
        if scripts.has_templates:
            return self._render(node, scripts)
        key = (id(scripts), layout.remote_path, layout.platform)
        if key not in self._plans:
            self._plans[key] = self._render(node, scripts)
        return self._plans[key]

    def _render(self, node: NodeSnapshot, scripts: ScriptFolder) -> NodePlan:
        layout = self._fleet.layout_of(node)
        context = {
            "node": node,
            "nodes": self._everyone,
            "user": self._context.user,
            "env": self.environment(node),
            "layout": layout,
        }
        if scripts.folder not in self._templates:
            self._templates[scripts.folder] = Templates(scripts.folder)
        shell = POWERSHELL if layout.platform == "windows" else POSIX
        return plan_node(scripts, self._templates[scripts.folder], layout.remote_path, context, shell)
