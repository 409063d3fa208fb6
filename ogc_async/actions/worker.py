"""This process's sign of life towards one database, and the one line in which it claims and lets go."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol
from uuid import uuid4
from weakref import WeakKeyDictionary

import anyio

from ogc_async.actions.context import Terms
from ogc_async.aio.batcher import Batcher
from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.db import Engine
from ogc_async.db.claims import Claimed, SignOfLife, WorkerFacts, beat, claim_nodes, release_nodes, release_strays
from ogc_async.db.holds import Hold
from ogc_async.settings import login_name

log = logging.getLogger(__name__)

BEATS = 3
"""Signs of life in the time that one lasts: two may fail."""

LEAST_BEAT_S = 1.0
"""What writing a sign of life may take in any case, however short the lease is."""


class Holding(Protocol):
    """A verb's claim, as its worker sees it."""

    @property
    def hold(self) -> Hold:
        """What it holds just now."""
        ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    node_ids: frozenset[int]
    claimed_for: str
    is_taking_over: bool


class Worker:
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
        self._at_work: set[Holding] = set()
        self._is_on_record = False
        self._left: list[Hold] = []
        self._astray: set[int] = set()
        self._heart: asyncio.Task[None] | None = None
        self._claims: Batcher[_Wanted, Claimed | Exception] = Batcher(self._claim_all)
        self._releases: Batcher[Holding, None] = Batcher(self._release_all)
        # The last release removes the worker's row; no claim may come in between.
        self._turn = asyncio.Lock()

    def begin(self, claim: Holding) -> None:
        """A verb is at work."""
        self._at_work.add(claim)
        if self._heart is None:
            self._heart = asyncio.create_task(self._keep_beating())

    async def end(self, claim: Holding) -> None:
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

    async def release(self, claim: Holding) -> None:
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
            claimed = await claim_nodes(
                self.engine,
                self.facts.id,
                node_ids,
                claimed_for,
                is_taking_over=is_taking_over,
                introduced=None if self._is_on_record else SignOfLife(self.facts, self._lease_s),
            )
            self._is_on_record = True
            return claimed
        except Exception as error:  # noqa: BLE001  # it is passed on to those who wanted these
            # It may have been committed all the same.
            self._astray |= node_ids
            return error

    async def _release_all(self, claims: list[Holding]) -> list[None]:
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
                await self._beat(timeout_s=max(self._lease_s / BEATS, LEAST_BEAT_S))
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
            known = {node_id for claim in self._at_work for node_id in claim.hold.fences}
            await release_strays(self.engine, self.facts.id, self._astray - known)
            self._astray.clear()


_workers: LoopLocal[WeakKeyDictionary[Engine, Worker]] = LoopLocal(WeakKeyDictionary)


def worker_of(engine: Engine, lease_s: float) -> Worker:
    """The one that all verbs of the running loop on this database share, whatever app they are called in."""
    workers = _workers.get()
    if engine not in workers:
        workers[engine] = Worker(engine, lease_s)
    return workers[engine]


def worker_ids(engine: Engine) -> frozenset[str]:
    """The id that this loop has in this database, if it has one."""
    worker = _workers.get().get(engine)
    return frozenset() if worker is None else frozenset({worker.facts.id})


def _taken(answer: Claimed | Exception, node_ids: Iterable[int]) -> Claimed | Exception:
    if isinstance(answer, Exception):
        return answer
    fences = {node_id: answer.fences.pop(node_id) for node_id in node_ids if node_id in answer.fences}
    return Claimed(fences, {node_id: answer.outlived[node_id] for node_id in fences.keys() & answer.outlived.keys()})


def _version() -> str:
    try:
        return version("ogc-async")
    except PackageNotFoundError:
        return "unknown"
