"""A step's record says for as long as its process lives that it goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import anyio
import pytest
from sqlalchemy import select

from ogc_async import actions
from ogc_async.actions.context import Context, open_context
from ogc_async.actions.record import Record
from ogc_async.db import Engine
from ogc_async.db.models import Action
from ogc_async.db.results import Notes, interrupt_forsaken, write_notes
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepResult, StepState
from tests.integration.actions.common import recorded

LEASE_S = 0.1
DEADLINE_S = 30


async def test_a_step_that_runs_is_said_to_go_on_until_it_ends(app: App, layout: Layout) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    context = await open_context(app)
    brief = replace(context, settings=context.settings.model_copy(update={"ogc_lease_s": LEASE_S}))
    async with Record(brief, "exec") as record:
        action_id = await record.started(node, "true", "")
        renewed = await _next_lease(context, await _next_lease(context, None))
        await record.finished(
            node, action_id, StepResult(script="true", state=StepState.PASSED, exit_code=0, seconds=0)
        )
        assert renewed is not None
    assert await interrupt_forsaken(context.engine, "its process ended") == set()
    assert [each.state for each in await recorded(app, node_id)] == [StepState.PASSED]


async def test_a_step_whose_process_is_gone_is_found_once_its_lease_ran_out(app: App, layout: Layout) -> None:
    await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    context = await open_context(app)
    brief = replace(context, settings=context.settings.model_copy(update={"ogc_lease_s": LEASE_S}))
    async with Record(brief, "exec") as record:
        action_id = await record.started(node, "true", "")
    with anyio.fail_after(DEADLINE_S):
        while not (found := await interrupt_forsaken(context.engine, "its process ended")):
            await asyncio.sleep(0.01)
    assert found == {action_id}


async def _next_lease(context: Context, last: object) -> object:
    """Until when the only step is believed to go on, once that is another moment than ``last``."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            async with context.engine.reading() as connection:
                until = (await connection.execute(select(Action.lease_until))).scalar_one()
            if until != last:
                return until
            await asyncio.sleep(0.01)


async def test_the_end_of_a_step_is_written_with_the_beginning_of_the_next(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node_id,) = await actions.launch_async([layout], app=app)
    (node,) = await actions.nodes_async(app=app)
    groups: list[tuple[int, int]] = []

    async def counted(engine: Engine, notes: Notes) -> list[int]:
        groups.append((len(notes.starts), len(notes.ends)))
        return await write_notes(engine, notes)

    monkeypatch.setattr("ogc_async.actions.record.write_notes", counted)
    told: list[str] = []
    heard = app.events.subscribed(lambda event: told.append(type(event).__name__))
    async with Record(await open_context(app), "exec") as record:
        own = record.of(node)
        with heard:
            for script in ("1", "2", "3"):
                action_id = await own.started(script, "")
                own.finished(action_id, StepResult(script=script, state=StepState.PASSED, exit_code=0, seconds=0))
            await own.written()
        assert [each.state for each in await recorded(app, node_id)] == [StepState.PASSED] * 3
    assert groups == [(1, 0), (1, 1), (1, 1), (0, 1)]
    assert told == ["StepStarted", "StepFinished", "StepStarted", "StepFinished", "StepStarted", "StepFinished"]
