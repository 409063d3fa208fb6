"""One sync mends whatever a process that died has left behind, in both clouds, and touches nobody else's machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from anyio.to_thread import run_sync
from sqlalchemy import URL

from ogc_async import actions, db, errors
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.moves import Move, asked, move_nodes
from ogc_async.db.nodes import NodeDraft, plan_nodes
from ogc_async.db.results import Notes, StepStart, write_notes
from ogc_async.db.users import create_user, current_user
from ogc_async.plan import expand, launch_request
from ogc_async.spec import Layout, Spec
from ogc_async.ssh.keys import load_public_key
from ogc_async.state import App
from ogc_async.types import ChangeKind, NodeSnapshot, NodeState, StepState
from tests.cloud import Cloud
from tests.holding import DEAD_S, held, moved
from tests.holding import living as living_worker
from tests.integration.actions.common import recorded
from tests.integration.actions.test_two_clouds import on, settings_of

PROVIDERS = ("aws", "google")
DEADLINE_S = 30
ENDED = ("terminated", "shutting-down", "TERMINATED", "STOPPING")


@pytest.fixture
async def app(cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    """An app that does not wait long for what may still show up."""
    async with App(engine=database, settings=settings_of(cloud, ogc_settle_s=0.3, ogc_lease_s=1)) as app:
        await create_user(database, "Adam")
        yield app


@pytest.fixture(params=PROVIDERS)
def one(request: pytest.FixtureRequest, layout: Layout) -> Layout:
    """A layout of one node, in each cloud."""
    return on(request.param, layout, name="web")


def spec_of(*layouts: Layout) -> Spec:
    return Spec(name="test", ssh_keys=layouts[0].ssh_keys, layouts=layouts)


def scaled(layout: Layout, scale: int) -> Layout:
    return layout.model_copy(update={"scale": scale})


async def living(app: App, cloud: Cloud, ended: Collection[str] = ENDED) -> set[str]:
    """Ids of this database's machines that are there."""
    assert app.engine is not None
    scope = (await current_user(app.engine)).scope
    return {
        each["id"]
        for machines in (await run_sync(cloud.state))["instances"].values()
        for each in machines
        if scope in (each["tags"].get("ogc:scope"), each["tags"].get("ogc-scope")) and each["state"] not in ended
    }


async def agreed(app: App, cloud: Cloud, scale: int) -> list[NodeSnapshot]:
    """Nodes, once cloud and database are seen to agree on ``scale`` of them, and on nothing else."""
    nodes = await actions.nodes_async(
        app=app, states=set(NodeState) - {NodeState.TERMINATED, NodeState.FAILED, NodeState.LOST}
    )
    assert [node.state for node in nodes] == [NodeState.RUNNING] * scale
    assert {node.instance_id for node in nodes} == await living(app, cloud)
    assert not (await actions.plan_async(app=app)).changes
    return nodes


async def half_launch(app: App, layout: Layout, *, calls_cloud: bool) -> list[NodeSnapshot]:
    """What a process leaves that dies right before, or right after, its launch call."""
    assert app.engine is not None
    user = await current_user(app.engine)
    provider = app.providers.get(layout.provider, layout.region)
    (batch,) = expand([layout], batch_size=100, region=provider.region)
    drafts = [
        NodeDraft(
            name=name,
            layout=layout.name,
            provider=layout.provider,
            region=provider.region,
            token=batch.token,
            launch_index=index,
            username="ubuntu" if layout.provider == "aws" else "ogc",
            ssh_port=app.settings.ogc_ssh_port,
            spec=layout.as_dict(),
            worker="dead",
            claimed_for="launch",
        )
        for index, name in enumerate(batch.names)
    ]
    nodes = await plan_nodes(app.engine, user.id, drafts)
    ids = [node.id for node in nodes]
    begun = asked(account=await provider.account())
    await move_nodes(app.engine, ids, begun, Hold("dead", dict.fromkeys(ids, 1)))
    if calls_cloud:
        request = launch_request(
            batch,
            layout,
            owner=user.slug,
            scope=user.scope,
            public_key=load_public_key(layout.ssh_keys.public),
            ssh_port=app.settings.ogc_ssh_port,
        )
        await provider.launch(request, await provider.prepare(request))
    return nodes


async def test_scale_goes_up_and_down_and_the_plan_says_so_beforehand(app: App, one: Layout, cloud: Cloud) -> None:
    app.spec = spec_of(scaled(one, 3))
    plan = await actions.plan_async(app=app)
    assert [change.kind for change in plan.changes] == [ChangeKind.ADD] * 3
    assert await actions.nodes_async(app=app) == []
    result = await actions.sync_async(plan=plan, app=app)
    assert (result.ok, len(result.launched)) == (True, 3)
    before = await agreed(app, cloud, 3)
    assert all(await actions.deploy_async([node.id for node in before], app=app))

    smaller = spec_of(scaled(one, 1))
    plan = await actions.plan_async(smaller, app=app)
    assert [change.node_id for change in plan.of(ChangeKind.REMOVE)] == [node.id for node in before[1:]]
    result = await actions.sync_async(smaller, plan=plan, app=app)
    assert list(result.torn_down) == [node.id for node in before[1:]]
    app.spec = smaller
    assert [node.id for node in await agreed(app, cloud, 1)] == [before[0].id]


async def test_a_launch_that_broke_off_after_its_call_is_adopted(app: App, one: Layout, cloud: Cloud) -> None:
    app.spec = spec_of(scaled(one, 2))
    nodes = await half_launch(app, scaled(one, 2), calls_cloud=True)
    result = await actions.sync_async(app=app)
    assert result.ok, result.failures
    assert {change.kind for change in result.plan.changes} == {ChangeKind.ADOPT}
    adopted = await agreed(app, cloud, 2)
    assert [node.id for node in adopted] == [node.id for node in nodes]
    assert all(await actions.exec_async([node.id for node in adopted], "true", app=app))


async def test_a_launch_that_broke_off_before_its_call_failed_and_is_made_good(
    app: App, one: Layout, cloud: Cloud
) -> None:
    app.spec = spec_of(scaled(one, 2))
    nodes = await half_launch(app, scaled(one, 2), calls_cloud=False)
    result = await actions.sync_async(app=app)
    assert result.ok, result.failures
    assert [change.node_id for change in result.plan.of(ChangeKind.FAIL)] == [node.id for node in nodes]
    assert len(result.launched) == 2
    await agreed(app, cloud, 2)


async def test_a_teardown_that_broke_off_is_finished(app: App, one: Layout, cloud: Cloud) -> None:
    ids = await actions.launch_async([scaled(one, 2)], app=app)
    assert app.engine is not None
    await moved(app.engine, ids, Move(to=NodeState.TERMINATING, came_from={NodeState.RUNNING}))
    result = await actions.sync_async(app=app)
    assert result.ok, result.failures
    assert {node.state for node in await actions.nodes_async(app=app)} == {NodeState.TERMINATED}
    assert await living(app, cloud) == set()


async def test_a_machine_that_vanished_is_marked_lost_and_made_good(app: App, one: Layout, cloud: Cloud) -> None:
    app.spec = spec_of(scaled(one, 2))
    ids = await actions.launch_async([scaled(one, 2)], app=app)
    nodes = await actions.nodes_async(app=app)
    stranger = App(engine=app.engine, settings=app.settings)
    await stranger.providers.get(one.provider, one.region).terminate([str(nodes[0].instance_id)])
    await stranger.providers.aclose()
    async with asyncio.timeout(DEADLINE_S):
        while nodes[0].instance_id in await living(app, cloud, ended=("terminated", "TERMINATED")):
            await asyncio.sleep(0.02)
    result = await actions.sync_async(app=app)
    assert result.ok, result.failures
    assert [change.node_id for change in result.plan.of(ChangeKind.LOSE)] == [ids[0]]
    assert {node.id for node in await agreed(app, cloud, 2)} == {ids[1], *result.launched}
    (lost,) = await actions.nodes_async(app=app, states={NodeState.LOST})
    assert lost.id == ids[0]


async def test_a_machine_that_no_node_stands_for_is_terminated(app: App, one: Layout, cloud: Cloud) -> None:
    nodes = await half_launch(app, scaled(one, 2), calls_cloud=True)
    assert app.engine is not None
    await moved(app.engine, [node.id for node in nodes], Move(to=NodeState.FAILED, came_from={NodeState.LAUNCHING}))
    assert len(await living(app, cloud)) == 2
    result = await actions.sync_async(app=app)
    assert result.ok, result.failures
    assert [change.kind for change in result.plan.changes] == [ChangeKind.REAP] * 2
    assert await living(app, cloud) == set()


async def test_a_machine_that_was_left_alone_on_purpose_stays(app: App, one: Layout, cloud: Cloud) -> None:
    node_id = await actions.launch_async(one, app=app)
    await actions.teardown_async(node_id, only_db=True, app=app)
    assert not (await actions.plan_async(spec_of(scaled(one, 0)), app=app)).changes
    assert len(await living(app, cloud)) == 1


async def test_two_databases_of_one_account_do_not_touch_each_other(
    app: App, layout: Layout, cloud: Cloud, tmp_path: Any
) -> None:
    both = [on(provider, layout) for provider in PROVIDERS]
    await actions.launch_async(both, app=app)
    mine = await living(app, cloud)
    assert len(mine) == 2
    engine = db.connect(URL.create("sqlite+aiosqlite", database=str(tmp_path / "other.db")))
    await db.migrate_async(engine)
    async with App(engine=engine, settings=app.settings) as other:
        await create_user(engine, "Adam")
        other.spec = spec_of(*(scaled(each, 0) for each in both))
        result = await actions.sync_async(app=other)
        assert (result.ok, result.plan.changes) == (True, ())
        assert await living(app, cloud) == mine
        other.spec = spec_of(*both)
        assert (await actions.sync_async(app=other)).ok
        assert await living(app, cloud) == mine
        theirs = await living(other, cloud)
        assert len(theirs) == 2
        # What no row of ours stands for any more is a leak of ours, and still nobody else's business.
        assert app.engine is not None
        nodes = await actions.nodes_async(app=app)
        await moved(app.engine, [n.id for n in nodes], Move(to=NodeState.FAILED, came_from={NodeState.RUNNING}))
        assert (await actions.sync_async(app=other)).plan.changes == ()
        assert await living(app, cloud) == mine
        reaped = await actions.sync_async(app=app)
        assert [change.kind for change in reaped.plan.changes] == [ChangeKind.REAP] * 2
        assert (await living(app, cloud), await living(other, cloud)) == (set(), theirs)


async def test_a_plan_that_is_outdated_is_not_carried_out(app: App, one: Layout, cloud: Cloud) -> None:
    app.spec = spec_of(scaled(one, 2))
    plan = await actions.plan_async(app=app)
    await actions.launch_async([one], app=app)
    before = await living(app, cloud)
    with pytest.raises(errors.PlanOutdated, match=r"no longer|scale"):
        await actions.sync_async(plan=plan, app=app)
    assert await living(app, cloud) == before


async def test_nodes_that_a_living_process_works_on_are_left_to_it(app: App, one: Layout, cloud: Cloud) -> None:
    node_id = await actions.launch_async(one, app=app)
    assert app.engine is not None
    await held(app.engine, [node_id], "somebody")
    nothing = spec_of(scaled(one, 0))
    result = await actions.sync_async(nothing, app=app)
    assert result.plan.changes == ()
    assert [node.id for node in result.plan.busy] == [node_id]
    with pytest.raises(errors.NodeBusy, match=r"adam@laptop \(process 4711\) is at work on it on `deploy`, since"):
        await actions.teardown_async(node_id, app=app)
    assert len(await living(app, cloud)) == 1


async def test_a_dead_process_s_nodes_are_taken_once_its_last_sign_of_life_has_run_out(
    app: App, one: Layout, cloud: Cloud
) -> None:
    node_id = await actions.launch_async(one, app=app)
    assert app.engine is not None
    await held(app.engine, [node_id], "dying", for_s=0.3)
    assert await actions.teardown_async(node_id, wait_s=DEADLINE_S, app=app) == node_id
    assert await living(app, cloud) == set()


async def test_a_dead_process_s_step_does_not_run_on_record_for_ever(app: App, one: Layout) -> None:
    (node_id,) = await actions.launch_async([one], app=app)
    assert app.engine is not None
    starts = [StepStart(node_id, "deploy", "1-a.sh", "5" * 64)]
    await write_notes(app.engine, Notes(starts=starts), await living_worker(app.engine, "dead", for_s=DEAD_S))
    await write_notes(app.engine, Notes(starts=starts), await living_worker(app.engine, "living"))
    await actions.sync_async(spec_of(one), app=app)
    forsaken, living = await recorded(app, node_id)
    assert (forsaken.state, forsaken.error) == (StepState.INTERRUPTED, "its process ended before it")
    assert living.state is StepState.RUNNING


async def test_what_an_emptied_layout_leaves_beside_machines_is_removed(app: App, one: Layout, cloud: Cloud) -> None:
    assert app.engine is not None
    before = cloud.state()
    ids = await actions.launch_async([one], app=app)
    (node,) = await actions.nodes_async(app=app)
    await app.providers.get(one.provider, one.region).terminate([str(node.instance_id)])
    async with asyncio.timeout(DEADLINE_S):
        while await living(app, cloud, ended=("terminated", "TERMINATED")):
            await asyncio.sleep(0.02)
    # As a process leaves it that dies between the last row and the firewall.
    await moved(app.engine, ids, Move(to=NodeState.TERMINATED, came_from={NodeState.RUNNING}))
    assert cloud.state()["firewalls"] != before["firewalls"]
    assert (await actions.sync_async(app=app)).ok
    after = cloud.state()
    assert (after["firewalls"], after["key_pairs"]) == (before["firewalls"], before["key_pairs"])


async def test_without_a_spec_only_what_broke_off_is_looked_for(app: App, one: Layout, cloud: Cloud) -> None:
    node_id = await actions.launch_async(one, app=app)
    assert not (await actions.plan_async(app=app)).changes
    assert (await actions.sync_async(app=app)).ok
    assert [node.id for node in await agreed(app, cloud, 1)] == [node_id]
