"""The one writer of steps: what a fleet reports goes to the database in groups, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from ogc_async.actions.context import Context
from ogc_async.actions.lease import keep_renewing
from ogc_async.aio.batcher import Batcher
from ogc_async.aio.finish import outlast
from ogc_async.db.results import Notes, StepStart, write_notes
from ogc_async.deploy.run import RECORD_TIMEOUT_S
from ogc_async.events import OutputArrived, StepFinished, StepStarted
from ogc_async.types import NodeSnapshot, StepResult, StepState

INTERVAL_S = 0.001
LONGEST_INTERVAL_S = 0.1
"""For each node at work, between two transactions: one node's steps are not held up, and 100 nodes' go together."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A step's end."""

    action_id: int
    result: StepResult


@dataclass(frozen=True, slots=True)
class Grown:
    """A step's output so far."""

    action_id: int
    output: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Pinned:
    """A node's host key."""

    node_id: int
    host_key: str


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Steps that still run."""

    action_ids: frozenset[int]


Note = StepStart | Ended | Grown | Pinned | GoingOn


class Record:
    """Open for one verb's duration; leaving it waits, within bounds, until everything is written.

    ``nodes`` is how many of them will report. Meanwhile it says again and again which steps still run: what is silent
    for longer than a lease was left by a process that is no more.
    """

    def __init__(self, context: Context, kind: str, *, nodes: int = 1) -> None:
        self._engine = context.engine
        self._events = context.events
        self._lease_s = context.settings.ogc_lease_s
        self._kind = kind
        self._running: set[int] = set()
        self._heart: asyncio.Task[None] | None = None
        interval_s = min(INTERVAL_S * nodes, LONGEST_INTERVAL_S)
        self._notes: Batcher[Note, int] = Batcher(self._write, interval_s=interval_s)

    async def __aenter__(self) -> Self:
        await self._notes.__aenter__()
        self._heart = asyncio.create_task(keep_renewing(self._lease_s, self._go_on, "leases of steps"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._heart is not None:
            self._heart.cancel()
        await self._notes.__aexit__(kind, error, trace)

    async def pin_host_key(self, node: NodeSnapshot, host_key: str) -> None:
        """Keep the host key that the node showed at first contact."""
        await self._notes.submit(Pinned(node.id, host_key))

    def of(self, node: NodeSnapshot) -> NodeRecord:
        """The part that records one node's steps."""
        return NodeRecord(self, node)

    async def started(self, node: NodeSnapshot, script: str, sha256: str) -> int:
        """Write that a step began; returns the action's id. Whoever is cancelled here finds the step as interrupted."""
        writing = self._notes.put(StepStart(node.id, self._kind, script, sha256))
        try:
            action_id = await outlast(writing)
        except asyncio.CancelledError:
            if writing.done() and not writing.cancelled() and writing.exception() is None:
                await self._break_off(writing.result(), script, sha256)
            raise
        self._events.publish(StepStarted(node.id, node.name, node.layout, script))
        return action_id

    def heard(self, node: NodeSnapshot, data: bytes) -> None:
        """Pass on what a step wrote; it goes on record when the step ends."""
        self._events.publish(OutputArrived(node.id, node.name, node.layout, data))

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """Write the output so far."""
        await self._notes.submit(Grown(action_id, output, output_bytes))

    async def _break_off(self, action_id: int, script: str, sha256: str) -> None:
        """The step is on record, and will never run."""
        result = StepResult(script=script, state=StepState.INTERRUPTED, exit_code=None, seconds=0.0, sha256=sha256)
        with anyio.move_on_after(RECORD_TIMEOUT_S, shield=True):
            await self._notes.submit(Ended(action_id, result))

    def finished(self, node: NodeSnapshot, action_id: int, result: StepResult) -> asyncio.Future[int]:
        """Write how a step ended; who has to know that it is written awaits it."""
        writing = self._notes.put(Ended(action_id, result))
        writing.add_done_callback(partial(self._tell_finished, node, result))
        return writing

    def _tell_finished(self, node: NodeSnapshot, result: StepResult, writing: asyncio.Future[int]) -> None:
        if not writing.cancelled() and writing.exception() is None:
            self._events.publish(StepFinished(node.id, node.name, node.layout, result))

    async def _write(self, items: list[Note]) -> Sequence[int]:
        """The ids of the actions that began; for anything else, nothing of a meaning."""
        notes = sort_notes(items, self._lease_s)
        begun = await write_notes(self._engine, notes)
        self._running = (self._running | set(begun)) - notes.ends.keys()
        ids = iter(begun)
        return [next(ids) if isinstance(item, StepStart) else 0 for item in items]

    async def _go_on(self) -> None:
        if self._running:
            await self._notes.submit(GoingOn(frozenset(self._running)))


def sort_notes(items: Sequence[Note], lease_s: float) -> Notes:
    """What came together, by kind."""
    notes = Notes(lease_s=lease_s)
    for item in items:
        match item:
            case StepStart():
                notes.starts.append(item)
            case Ended(action_id, result):
                notes.ends[action_id] = result
            case Grown(action_id, output, size):
                notes.growth[action_id] = (output, size)
            case Pinned(node_id, host_key):
                notes.host_keys[node_id] = host_key
            case GoingOn(action_ids):
                notes.going_on |= action_ids
    return notes


class NodeRecord:
    """Records the steps of one node."""

    def __init__(self, record: Record, node: NodeSnapshot) -> None:
        self._record = record
        self._node = node
        self._ends: list[asyncio.Future[int]] = []

    async def started(self, script: str, sha256: str) -> int:
        """A step began."""
        return await self._record.started(self._node, script, sha256)

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """A step that runs has printed more."""
        await self._record.grew(action_id, output, output_bytes)

    def heard(self, data: bytes) -> None:
        """A step wrote something."""
        self._record.heard(self._node, data)

    def finished(self, action_id: int, result: StepResult) -> None:
        """A step ended."""
        self._ends.append(self._record.finished(self._node, action_id, result))

    async def written(self) -> None:
        """All ends are written. Raises what one of them was not written for."""
        ends, self._ends = self._ends, []
        await asyncio.gather(*ends)
