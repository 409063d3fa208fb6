"""States are written and told as one act: what events say is what rows hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

import ogc_async
from ogc_async import actions
from ogc_async.db.moves import Move, asked, move_nodes
from ogc_async.db.nodes import FORGOTTEN
from ogc_async.errors import NoCapacity
from ogc_async.events import NodeFinished, NodeMoved
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider, RecordedEvents
from ogc_async.types import NodeSnapshot, NodeState
from tests.holding import held
from tests.integration.actions.common import changed

PACKAGE = Path(ogc_async.__file__).parent


@pytest.fixture
def cloud(cloudless: App) -> MemoryProvider:
    provider = MemoryProvider()
    cloudless.providers = provider.pool(cloudless.settings)
    return provider


@pytest.fixture
def heard(cloudless: App) -> Iterator[RecordedEvents]:
    events = RecordedEvents()
    with cloudless.events.subscribed(events):
        yield events


async def on_record(app: App) -> dict[int, NodeSnapshot]:
    return {node.id: node for node in await actions.nodes_async(app=app)}


def moves_of(heard: RecordedEvents, node_id: int) -> list[tuple[NodeState, str | None]]:
    return [(each.state, each.reason) for each in heard if isinstance(each, NodeMoved) and each.node_id == node_id]


def bare(layout: Layout, **changes: Any) -> dict[str, Any]:
    return changed(layout, **({"scripts": None, "region": "memory-1"} | changes))


@pytest.mark.parametrize(("spare", "scale"), [(1, 1), (2, 1), (3, 2), (2, 4)])
async def test_up_with_spares_answers_for_as_many_as_were_asked_for(
    cloudless: App, cloud: MemoryProvider, heard: RecordedEvents, layout: Layout, spare: int, scale: int
) -> None:
    two = [bare(layout, scale=scale, spare=spare), bare(layout, name="other", scale=scale, spare=spare)]
    result = await actions.up_async(two, app=cloudless)
    assert result.ok
    assert len(result) == 2 * scale
    assert [each.node_id for each in result.deployed] == list(result)
    assert {each.node_id for each in heard if isinstance(each, NodeFinished)} == set(result), "spares are left alone"
    states = [node.state for node in (await on_record(cloudless)).values()]
    assert states.count(NodeState.RUNNING) == 2 * scale
    assert states.count(NodeState.TERMINATING) == 2 * spare


async def test_up_of_one_layout_asks_for_one_machine_as_launch_does(
    cloudless: App, cloud: MemoryProvider, layout: Layout
) -> None:
    one = bare(layout, scale=3, spare=2, min_ready=2)
    assert await actions.up_async(one, app=cloudless)
    await actions.launch_async(one, app=cloudless)
    assert [len(request.names) for request in cloud.asked] == [1, 1]


async def test_up_tells_which_nodes_still_boot_once_enough_are_ready(
    cloudless: App, cloud: MemoryProvider, layout: Layout
) -> None:
    cloud.boots_at_most = 1
    result = await actions.up_async([bare(layout, scale=2, min_ready=1)], app=cloudless)
    nodes = await on_record(cloudless)
    assert [nodes[each].state for each in result] == [NodeState.RUNNING]
    assert [nodes[each].state for each in result.pending] == [NodeState.LAUNCHING]
    assert [each.node_id for each in result.deployed] == list(result)


@pytest.mark.parametrize("only_db", [True, False])
async def test_a_teardown_tells_the_reason_that_is_on_record(
    cloudless: App, cloud: MemoryProvider, heard: RecordedEvents, layout: Layout, *, only_db: bool
) -> None:
    node_id = await actions.launch_async(bare(layout), app=cloudless)
    await actions.teardown_async(node_id, only_db=only_db, app=cloudless)
    node = (await on_record(cloudless))[node_id]
    assert moves_of(heard, node_id)[-1] == (NodeState.TERMINATED, node.reason)
    assert node.reason == (FORGOTTEN if only_db else None)


async def test_every_move_of_a_launch_is_told_with_its_reason_and_in_order(
    cloudless: App, cloud: MemoryProvider, heard: RecordedEvents, layout: Layout
) -> None:
    cloud.refusals["launch"] = [NoCapacity("full", provider="aws", operation="launch", code="Full")] * 9
    result = await actions.launch_async([bare(layout), bare(layout, name="other", zones=["memory-1a"])], app=cloudless)
    assert len(result.failures) == 2
    nodes = await on_record(cloudless)
    for failure in result.failures:
        told = moves_of(heard, failure.node_id)
        assert told[0] == (NodeState.PLANNED, None)
        assert told[-1] == (NodeState.FAILED, nodes[failure.node_id].reason)
        assert "full" in str(nodes[failure.node_id].reason)


async def test_what_is_written_along_with_a_move_is_committed_with_it_or_not_at_all(
    cloudless: App, cloud: MemoryProvider, layout: Layout
) -> None:
    node_id = await actions.launch_async(bare(layout), app=cloudless)
    assert cloudless.engine is not None
    seen: list[set[int]] = []

    async def note(_connection: AsyncConnection, moved: Any) -> None:
        seen.append(set(moved))

    async def fail(_connection: AsyncConnection, _moved: Any) -> None:
        raise RuntimeError("the outbox is full")

    lost = Move(to=NodeState.LOST, came_from={NodeState.RUNNING})
    hold = await held(cloudless.engine, [node_id])
    with pytest.raises(RuntimeError, match="outbox"):
        await move_nodes(cloudless.engine, [node_id], lost, hold, [note, fail])
    assert (await on_record(cloudless))[node_id].state is NodeState.RUNNING
    assert await move_nodes(cloudless.engine, [node_id], lost, hold, [note]) == {node_id}
    assert await move_nodes(cloudless.engine, [node_id], asked(), hold, [note]) == set()
    assert seen == [{node_id}, {node_id}, set()]


WRITERS = {
    "move_nodes": {"ogc_async/actions/transitions.py"},
    "plan_nodes": {"ogc_async/actions/transitions.py"},
    "NodeMoved": {"ogc_async/actions/transitions.py"},
    "Watch": {"ogc_async/actions/watch.py"},
}
"""Who may call what, beside the module that defines it."""


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_state_is_written_and_told_in_one_place_and_machines_are_watched_in_one(name: str) -> None:
    callers = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name
    }
    assert callers == WRITERS[name]
