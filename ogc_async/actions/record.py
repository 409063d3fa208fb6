"""The one writer of steps: what a fleet reports goes to the database in groups, as it happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from ogc_async.actions.claims import uptime_s
from ogc_async.actions.context import Context
from ogc_async.aio.batcher import Batcher
from ogc_async.aio.finish import outlast
from ogc_async.db.holds import Hold
from ogc_async.db.results import Notes, StepEnd, StepGrowth, StepStart, Written, write_notes
from ogc_async.deploy.run import RECORD_TIMEOUT_S
from ogc_async.errors import ClaimLost
from ogc_async.events import OutputArrived, StepFinished, StepStarted
from ogc_async.types import NodeSnapshot, StepResult, StepState

log = logging.getLogger(__name__)

LOST = 0
"""What is answered for a step of a node that another process holds by now; actions count from 1."""
WRITTEN = 1
INTERVAL_S = 0.001
LONGEST_INTERVAL_S = 0.1
"""For each node at work, between two transactions: one node's steps are not held up, and 100 nodes' go together."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A step's end."""

    action_id: int
    end: StepEnd


@dataclass(frozen=True, slots=True)
class Grown:
    """A step's output so far."""

    action_id: int
    growth: StepGrowth


@dataclass(frozen=True, slots=True)
class Pinned:
    """A node's host key."""

    node_id: int
    host_key: str


@dataclass(frozen=True, slots=True)
class AskedAfter:
    """A node that may be held no more."""

    node_id: int


Note = StepStart | Ended | Grown | Pinned | AskedAfter


class Record:
    """Open for one verb's duration; leaving it waits, within bounds, until everything is written.

    ``nodes`` is how many of them will report. Steps begin and end on record only while ``hold`` holds their node: once
    another process has claimed it, no step begins there, and an end that comes late goes to the log.
    """

    def __init__(self, context: Context, kind: str, hold: Hold, *, nodes: int = 1) -> None:
        self._engine = context.engine
        self._events = context.events
        self._lease_s = context.settings.ogc_lease_s
        self._kind = kind
        self._hold = hold
        interval_s = min(INTERVAL_S * nodes, LONGEST_INTERVAL_S)
        self._notes: Batcher[Note, int] = Batcher(self._write, interval_s=interval_s)

    async def __aenter__(self) -> Self:
        await self._notes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._notes.__aexit__(kind, error, trace)

    async def pin_host_key(self, node: NodeSnapshot, host_key: str) -> None:
        """Keep the host key that the node showed at first contact."""
        await self._notes.submit(Pinned(node.id, host_key))

    def of(self, node: NodeSnapshot) -> NodeRecord:
        """The part that records one node's steps."""
        return NodeRecord(self, node)

    async def started(self, node: NodeSnapshot, script: str, sha256: str) -> int:
        """Write that a step begins; returns the action's id. A caller that is cancelled leaves it as interrupted.

        Raises :class:`~ogc_async.errors.ClaimLost` where another process holds the node by now: nothing is to be sent.
        """
        asked_at = uptime_s()
        writing = self._notes.put(StepStart(node.id, self._kind, script, sha256))
        try:
            action_id = await outlast(writing)
            if action_id == LOST or not await self._is_held_by_now(node, asked_at):
                raise ClaimLost(node.name)
        except asyncio.CancelledError:
            if writing.done() and not writing.cancelled() and writing.exception() is None:
                await self._break_off(node, writing.result(), script, sha256)
            raise
        self._events.publish(StepStarted(node.id, node.name, node.layout, script))
        return action_id

    def heard(self, node: NodeSnapshot, data: bytes) -> None:
        """Pass on what a step wrote; it goes on record when the step ends."""
        self._events.publish(OutputArrived(node.id, node.name, node.layout, data))

    async def grew(self, node: NodeSnapshot, action_id: int, output: bytes, output_bytes: int) -> None:
        """Write the output so far."""
        await self._notes.submit(Grown(action_id, StepGrowth(node.id, output, output_bytes)))

    async def check_held(self, node: NodeSnapshot) -> None:
        """Before anything is sent to a node. Raises ``ClaimLost`` where another process holds it by now."""
        if self._hold.is_exclusive and await self._notes.submit(AskedAfter(node.id)) == LOST:
            raise ClaimLost(node.name)

    async def _is_held_by_now(self, node: NodeSnapshot, asked_at: float) -> bool:
        """An answer holds for as long as the sign of life before it: a process that stood still since asks again."""
        while uptime_s() - asked_at > self._lease_s / 2:
            asked_at = uptime_s()
            if await self._notes.submit(AskedAfter(node.id)) == LOST:
                return False
        return True

    async def _break_off(self, node: NodeSnapshot, action_id: int, script: str, sha256: str) -> None:
        """The step is on record, and will never run."""
        result = StepResult(script=script, state=StepState.INTERRUPTED, exit_code=None, seconds=0.0, sha256=sha256)
        with anyio.move_on_after(RECORD_TIMEOUT_S, shield=True):
            await self._notes.submit(Ended(action_id, StepEnd(node.id, result)))

    def finished(self, node: NodeSnapshot, action_id: int, result: StepResult) -> asyncio.Future[int]:
        """Write how a step ended; who has to know that it is written awaits it.

        It answers :data:`LOST` where another process holds the node by now, and that one's word counts.
        """
        writing = self._notes.put(Ended(action_id, StepEnd(node.id, result)))
        writing.add_done_callback(partial(self._tell_finished, node, result))
        return writing

    def _tell_finished(self, node: NodeSnapshot, result: StepResult, writing: asyncio.Future[int]) -> None:
        if writing.cancelled() or writing.exception() is not None:
            return
        if writing.result() == LOST:
            log.warning(
                "%s: %s ended as %s after another process took the node", node.name, result.script, result.state
            )
            return
        self._events.publish(StepFinished(node.id, node.name, node.layout, result))

    async def _write(self, items: list[Note]) -> Sequence[int]:
        """The ids of the actions that began; for anything else whether its node is held, or :data:`LOST`."""
        written = await write_notes(self._engine, sort_notes(items), self._hold)
        started = iter(written.started)
        return [next(started) if isinstance(item, StepStart) else _fate(item, written) for item in items]


def sort_notes(items: Sequence[Note]) -> Notes:
    """What came together, by kind."""
    notes = Notes()
    for item in items:
        match item:
            case StepStart():
                notes.starts.append(item)
            case Ended(action_id, end):
                notes.ends[action_id] = end
            case Grown(action_id, growth):
                notes.growth[action_id] = growth
            case Pinned(node_id, host_key):
                notes.host_keys[node_id] = host_key
            case AskedAfter(node_id):
                notes.asked_after.add(node_id)
    return notes


def _fate(item: Note, written: Written) -> int:
    match item:
        case Ended(_, StepEnd(node_id)) | AskedAfter(node_id):
            return LOST if node_id in written.lost else WRITTEN
        case _:
            return WRITTEN


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
        await self._record.grew(self._node, action_id, output, output_bytes)

    def heard(self, data: bytes) -> None:
        """A step wrote something."""
        self._record.heard(self._node, data)

    def finished(self, action_id: int, result: StepResult) -> None:
        """A step ended."""
        self._ends.append(self._record.finished(self._node, action_id, result))

    async def written(self) -> None:
        """All ends are written. Raises what one of them was not written for: ``ClaimLost`` among others."""
        ends, self._ends = self._ends, []
        if LOST in await asyncio.gather(*ends):
            raise ClaimLost(self._node.name)
