"""A verb's claim on the nodes that it works on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

import anyio

from ogc_async.actions.context import AT_ONCE, Context, Terms
from ogc_async.actions.worker import Worker, worker_of
from ogc_async.aio.finish import finish, outlast
from ogc_async.db.claims import Claimed, Holder, find_holders, release_nodes
from ogc_async.db.holds import Hold
from ogc_async.db.nodes import find_named, get_nodes, known_ids
from ogc_async.errors import NodeBusy, StoreError
from ogc_async.types import NodeSnapshot

log = logging.getLogger(__name__)

END_TIMEOUT_S = 10.0
"""For letting go; where the database takes longer, the claims end with this process's sign of life."""
RETRY_S = 0.5
"""Between two looks at whether a node has become free."""


class Claim:
    """The nodes that one call of a verb holds, each behind its fence."""

    def __init__(self, worker: Worker, claimed_for: str, *, is_exclusive: bool = True) -> None:
        self.claimed_for = claimed_for
        self._worker = worker
        self.fences: dict[int, int] = {}
        self.outlived: dict[int, datetime] = {}
        """Until when the holders were believed to live that these nodes were taken from."""
        self._expected: set[str] = set()
        self.hold = Hold(worker.facts.id, self.fences, is_exclusive)

    @property
    def worker(self) -> str:
        """The id of the worker that holds them."""
        return self.hold.worker

    async def take(self, node_ids: Collection[int], terms: Terms = AT_ONCE) -> set[int]:
        """Claim these nodes, as far as they are free, or become so within the terms' wait; the ids held."""
        wanted = set(node_ids)
        deadline = asyncio.get_running_loop().time() + terms.wait_s
        await self._take(wanted - self.fences.keys(), terms)
        # What no node has for its id is no reason to wait.
        known = await known_ids(self._worker.engine, wanted) if terms.wait_s else set()
        while known - self.fences.keys() and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            # Two that wait for each other's nodes hold none of them meanwhile.
            await self._let_go_of(known)
            await anyio.sleep(min(RETRY_S, left_s))
            await self._take(known, terms)
        return wanted & self.fences.keys()

    async def busy(self, nodes: Iterable[NodeSnapshot]) -> dict[int, StoreError]:
        """Why each of these nodes that is not held is not, by its id: who holds it, since when, for what."""
        missing = {node.id: node for node in nodes if node.id not in self.fences} if self.hold.is_exclusive else {}
        if not missing:
            return {}
        holders = await find_holders(self._worker.engine, missing)
        return {node_id: _busy(node, holders.get(node_id)) for node_id, node in missing.items()}

    async def register(self) -> None:
        """Say that this process lives, before rows name it as their holder."""
        await self._worker.register()

    def expect(self, names: Iterable[str]) -> None:
        """Nodes with these names are about to be planned under this claim."""
        self._expected.update(names)

    def note(self, nodes: Iterable[NodeSnapshot]) -> None:
        """These nodes were planned under this claim."""
        for node in nodes:
            self.fences[node.id] = node.fence
            self._expected.discard(node.name)

    async def find(self) -> list[NodeSnapshot]:
        """All nodes of the claim, also those whose planning was broken off before it could be noted."""
        self.note(node for node in await find_named(self._worker.engine, self._expected) if node.worker == self.worker)
        return await get_nodes(self._worker.engine, sorted(self.fences))

    async def let_go(self) -> None:
        """Free the nodes. They are free in any case once this process is silent."""
        if self._expected:
            await self.find()
        await self._worker.release(self)

    async def _take(self, node_ids: Collection[int], terms: Terms) -> None:
        """A caller that is cancelled meanwhile waits for the answer: what was claimed is to be let go of."""
        if not node_ids:
            return
        claiming = self._worker.claim(node_ids, self.claimed_for, terms)
        try:
            await outlast(claiming)
        finally:
            if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
                self._note(claiming.result())
        if isinstance(answer := claiming.result(), Exception):
            raise answer

    def _note(self, answer: Claimed | Exception) -> None:
        if isinstance(answer, Claimed):
            self.fences.update(answer.fences)
            self.outlived.update(answer.outlived)

    async def _let_go_of(self, node_ids: Iterable[int]) -> None:
        fences = {node_id: self.fences[node_id] for node_id in node_ids if node_id in self.fences}
        if fences:
            await release_nodes(self._worker.engine, [Hold(self.worker, fences)])
            for node_id in fences:
                del self.fences[node_id]


@asynccontextmanager
async def claiming(context: Context, claimed_for: str, terms: Terms = AT_ONCE) -> AsyncIterator[Claim]:
    """A claim without any nodes yet; what it has taken by the block's end is let go of, whatever ends it."""
    worker = worker_of(context.engine, context.settings.ogc_lease_s)
    claim = Claim(worker, claimed_for, is_exclusive=terms.is_claiming)
    worker.begin(claim)
    try:
        yield claim
    finally:
        await finish(_end(worker, claim), grace_s=END_TIMEOUT_S)


async def _end(worker: Worker, claim: Claim) -> None:
    try:
        with anyio.fail_after(END_TIMEOUT_S):
            await claim.let_go()
    except Exception as failed:  # noqa: BLE001  # whatever it is: the verb's own result counts
        worker.leave(claim.hold)
        log.warning("%d claimed nodes are let go of later: %r", len(claim.hold.fences), failed)
    finally:
        await worker.end(claim)


def uptime_s() -> float:
    """Seconds on a clock that also counts while this process, or the whole machine, stands still."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _busy(node: NodeSnapshot, holder: Holder | None) -> NodeBusy:
    if holder is None:
        return NodeBusy(node.name, "another process", None, None)
    return NodeBusy(node.name, holder.name, holder.claimed_for, holder.claimed_at)
