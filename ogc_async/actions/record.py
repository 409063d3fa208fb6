"""The one writer of steps: what a fleet reports goes to the database in groups, as it happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ogc_async.aio.batcher import Batcher
from ogc_async.db import Engine
from ogc_async.db.results import Notes, StepStart, write_notes
from ogc_async.events import Events, OutputArrived, StepFinished, StepStarted
from ogc_async.types import NodeSnapshot, StepResult

INTERVAL_S = 0.0005
LONGEST_INTERVAL_S = 0.1
"""For each node at work, between two transactions: one node's steps are not held up, and 200 nodes' go together."""


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


Note = StepStart | Ended | Grown | Pinned


class Record:
    """Open for one verb's duration; leaving it waits, within bounds, until everything is written.

    ``nodes`` is how many of them will report.
    """

    def __init__(self, engine: Engine, events: Events, kind: str, *, nodes: int = 1) -> None:
        self._engine = engine
        self._events = events
        self._kind = kind
        interval_s = min(INTERVAL_S * nodes, LONGEST_INTERVAL_S)
        self._notes: Batcher[StepStart | Ended | Grown | Pinned, int] = Batcher(self._write, interval_s=interval_s)

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
        """Write that a step began; returns the action's id."""
        action_id = await self._notes.submit(StepStart(node.id, self._kind, script, sha256))
        self._events.publish(StepStarted(node.id, node.name, node.layout, script))
        return action_id

    def heard(self, node: NodeSnapshot, data: bytes) -> None:
        """Pass on what a step wrote; it goes on record when the step ends."""
        self._events.publish(OutputArrived(node.id, node.name, node.layout, data))

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """Write the output so far."""
        await self._notes.submit(Grown(action_id, output, output_bytes))

    async def finished(self, node: NodeSnapshot, action_id: int, result: StepResult) -> None:
        """Write how a step ended."""
        await self._notes.submit(Ended(action_id, result))
        self._events.publish(StepFinished(node.id, node.name, node.layout, result))

    async def _write(self, items: list[Note]) -> Sequence[int]:
        """The ids of the actions that began; for anything else, nothing of a meaning."""
        notes = sort_notes(items)
        begun = iter(await write_notes(self._engine, notes))
        return [next(begun) if isinstance(item, StepStart) else 0 for item in items]


def sort_notes(items: Sequence[Note]) -> Notes:
    """What came together, by kind."""
    notes = Notes()
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
    return notes


class NodeRecord:
    """Records the steps of one node."""

    def __init__(self, record: Record, node: NodeSnapshot) -> None:
        self._record = record
        self._node = node

    async def started(self, script: str, sha256: str) -> int:
        """A step began."""
        return await self._record.started(self._node, script, sha256)

    def heard(self, data: bytes) -> None:
        """A step wrote something."""
        self._record.heard(self._node, data)

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """A step that runs has printed more."""
        await self._record.grew(action_id, output, output_bytes)

    async def finished(self, action_id: int, result: StepResult) -> None:
        """A step ended."""
        await self._record.finished(self._node, action_id, result)
