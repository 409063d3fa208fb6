"""Whose machines they are: another account's credentials change nothing, and conclude nothing, in either cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import update

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.models import Node
from ogc_async.db.users import create_user
from ogc_async.errors import OutcomeUnknown, WrongAccount
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import ChangeKind, NodeSnapshot, NodeState
from tests.cloud import Cloud, running_sandbox
from tests.integration.actions.test_two_clouds import living, on, settings_of

PREFIX = "SANDBOX_2_"
OURS = {"aws": "000000000000", "google": "sandbox-project"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_sandbox("--boot", "0.1:0.2", "--no-limits", "--accounts", "2") as cloud:
        yield cloud


@pytest.fixture
async def app(cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    async with App(engine=database, settings=settings_of(cloud, **QUICK)) as app:
        await create_user(database, "Adam")
        yield app


QUICK = {"ogc_settle_s": 0.1, "ogc_lease_s": 1, "ogc_api_retry_s": 2, "ogc_terminate_timeout_s": 20}


@pytest.fixture
async def stranger(cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    """The same database, seen with the other account's credentials in the environment."""
    theirs = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in cloud.environment.items()
        if name.startswith(PREFIX) and not name.endswith("REFRESH_TOKEN")
    }
    async with App(engine=database, settings=settings_of(cloud, **(theirs | QUICK))) as app:
        yield app


@pytest.fixture(params=sorted(OURS))
def one(request: pytest.FixtureRequest, layout: Layout) -> Layout:
    return on(request.param, layout, name="web", scale=2)


async def forget_accounts(app: App) -> None:
    """Rows as a release before this one left them."""
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(update(Node).values(account=None, updated_at=Node.updated_at))


async def on_record(app: App) -> list[NodeSnapshot]:
    return await actions.nodes_async(app=app)


def spec_of(layout: Layout) -> Spec:
    return Spec(name="test", ssh_keys=layout.ssh_keys, layouts=(layout,))


def machines(cloud: Cloud, nodes: list[NodeSnapshot]) -> set[str]:
    """Of these nodes' machines, those that are there."""
    there = {each for ids in living(cloud).values() for each in ids}
    return there & {str(node.instance_id) for node in nodes}


def shape(node: NodeSnapshot) -> tuple[Any, ...]:
    return node.id, node.state, node.instance_id, node.account, node.public_ip


async def test_a_row_says_who_launched_its_machine(app: App, one: Layout) -> None:
    await actions.launch_async([one], app=app)
    assert {node.account for node in await on_record(app)} == {OURS[one.provider]}
    assert not (await actions.teardown_async([node.id for node in await on_record(app)], app=app)).failures


@pytest.mark.parametrize("force", [False, True])
async def test_another_accounts_credentials_tear_nothing_down_and_lose_nothing(
    app: App, stranger: App, one: Layout, cloud: Cloud, force: bool
) -> None:
    ids = list(await actions.launch_async([one], app=app))
    before = await on_record(app)
    removed = await actions.teardown_async(ids, force=force, app=stranger)
    assert list(removed) == []
    assert {type(each.error) for each in removed.failures} == {WrongAccount}
    assert OURS[one.provider] in str(removed.failures[0].error)

    plan = await actions.plan_async(spec_of(one), app=stranger)
    assert not plan.changes
    assert {type(each.error) for each in plan.doubts} == {WrongAccount}
    bigger = spec_of(one.model_copy(update={"scale": 5}))
    synced = await actions.sync_async(bigger, app=stranger)
    assert not synced.ok
    assert list(synced.launched) == []
    assert [shape(node) for node in await on_record(app)] == [shape(node) for node in before]
    assert len(machines(cloud, before)) == 2

    # Work over SSH needs no account, nor any credentials at all.
    assert all(await actions.exec_async(ids, "true", app=stranger))
    bare = settings_of(cloud, aws_access_key_id=None, google_application_credentials=None)
    async with App(engine=app.engine, settings=bare) as nobody:
        assert all(await actions.exec_async(ids, "true", app=nobody))

    assert not (await actions.plan_async(spec_of(one), app=app)).changes, "and nothing is to be mended afterwards"
    assert list(await actions.teardown_async(ids, app=app)) == ids
    assert machines(cloud, before) == set()


async def test_an_old_rows_machine_that_a_stranger_does_not_show_is_not_gone(
    app: App, stranger: App, one: Layout, cloud: Cloud
) -> None:
    ids = list(await actions.launch_async([one], app=app))
    await forget_accounts(app)
    before = await on_record(app)
    removed = await actions.teardown_async(ids, app=stranger)
    assert list(removed) == []
    assert {type(each.error) for each in removed.failures} == {OutcomeUnknown}
    assert "--only-db" in str(removed.failures[0].error)
    synced = await actions.sync_async(spec_of(one), app=stranger)
    assert not synced.ok
    assert not synced.plan.changes
    assert [shape(node) for node in await on_record(app)] == [shape(node) for node in before]
    assert len(machines(cloud, before)) == 2

    assert (await actions.sync_async(spec_of(one), app=app)).ok
    assert {node.account for node in await on_record(app)} == {OURS[one.provider]}, "the first certain contact tells"
    await forget_accounts(app)
    assert list(await actions.teardown_async(ids, app=app)) == ids, "as a teardown finds out by itself"
    assert machines(cloud, before) == set()


async def test_a_node_that_was_marked_lost_takes_its_machine_back(app: App, one: Layout, cloud: Cloud) -> None:
    """As releases before this one marked nodes whose list another account's credentials had asked for."""
    ids = list(await actions.launch_async([one], app=app))
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(update(Node).values(state=str(NodeState.LOST)))
    synced = await actions.sync_async(spec_of(one), app=app)
    assert synced.ok
    assert {change.kind for change in synced.plan.changes} == {ChangeKind.RESUME}
    nodes = await on_record(app)
    assert [(node.id, node.state) for node in nodes] == [(node_id, NodeState.RUNNING) for node_id in ids]
    assert len(machines(cloud, nodes)) == 2
    assert list(await actions.teardown_async(ids, app=app)) == ids


async def test_a_launch_with_other_credentials_is_on_record_as_theirs(
    app: App, stranger: App, one: Layout, cloud: Cloud
) -> None:
    ours = list(await actions.launch_async([one], app=app))
    theirs = list(await actions.launch_async([one.model_copy(update={"name": "theirs"})], app=stranger))
    removed = await actions.teardown_async([*ours, *theirs], app=stranger)
    assert list(removed) == theirs
    assert [each.node_id for each in removed.failures] == ours
    assert list(await actions.teardown_async(ours, app=app)) == ours
    assert machines(cloud, await on_record(app)) == set()
