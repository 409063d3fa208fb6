"""What the command line looks back on: milestones, the last word of each script, fleets handed over."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ogc_async.actions.timeline import timeline_kept
from ogc_async.db import Engine
from ogc_async.db.handover import take_over
from ogc_async.db.history import find_last_actions
from ogc_async.db.milestones import add_milestones, find_milestones
from ogc_async.db.nodes import NodeDraft, find_nodes, plan_nodes
from ogc_async.db.results import StepStart
from ogc_async.db.users import current_user
from ogc_async.errors import StoreError
from ogc_async.events import NodeConnected, NodeFinished, NodeMoved, OutputArrived, StepFinished, StepStarted
from ogc_async.state import App
from ogc_async.types import Milestone, MilestoneKind, NodeSnapshot, NodeState, StepResult, StepState, UserSnapshot
from tests.integration.db.conftest import counted_statements, start_actions

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def draft(number: int) -> NodeDraft:
    name = f"ogc-web-{number}"
    return NodeDraft(name=name, layout="web", provider="aws", region="r-1", token="t", launch_index=number)


@pytest.fixture
async def nodes(engine: Engine, user: UserSnapshot) -> list[NodeSnapshot]:
    return await plan_nodes(engine, user.id, [draft(number) for number in range(3)])


async def test_milestones_come_back_as_they_were_in_the_order_of_time(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    told = [
        Milestone(node.id, "run", "deploy", kind, ZERO + timedelta(milliseconds=place), "1-a.sh")
        for place, (node, kind) in enumerate((node, kind) for kind in MilestoneKind for node in nodes[:2])
    ]
    with counted_statements(engine) as statements:
        await add_milestones(engine, told[::-1])
    assert len([each for each in statements if each.startswith("INSERT")]) == 1
    assert await find_milestones(engine, [node.id for node in nodes]) == told
    assert await find_milestones(engine, [nodes[2].id]) == []


async def test_a_timeline_is_kept_of_all_that_happens_in_the_block_and_nothing_after_it(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    app, node = App(engine=engine), nodes[0]
    who: tuple[int, str, str] = (node.id, node.name, node.layout)
    passed = StepResult(script="1.sh", state=StepState.PASSED, exit_code=0, seconds=0.1)
    async with timeline_kept(app, "deploy"):
        app.events.publish(NodeConnected(*who))
        app.events.publish(StepStarted(*who, "1.sh"))
        app.events.publish(OutputArrived(*who, b"no milestone"))
        app.events.publish(StepFinished(*who, passed))
        app.events.publish(NodeFinished(*who, ok=True))
    app.events.publish(NodeMoved(*who, NodeState.TERMINATED))
    kept = await find_milestones(engine, [node.id])
    assert [(each.kind, each.detail) for each in kept] == [
        (MilestoneKind.BEGUN, ""),
        (MilestoneKind.CONNECTED, ""),
        (MilestoneKind.STEP_STARTED, "1.sh"),
        (MilestoneKind.STEP_PASSED, "1.sh"),
        (MilestoneKind.READY, ""),
    ]
    assert len({each.run for each in kept}) == 1
    assert {each.work for each in kept} == {"deploy"}


async def test_a_database_that_fails_costs_the_timeline_and_not_the_work(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("ogc_async.actions.timeline.add_milestones", fail)
    app = App(engine=engine)
    async with timeline_kept(app, "launch"):
        app.events.publish(NodeMoved(1, "ogc-web-1", "web", NodeState.PLANNED))
    assert "1 milestones of the timeline were not kept: the disk is full" in caplog.text


async def test_the_last_run_of_each_script_on_each_node_is_found(engine: Engine, nodes: list[NodeSnapshot]) -> None:
    def start(node: NodeSnapshot, script: str) -> StepStart:
        return StepStart(node.id, "exec", script, "")

    one, two, other = nodes
    first = await start_actions(engine, [start(one, "a"), start(two, "a"), start(one, "b"), start(other, "a")])
    (again,) = await start_actions(engine, [start(one, "a")])
    found = await find_last_actions(engine, [one.id, two.id])
    assert [each.id for each in found] == [first[1], first[2], again]


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        **asdict(draft(number)),
        "tags": ["a"],
        "labels": {},
        "spec": {},
        "state": "running",
        "created_at": ZERO,
        **more,
    }


async def test_a_fleet_is_taken_over_once_and_by_nobody_else(engine: Engine) -> None:
    owner = UserSnapshot(0, "Ada", "ada", "c0ffee")
    assert await take_over(engine, owner, [row(1), row(2)]) == ["ogc-web-1", "ogc-web-2"]
    assert await take_over(engine, owner, [row(2), row(3)]) == ["ogc-web-3"]
    taken = await current_user(engine)
    assert (taken.slug, taken.scope) == ("ada", "c0ffee")
    nodes = await find_nodes(engine, states={NodeState.RUNNING})
    assert [(node.name, node.tags, node.created_at) for node in nodes] == [
        (f"ogc-web-{number}", ("a",), ZERO) for number in (1, 2, 3)
    ]
    with pytest.raises(StoreError, match="this database has a user of its own, ada"):
        await take_over(engine, UserSnapshot(0, "Eve", "eve", "5ca1ab1e"), [row(4)])
    assert len(await find_nodes(engine)) == 3
