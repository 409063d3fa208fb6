"""Keeps when each node reached what: events in, rows out, in groups, beside the work and never in its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import anyio

from ogc_async.actions.context import connected_engine
from ogc_async.db import Engine
from ogc_async.db.milestones import add_milestones
from ogc_async.errors import StoreError
from ogc_async.events import (
    Event,
    FilesPushed,
    NodeConnected,
    NodeFinished,
    NodeMoved,
    StepFinished,
    StepStarted,
)
from ogc_async.state import App
from ogc_async.types import Milestone, MilestoneKind, NodeState

log = logging.getLogger(__name__)

PAUSE_S = 0.5
"""What comes in meanwhile is written together."""
DRAIN_S = 10.0

MOVES = {
    NodeState.PLANNED: MilestoneKind.PLANNED,
    NodeState.LAUNCHING: MilestoneKind.REQUESTED,
    NodeState.RUNNING: MilestoneKind.RUNNING,
    NodeState.FAILED: MilestoneKind.FAILED,
    NodeState.LOST: MilestoneKind.FAILED,
    NodeState.TERMINATING: MilestoneKind.TERMINATING,
    NodeState.TERMINATED: MilestoneKind.TERMINATED,
}

FIRST_SEEN_AT_WORK = (MilestoneKind.CONNECTED, MilestoneKind.FAILED)
"""What is first heard of a node that ran before: work on it began with the verb."""


@asynccontextmanager
async def timeline_kept(app: App, work: str) -> AsyncIterator[None]:
    """Keep the milestones of every node while the block runs; ``work`` says what the block does, in a word.

    A database that fails costs the timeline only: the block's own work never hears of it.
    """
    writer = _Writer(connected_engine(app), work)
    task = asyncio.create_task(writer.run())
    try:
        with app.events.subscribed(writer):
            yield
    finally:
        writer.close()
        with anyio.CancelScope(shield=True):
            _, unfinished = await asyncio.wait({task}, timeout=DRAIN_S)
        if unfinished:
            task.cancel()


class _Writer:
    """Takes events in at once, and writes them a little later."""

    def __init__(self, engine: Engine, work: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._work = work
        self._run = uuid4().hex
        self._now = now
        self._began = now()
        self._met: set[int] = set()
        self._waiting: list[Milestone] = []
        self._arrived = asyncio.Event()
        self._closing = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        found = milestone_of(event)
        if found is not None:
            if event.node_id not in self._met and found[0] in FIRST_SEEN_AT_WORK:
                self._add(event.node_id, MilestoneKind.BEGUN, self._began)
            self._add(event.node_id, found[0], self._now(), found[1])
            self._arrived.set()

    def _add(self, node_id: int, kind: MilestoneKind, at: datetime, detail: str = "") -> None:
        self._met.add(node_id)
        self._waiting.append(Milestone(node_id, self._run, self._work, kind, at, detail))

    def close(self) -> None:
        """Write what is left, and end."""
        self._closing.set()
        self._arrived.set()

    async def run(self) -> None:
        """Write again and again until closed, and then what is left."""
        while not self._closing.is_set():
            await self._arrived.wait()
            with anyio.move_on_after(PAUSE_S):
                await self._closing.wait()
            await self._flush()
        # The block may have been over before this was first run.
        await self._flush()

    async def _flush(self) -> None:
        self._arrived.clear()
        group, self._waiting = self._waiting, []
        if not group:
            return
        try:
            await add_milestones(self._engine, group)
        except (StoreError, TimeoutError) as error:
            log.warning("%d milestones of the timeline were not kept: %s", len(group), error)


def milestone_of(event: Event) -> tuple[MilestoneKind, str] | None:
    """What a node reached by this event, and the script where it is a step's; nothing where it is no milestone."""
    match event:
        case NodeMoved(state=state):
            return (MOVES[state], "") if state in MOVES else None
        case NodeConnected():
            return MilestoneKind.CONNECTED, ""
        case FilesPushed():
            return MilestoneKind.PUSHED, ""
        case StepStarted(script=script):
            return MilestoneKind.STEP_STARTED, script
        case StepFinished(result=result):
            return (MilestoneKind.STEP_PASSED if result.ok else MilestoneKind.STEP_FAILED), result.script
        case NodeFinished(ok=ok):
            return (MilestoneKind.READY if ok else MilestoneKind.FAILED), ""
        case _:
            return None
