"""A step is on record as its process lives and holds the node, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any

import pytest

from ogc_async import actions, db
from ogc_async.actions.context import open_context
from ogc_async.actions.record import Record
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.results import Notes, Written, write_notes
from ogc_async.errors import ClaimLost
from ogc_async.events import Event
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepResult, StepState
from tests.holding import DEAD_S, held, living
from tests.integration.actions.common import recorded


async def test_a_step_runs_on_record_while_its_process_lives_and_reads_as_interrupted_once_it_is_dead(
    app: App, layout: Layout
) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    context = await open_context(app)
    hold = await held(context.engine, [node_id], "me")
    async with Record(context, "exec", hold) as record:
        await record.started(node, "true", "")
    assert [each.state for each in await recorded(app, node_id)] == [StepState.RUNNING]
    await living(context.engine, "me", for_s=DEAD_S)
    assert [each.state for each in await recorded(app, node_id)] == [StepState.INTERRUPTED]


async def test_a_step_does_not_begin_on_a_node_that_another_process_has_taken(app: App, layout: Layout) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    context = await open_context(app)
    hold = await held(context.engine, [node_id], "zombie", for_s=DEAD_S)
    told: list[Event] = []
    async with Record(context, "exec", hold) as record:
        own = record.of(node)
        own.finished(await own.started("1", ""), passed("1"))
        await own.written()
        action_id = await own.started("2", "")
        await held(context.engine, [node_id], "next")
        with app.events.subscribed(told.append):
            own.finished(action_id, passed("2"))
            with pytest.raises(ClaimLost):
                await own.written()
            with pytest.raises(ClaimLost, match=node.name):
                await own.started("3", "")
    assert told == []
    assert [(each.script, each.state) for each in await recorded(app, node_id)] == [
        ("1", StepState.PASSED),
        ("2", StepState.INTERRUPTED),
    ]


async def test_a_process_that_stood_still_between_asking_and_sending_asks_again(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    context = await open_context(app)
    hold = await held(context.engine, [node_id], "me")
    stood_still_s = 2 * context.settings.ogc_lease_s
    monkeypatch.setattr("ogc_async.actions.record.uptime_s", iter([0.0, stood_still_s, 99.0, 99.0]).__next__)
    async with Record(context, "exec", hold) as record:
        assert await record.started(node, "1", "") > 0
        await living(context.engine, "me", for_s=DEAD_S)
        monkeypatch.setattr("ogc_async.actions.record.uptime_s", Standstill(context.engine, node_id, stood_still_s))
        with pytest.raises(ClaimLost):
            await record.started(node, "2", "")


class Standstill:
    """A clock that jumps once a step is on record; by then another process has taken the node."""

    def __init__(self, engine: Engine, node_id: int, stood_still_s: float) -> None:
        self._engine = engine
        self._node_id = node_id
        self._times = iter([0.0, stood_still_s, stood_still_s, stood_still_s])
        self._asked = 0

    def __call__(self) -> float:
        self._asked += 1
        if self._asked == 2:
            run_elsewhere(held(db.connect(self._engine.url), [self._node_id], "next"))
        return next(self._times)


def run_elsewhere(work: Coroutine[Any, Any, object]) -> None:
    """In a loop of its own, on another thread, as another process would."""
    thread = Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


def passed(script: str) -> StepResult:
    return StepResult(script=script, state=StepState.PASSED, exit_code=0, seconds=0)


async def test_the_end_of_a_step_is_written_with_the_beginning_of_the_next(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    groups: list[tuple[int, int]] = []

    async def counted(engine: Engine, notes: Notes, hold: Hold) -> Written:
        groups.append((len(notes.starts), len(notes.ends)))
        return await write_notes(engine, notes, hold)

    monkeypatch.setattr("ogc_async.actions.record.write_notes", counted)
    told: list[str] = []
    heard = app.events.subscribed(lambda event: told.append(type(event).__name__))
    context = await open_context(app)
    async with Record(context, "exec", await held(context.engine, [node_id])) as record:
        own = record.of(node)
        with heard:
            for script in ("1", "2", "3"):
                action_id = await own.started(script, "")
                own.finished(action_id, passed(script))
            await own.written()
        assert [each.state for each in await recorded(app, node_id)] == [StepState.PASSED] * 3
    assert groups == [(1, 0), (1, 1), (1, 1), (0, 1)]
    assert told == ["StepStarted", "StepFinished", "StepStarted", "StepFinished", "StepStarted", "StepFinished"]
