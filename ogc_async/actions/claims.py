"""A verb's claim on the nodes that it works on; this process's sign of life while it holds any."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4
from weakref import WeakKeyDictionary

import anyio

from ogc_async.actions.context import AT_ONCE, Context, Terms
from ogc_async.aio.batcher import Batcher
from ogc_async.aio.finish import finish, outlast
from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.db import Engine
from ogc_async.db.claims import (
    Claimed,
    Holder,
    WorkerFacts,
    beat,
    claim_nodes,
    find_holders,
    release_nodes,
    release_strays,
)
from ogc_async.db.holds import Hold
from ogc_async.db.nodes import find_named, get_nodes, known_ids
from ogc_async.errors import NodeBusy, StoreError
from ogc_async.settings import login_name
from ogc_async.types import NodeSnapshot

log = logging.getLogger(__name__)

BEATS = 3
"""Signs of life in the time that one lasts: two may fail."""
END_TIMEOUT_S = 10.0
"""For letting go; where the database takes longer, the claims end with this process's sign of life."""
RETRY_S = 0.5
"""Between two looks at whether a node has become free."""


class Claim:
    """The nodes that one call of a verb holds, each behind its fence."""

    def __init__(self, worker: _Worker, claimed_for: str, *, is_exclusive: bool = True) -> None:
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
    worker = _worker_of(context.engine, context.settings.ogc_lease_s)
    claim = Claim(worker, claimed_for, is_exclusive=terms.is_claiming)
    worker.begin(claim)
    try:
        yield claim
    finally:
        await finish(_end(worker, claim), grace_s=END_TIMEOUT_S)


async def _end(worker: _Worker, claim: Claim) -> None:
    try:
        with anyio.fail_after(END_TIMEOUT_S):
            await claim.let_go()
    except Exception as failed:  # noqa: BLE001  # whatever it is: the verb's own result counts
        worker.leave(claim.hold)
        log.warning("%d claimed nodes are let go of later: %r", len(claim.hold.fences), failed)
    finally:
        await worker.end(claim)


@dataclass(frozen=True, slots=True)
class _Wanted:
    node_ids: frozenset[int]
    claimed_for: str
    is_taking_over: bool


class _Worker:
    """This process, as far as it runs in one event loop, towards one database.

    While any verb holds nodes, one row says so every third of ``lease_s`` seconds, however many nodes there are. Claims
    of one moment are one transaction, and so are releases; the sign of life waits for neither.
    """

    def __init__(self, engine: Engine, lease_s: float) -> None:
        self.engine = engine
        self.facts = WorkerFacts(
            id=uuid4().hex,
            login=login_name()[:200],
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            version=_version(),
        )
        self._lease_s = lease_s
        self._at_work: set[Claim] = set()
        self._is_on_record = False
        self._left: list[Hold] = []
        self._astray: set[int] = set()
        self._heart: asyncio.Task[None] | None = None
        self._claims: Batcher[_Wanted, Claimed | Exception] = Batcher(self._claim_all)
        self._releases: Batcher[Claim, None] = Batcher(self._release_all)
        # The last release removes the worker's row; no claim may come in between.
        self._turn = asyncio.Lock()

    def begin(self, claim: Claim) -> None:
        """A verb is at work."""
        self._at_work.add(claim)
        if self._heart is None:
            self._heart = asyncio.create_task(self._keep_beating())

    async def end(self, claim: Claim) -> None:
        """A verb has ended; the heart stops with the last one."""
        self._at_work.discard(claim)
        if not self._at_work and self._heart is not None:
            heart, self._heart = self._heart, None
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def register(self) -> None:
        """Say that this process lives, where it has not yet; from then on the heart says so."""
        async with self._turn:
            if not self._is_on_record:
                await self._beat()

    def claim(self, node_ids: Iterable[int], claimed_for: str, terms: Terms) -> asyncio.Future[Claimed | Exception]:
        """Claim what is free, or all of it where the terms say so; an error of its own for each kind of claim."""
        return self._claims.put(_Wanted(frozenset(node_ids), claimed_for, terms.is_taking_over))

    async def release(self, claim: Claim) -> None:
        """Let go of the claim's nodes, and of the worker's row with the last ones."""
        await self._releases.submit(claim)

    def leave(self, hold: Hold) -> None:
        """These could not be let go of: the next beats try again."""
        self._left.append(hold)

    async def _claim_all(self, wanted: list[_Wanted]) -> list[Claimed | Exception]:
        alike: dict[tuple[str, bool], set[int]] = {}
        for each in wanted:
            alike.setdefault((each.claimed_for, each.is_taking_over), set()).update(each.node_ids)
        async with self._turn:
            answers = {key: await self._claim(node_ids, *key) for key, node_ids in alike.items()}
        # Of two that want the same node at once, the first one has it.
        return [_taken(answers[each.claimed_for, each.is_taking_over], each.node_ids) for each in wanted]

    async def _claim(self, node_ids: set[int], claimed_for: str, is_taking_over: bool) -> Claimed | Exception:
        try:
            await self._tidy()
            if not self._is_on_record:
                await self._beat()
            return await claim_nodes(self.engine, self.facts.id, node_ids, claimed_for, is_taking_over=is_taking_over)
        except Exception as error:  # noqa: BLE001  # it is passed on to those who wanted these
            # It may have been committed all the same.
            self._astray |= node_ids
            return error

    async def _release_all(self, claims: list[Claim]) -> list[None]:
        async with self._turn:
            self._at_work.difference_update(claims)
            await self._tidy()
            is_last = not self._at_work
            self._is_on_record &= not is_last
            await release_nodes(self.engine, [claim.hold for claim in claims], last=self.facts.id if is_last else None)
        return [None] * len(claims)

    async def _keep_beating(self) -> None:
        while True:
            await anyio.sleep(self._lease_s / BEATS)
            try:
                await self._beat(timeout_s=self._lease_s / BEATS)
            except Exception as error:  # noqa: BLE001  # a heart that stops for good would cost all claims
                log.warning("this process's sign of life was not written: %r", error)

    async def _beat(self, timeout_s: float | None = None) -> None:
        await beat(self.engine, self.facts, self._lease_s, timeout_s)
        self._is_on_record = True

    async def _tidy(self) -> None:
        """Let go of what could not be let go of before, and of what was claimed by a call whose answer was lost."""
        if self._left:
            await release_nodes(self.engine, self._left)
            self._left.clear()
        if self._astray:
            known = {node_id for claim in self._at_work for node_id in claim.fences}
            await release_strays(self.engine, self.facts.id, self._astray - known)
            self._astray.clear()


_workers: LoopLocal[WeakKeyDictionary[Engine, _Worker]] = LoopLocal(WeakKeyDictionary)


def _worker_of(engine: Engine, lease_s: float) -> _Worker:
    """The one that all verbs of the running loop on this database share, whatever app they are called in."""
    workers = _workers.get()
    if engine not in workers:
        workers[engine] = _Worker(engine, lease_s)
    return workers[engine]


def worker_ids(engine: Engine) -> frozenset[str]:
    """The id that this loop has in this database, if it has one."""
    worker = _workers.get().get(engine)
    return frozenset() if worker is None else frozenset({worker.facts.id})


def uptime_s() -> float:
    """Seconds on a clock that also counts while this process, or the whole machine, stands still."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _taken(answer: Claimed | Exception, node_ids: Iterable[int]) -> Claimed | Exception:
    if isinstance(answer, Exception):
        return answer
    fences = {node_id: answer.fences.pop(node_id) for node_id in node_ids if node_id in answer.fences}
    return Claimed(fences, {node_id: answer.outlived[node_id] for node_id in fences.keys() & answer.outlived.keys()})


def _busy(node: NodeSnapshot, holder: Holder | None) -> NodeBusy:
    if holder is None:
        return NodeBusy(node.name, "another process", None, None)
    return NodeBusy(node.name, holder.name, holder.claimed_for, holder.claimed_at)


def _version() -> str:
    try:
        return version("ogc-async")
    except PackageNotFoundError:
        return "unknown"
