"""Nodes over SSH: one session each, opened under the fleet's bounds, its host key verified and kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ogc_async.actions.context import Context
from ogc_async.actions.record import Record
from ogc_async.aio.gather import gather_all
from ogc_async.errors import NotRunning, OgcError, Unreachable
from ogc_async.events import NodeConnected, NodeFinished
from ogc_async.spec import Layout
from ogc_async.ssh.connection import Connector, Session, Target
from ogc_async.ssh.keys import load_private_key
from ogc_async.types import DeployResult, NodeSnapshot, NodeState, StepResult

Work = Callable[[NodeSnapshot, Session], Awaitable[tuple[StepResult, ...]]]


class Fleet:
    """Runs one piece of work on each of many nodes; a node that fails never stops another."""

    def __init__(self, context: Context, record: Record) -> None:
        self._context = context
        self._record = record
        self._layouts: dict[str, Layout] = {}
        self._connectors: dict[Path, Connector] = {}

    def layout_of(self, node: NodeSnapshot) -> Layout:
        """The node's layout as it was at its launch, parsed once for nodes of one batch."""
        if node.token not in self._layouts:
            self._layouts[node.token] = Layout.from_dict(node.spec)
        return self._layouts[node.token]

    async def run(
        self, nodes: Sequence[NodeSnapshot], work: Work, *, check: Callable[[NodeSnapshot], object] | None = None
    ) -> list[DeployResult]:
        """``work`` on every node: a result a node, in order. Errors of single nodes are in their results.

        ``check`` is called with a node before its session is opened; what it raises is that node's error.
        """

        async def run_one(node: NodeSnapshot) -> DeployResult:
            result = await self._run_one(node, work, check)
            error = str(result.error) if result.error else None
            self._context.events.publish(NodeFinished(node.id, node.name, node.layout, result.ok, error))
            return result

        limit = self._context.settings.ogc_max_nodes
        return await gather_all(run_one, nodes, limit=limit)

    @asynccontextmanager
    async def session(self, node: NodeSnapshot) -> AsyncIterator[Session]:
        """An SSH session to the node; at first contact its host key goes on record."""
        layout = self.layout_of(node)
        limit = layout.timeouts.ssh or self._context.settings.ogc_ssh_timeout_s
        session = await self._connector(layout.ssh_keys.private).connect(_target(node), timeout_s=limit)
        async with session:
            if node.host_key is None:
                await self._record.pin_host_key(node, session.host_key)
            self._context.events.publish(NodeConnected(node.id, node.name, node.layout))
            yield session

    async def _run_one(
        self, node: NodeSnapshot, work: Work, check: Callable[[NodeSnapshot], object] | None
    ) -> DeployResult:
        if node.state is not NodeState.RUNNING:
            return DeployResult(node.id, node.name, error=NotRunning(node.name, node.state))
        try:
            if check is not None:
                check(node)
            async with self.session(node) as session:
                return DeployResult(node.id, node.name, await work(node, session))
        except OgcError as error:
            return DeployResult(node.id, node.name, getattr(error, "steps", ()), error)

    def _connector(self, private_key: Path) -> Connector:
        if private_key not in self._connectors:
            self._connectors[private_key] = Connector(
                load_private_key(private_key), max_handshakes=self._context.settings.ogc_max_handshakes
            )
        return self._connectors[private_key]


def _target(node: NodeSnapshot) -> Target:
    address = node.public_ip or node.private_ip
    if address is None:
        raise Unreachable(node.name, "has no address on record; `ogc ls` shows its state")
    return Target(node=node.name, address=address, port=node.ssh_port, username=node.username, host_key=node.host_key)
