"""Nodes over SSH: one session each, opened under the fleet's bounds, its host key verified and kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ogc_async.actions.context import Context, not_running
from ogc_async.actions.record import Record
from ogc_async.actions.trust import check_published
from ogc_async.aio.gather import gather_all
from ogc_async.errors import OgcError, SettingsError, Unreachable
from ogc_async.events import NodeConnected, NodeFinished
from ogc_async.settings import known_secrets
from ogc_async.spec import Layout
from ogc_async.ssh.connection import Connector, Session, Target
from ogc_async.ssh.jump import Jump, JumpHost
from ogc_async.ssh.keys import load_private_key
from ogc_async.ssh.redaction import Redaction
from ogc_async.types import DeployResult, NodeSnapshot, NodeState, StepResult

Steps = tuple[StepResult, ...]
Work = Callable[[NodeSnapshot, Session], Awaitable[Steps]]
Check = Callable[[NodeSnapshot], object]


class Fleet:
    """Runs one piece of work on each of many nodes; a node that fails never stops another.

    ``busy`` are nodes that are left to whoever holds them, by id: why.
    """

    def __init__(self, context: Context, record: Record, *, busy: Mapping[int, OgcError] | None = None) -> None:
        self._context = context
        self._record = record
        self._busy = busy or {}
        self._layouts: dict[str, Layout] = {}
        self._connectors: dict[tuple[Path, str | None], Connector] = {}
        self._redaction = Redaction(known_secrets(context.settings))

    def layout_of(self, node: NodeSnapshot) -> Layout:
        """The node's layout as it was at its launch, parsed once for nodes of one batch."""
        if node.token not in self._layouts:
            self._layouts[node.token] = Layout.from_record(node.spec)
        return self._layouts[node.token]

    async def run(self, nodes: Sequence[NodeSnapshot], work: Work, *, check: Check | None = None) -> list[DeployResult]:
        """``work`` on every node, over a session to it: a result a node, in order.

        Errors of single nodes are in their results. ``check`` is called with a node before its session is opened; what
        it raises is that node's error.
        """

        async def connect_and_work(node: NodeSnapshot) -> Steps:
            if check is not None:
                check(node)
            async with self.session(node) as session:
                return await work(node, session)

        return await self.each(nodes, connect_and_work)

    async def each(
        self, nodes: Sequence[NodeSnapshot], work: Callable[[NodeSnapshot], Awaitable[Steps]]
    ) -> list[DeployResult]:
        """``work`` on every node, which opens a session where it needs one; otherwise as :meth:`run`."""

        async def run_one(node: NodeSnapshot) -> DeployResult:
            return await self.one(node, work)

        try:
            return await gather_all(run_one, nodes, limit=self._context.settings.ogc_max_nodes)
        finally:
            await self.aclose()

    async def one(self, node: NodeSnapshot, work: Callable[[NodeSnapshot], Awaitable[Steps]]) -> DeployResult:
        """``work`` on one node, and the event of its end."""
        result = await self._answer(node, work)
        error = str(result.error) if result.error else None
        self._context.events.publish(NodeFinished(node.id, node.name, node.layout, result.ok, error))
        return result

    async def aclose(self) -> None:
        """Close what the nodes' sessions shared."""
        for connector in self._connectors.values():
            await connector.aclose()

    @asynccontextmanager
    async def session(self, node: NodeSnapshot) -> AsyncIterator[Session]:
        """An SSH session to the node, by the host key on record; where there is none, the one shown goes there.

        Before that, the cloud is asked for its word on it, if it has one.
        """
        layout = self.layout_of(node)
        limit = layout.timeouts.ssh or self._context.settings.ogc_ssh_timeout_s
        session = await self._connector(layout).connect(_target(node, layout), timeout_s=limit)
        async with session:
            if node.host_key is None:
                await check_published(node, session, self._context)
                await self._record.pin_host_key(node, session.host_key)
            self._context.events.publish(NodeConnected(node.id, node.name, node.layout))
            yield session

    async def _answer(self, node: NodeSnapshot, work: Callable[[NodeSnapshot], Awaitable[Steps]]) -> DeployResult:
        if node.id in self._busy:
            return DeployResult(node.id, node.name, error=self._busy[node.id])
        if node.state is not NodeState.RUNNING:
            return DeployResult(node.id, node.name, error=not_running(node))
        try:
            return DeployResult(node.id, node.name, await work(node))
        except OgcError as error:
            return DeployResult(node.id, node.name, getattr(error, "steps", ()), error)

    def _connector(self, layout: Layout) -> Connector:
        """One for all nodes that the same key opens and the same way leads to: keys are read once, not once a node."""
        way = layout.jump_host or self._context.settings.ogc_jump_host
        place = (layout.ssh_keys.private, way)
        if place not in self._connectors:
            client_key = load_private_key(layout.ssh_keys.private)
            self._connectors[place] = Connector(
                client_key,
                max_handshakes=self._context.settings.ogc_max_handshakes,
                jump=Jump(self._jump_host(way), client_key) if way else None,
                redaction=self._redaction,
            )
        return self._connectors[place]

    def _jump_host(self, way: str) -> JumpHost:
        try:
            return JumpHost.parse(way, self._context.settings.ogc_known_hosts)
        except ValueError as error:
            raise SettingsError(f"OGC_JUMP_HOST: {error}") from None


def _target(node: NodeSnapshot, layout: Layout) -> Target:
    address = node.private_ip if layout.address == "private" else node.public_ip or node.private_ip
    if address is None:
        kind = "private address" if layout.address == "private" else "address"
        raise Unreachable(node.name, f"has no {kind} on record; `ogc ls` shows its state")
    return Target(
        node=node.name,
        address=address,
        port=node.ssh_port,
        username=node.username,
        host_key=node.host_key,
        is_windows=layout.platform == "windows",
    )
