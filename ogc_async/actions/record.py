"""The one writer of steps: what a fleet reports goes to the database in groups, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import anyio

from ogc_async.aio.batcher import Batcher
from ogc_async.aio.finish import outlast
from ogc_async.db import Engine
from ogc_async.db.nodes import pin_host_keys
from ogc_async.db.results import StepStart, finish_actions, grow_actions, start_actions
from ogc_async.events import Events, OutputArrived, StepFinished, StepStarted
from ogc_async.types import NodeSnapshot, StepResult, StepState

RECORD_TIMEOUT_S = 10.0


class Record:
    """Open for one verb's duration; leaving it waits, within bounds, until everything is written."""

    def __init__(self, engine: Engine, events: Events, kind: str) -> None:
        self._engine = engine
        self._events = events
        self._kind = kind
        self._stack = AsyncExitStack()
        self._starts: Batcher[StepStart, int] = Batcher(self._write_starts)
        self._ends: Batcher[tuple[int, StepResult], None] = Batcher(self._write_ends)
        self._growth: Batcher[tuple[int, bytes, int], None] = Batcher(self._write_growth)
        self._keys: Batcher[tuple[int, str], None] = Batcher(self._write_keys)

    async def __aenter__(self) -> Self:
        for batcher in (self._starts, self._ends, self._growth, self._keys):
            await self._stack.enter_async_context(batcher)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def pin_host_key(self, node: NodeSnapshot, host_key: str) -> None:
        """Keep the host key that the node showed at first contact."""
        await self._keys.submit((node.id, host_key))

    def of(self, node: NodeSnapshot) -> NodeRecord:
        """The part that records one node's steps."""
        return NodeRecord(self, node)

    async def started(self, node: NodeSnapshot, script: str, sha256: str) -> int:
        """Write that a step began; returns the action's id. Whoever is cancelled here finds the step as interrupted."""
        writing = asyncio.ensure_future(self._starts.submit(StepStart(node.id, self._kind, script, sha256)))
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

    async def finished(self, node: NodeSnapshot, action_id: int, result: StepResult) -> None:
        """Write how a step ended."""
        await self._ends.submit((action_id, result))
        self._events.publish(StepFinished(node.id, node.name, node.layout, result))

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """Write the output so far."""
        await self._growth.submit((action_id, output, output_bytes))

    async def _break_off(self, action_id: int, script: str, sha256: str) -> None:
        """The step is on record, and will never run."""
        result = StepResult(script=script, state=StepState.INTERRUPTED, exit_code=None, seconds=0.0, sha256=sha256)
        with anyio.move_on_after(RECORD_TIMEOUT_S, shield=True):
            await self._ends.submit((action_id, result))

    async def _write_starts(self, starts: list[StepStart]) -> Sequence[int]:
        return await start_actions(self._engine, starts)

    async def _write_ends(self, ends: list[tuple[int, StepResult]]) -> Sequence[None]:
        await finish_actions(self._engine, dict(ends))
        return [None] * len(ends)

    async def _write_growth(self, growth: list[tuple[int, bytes, int]]) -> Sequence[None]:
        await grow_actions(self._engine, {action_id: (output, size) for action_id, output, size in growth})
        return [None] * len(growth)

    async def _write_keys(self, keys: list[tuple[int, str]]) -> Sequence[None]:
        await pin_host_keys(self._engine, dict(keys))
        return [None] * len(keys)


class NodeRecord:
    """Records the steps of one node."""

    def __init__(self, record: Record, node: NodeSnapshot) -> None:
        self._record = record
        self._node = node

    async def started(self, script: str, sha256: str) -> int:
        """A step began."""
        return await self._record.started(self._node, script, sha256)

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """A step that runs has printed more."""
        await self._record.grew(action_id, output, output_bytes)

    def heard(self, data: bytes) -> None:
        """A step wrote something."""
        self._record.heard(self._node, data)

    async def finished(self, action_id: int, result: StepResult) -> None:
        """A step ended."""
        await self._record.finished(self._node, action_id, result)
