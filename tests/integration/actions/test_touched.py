"""Machines that somebody else stopped and started, and boots that do not end as they should, in both clouds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from anyio import sleep
from anyio.to_thread import run_sync

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.errors import InstanceStopped, InvalidRequest, NoPublicAddress, NotRunning
from ogc_async.providers.google.credentials import AccessToken, read_credentials
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import ChangeKind, FindKind, NodeSnapshot, NodeState
from tests.cloud import Cloud, running_sandbox
from tests.integration.actions.common import witness
from tests.integration.actions.test_accounts import QUICK
from tests.integration.actions.test_two_clouds import ZONES, living, on, settings_of

STARTING = {"aws": "aws ec2 start-instances", "google": "gcloud compute instances start"}
WATCHED_S = 20.0


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_sandbox("--boot", "0.1:0.2", "--no-limits") as cloud:
        yield cloud


@pytest.fixture
async def app(cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    async with App(engine=database, settings=settings_of(cloud, **QUICK)) as app:
        await create_user(database, "Adam")
        yield app


@pytest.fixture(params=["aws", "google"])
def one(request: pytest.FixtureRequest, layout: Layout) -> Layout:
    return on(request.param, layout, name="web")


def spec_of(layout: Layout) -> Spec:
    return Spec(name="test", ssh_keys=layout.ssh_keys, layouts=(layout,))


async def only_node(app: App) -> NodeSnapshot:
    (node,) = await actions.nodes_async(app=app)
    return node


async def press(cloud: Cloud, node: NodeSnapshot, button: str) -> None:
    """Somebody stops or starts the machine in the cloud's own console, and waits until it is done."""
    if node.provider == "aws":
        await run_sync(_press_ec2, cloud, str(node.instance_id), button)
    else:
        await _press_compute(cloud, str(node.instance_id), button)
    wanted = {"stop": ("stopped", "TERMINATED"), "start": ("running", "RUNNING")}[button]
    for _ in range(int(WATCHED_S / 0.1)):
        seen = (await run_sync(cloud.state))["instances"][node.provider]
        if next(each["state"] for each in seen if each["id"] == node.instance_id) in wanted:
            return
        await sleep(0.1)
    raise AssertionError(f"{node.instance_id} did not {button}")


def _press_ec2(cloud: Cloud, instance_id: str, button: str) -> None:
    with witness(cloud) as client:
        getattr(client, f"{button}_instances")(InstanceIds=[instance_id])


async def _press_compute(cloud: Cloud, instance_id: str, button: str) -> None:
    credentials = read_credentials(settings_of(cloud))
    zone, _, name = instance_id.partition("/")
    url = f"{cloud.endpoint}/compute/v1/projects/{credentials.project}/zones/{zone}/instances/{name}/{button}"
    token = AccessToken(credentials)
    try:
        headers = {"Authorization": f"Bearer {await token.get()}"}
        async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
    finally:
        await token.aclose()


async def test_a_stopped_machine_is_neither_replaced_nor_started_nor_worked_on(
    app: App, cloud: Cloud, one: Layout
) -> None:
    (node_id,) = await actions.launch_async([one], app=app)
    before = await only_node(app)
    await press(cloud, before, "stop")
    plan = await actions.plan_async(spec_of(one), app=app)
    assert [change.kind for change in plan.changes] == [ChangeKind.HALT]
    synced = await actions.sync_async(spec_of(one), app=app)
    assert synced.ok
    assert list(synced.launched) == []
    assert (await only_node(app)).state is NodeState.STOPPED
    assert not (await actions.plan_async(spec_of(one), app=app)).changes, "it counts for the scale"

    for work in (actions.deploy_async(node_id, app=app), actions.exec_async(node_id, "true", app=app)):
        with pytest.raises(NotRunning, match=STARTING[one.provider]) as refused:
            await work
        assert str(before.instance_id).rpartition("/")[2] in str(refused.value)

    await press(cloud, before, "start")
    synced = await actions.sync_async(spec_of(one), app=app)
    assert [change.kind for change in synced.plan.changes] == [ChangeKind.RESUME]
    after = await only_node(app)
    assert after.state is NodeState.RUNNING
    assert after.public_ip not in (None, before.public_ip)
    assert (await actions.exec_async(node_id, "true", app=app)).ok, "its new address leads there"
    assert list(await actions.teardown_async([node_id], app=app)) == [node_id]


async def test_an_address_that_changed_unseen_is_noted(app: App, cloud: Cloud, one: Layout) -> None:
    (node_id,) = await actions.launch_async([one], app=app)
    before = await only_node(app)
    await press(cloud, before, "stop")
    await press(cloud, before, "start")
    synced = await actions.sync_async(spec_of(one), app=app)
    assert [change.kind for change in synced.plan.changes] == [ChangeKind.READDRESS]
    after = await only_node(app)
    assert (after.state, after.running_at) == (NodeState.RUNNING, before.running_at)
    assert after.public_ip not in (None, before.public_ip)
    assert (await actions.exec_async(node_id, "true", app=app)).ok
    assert list(await actions.teardown_async([node_id], app=app)) == [node_id]


async def test_a_stopped_node_is_ended_by_a_teardown(app: App, cloud: Cloud, one: Layout) -> None:
    (node_id,) = await actions.launch_async([one], app=app)
    node = await only_node(app)
    await press(cloud, node, "stop")
    await actions.sync_async(spec_of(one), app=app)
    assert list(await actions.teardown_async([node_id], app=app)) == [node_id]
    assert node.instance_id not in {each for ids in living(cloud).values() for each in ids}


async def test_a_machine_that_stops_while_it_boots_is_ended(app: App, cloud: Cloud, one: Layout) -> None:
    await run_sync(cloud.plan, "boot=stop")
    result = await actions.launch_async([one], app=app)
    assert isinstance(result.failures[0].error, InstanceStopped)
    node = await only_node(app)
    assert node.state is NodeState.TERMINATING, "on record until it is gone"
    assert list(await actions.teardown_async([node.id], app=app)) == [node.id]
    assert node.instance_id not in {each for ids in living(cloud).values() for each in ids}


async def test_a_boot_that_the_cloud_spoils_goes_on_in_the_next_zone(app: App, cloud: Cloud, one: Layout) -> None:
    await run_sync(cloud.plan, "boot=internal-error")
    layout = one.model_copy(update={"zones": tuple(ZONES[one.provider])})
    result = await actions.launch_async([layout], app=app)
    assert result.ok
    node = await only_node(app)
    assert node.zone == ZONES[one.provider][1]
    assert list(await actions.teardown_async([node.id], app=app)) == [node.id]


Opener = Callable[..., AbstractAsyncContextManager[tuple[App, Cloud]]]


@pytest.fixture
def app_on(database: Engine) -> Opener:
    """Opens an app on a sandbox of the test's own."""

    @asynccontextmanager
    async def open_(*options: str) -> AsyncIterator[tuple[App, Cloud]]:
        with running_sandbox("--boot", "0.1:0.2", *options) as cloud:
            async with App(engine=database, settings=settings_of(cloud, **QUICK)) as app:
                await create_user(database, "Adam")
                yield app, cloud

    return open_


async def test_a_public_address_that_comes_late_is_waited_for(app_on: Opener, one: Layout) -> None:
    async with app_on("--late-addresses", "1") as (app, _):
        result = await actions.launch_async([one], app=app)
        assert (result.ok, result.warnings) == (True, ())
        assert (await only_node(app)).public_ip


async def test_a_network_that_gives_no_public_address_is_told_at_launch(
    app_on: Opener, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogc_async.actions.watch.ADDRESS_S", 0.2)
    async with app_on("--late-addresses", "1000000") as (app, _):
        layouts = [on("aws", layout), on("google", layout), on("aws", layout, name="inside", address="private")]
        result = await actions.launch_async(layouts, app=app)
        assert len(result) == 3
        assert [(type(each.error), each.layout) for each in result.warnings] == [
            (NoPublicAddress, "on-aws"),
            (NoPublicAddress, "on-google"),
        ]
        assert "address: private" in str(result.warnings[0].error)


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("one", ["google"], indirect=True)
async def test_a_stopped_machine_is_told_by_a_reap_and_its_end_can_be_put_off(
    app: App, one: Layout, cloud: Cloud
) -> None:
    """Compute Engine moves the end of a machine that stands still, and refuses to of one that runs."""
    node_id = await actions.launch_async(Layout.from_dict(one.as_dict() | {"ttl": "2h"}), app=app)
    node = await only_node(app)
    with pytest.raises(InvalidRequest, match="stop it, move its end, and start it again"):
        await actions.extend_async(node_id, 3600, app=app)
    assert (await only_node(app)).ends_at == node.ends_at

    await press(cloud, node, "stop")
    mine = [each for each in (await actions.reap_async(dry_run=True, app=app)).finds if each.id == node.instance_id]
    assert [(each.kind, each.command) for each in mine] == [(FindKind.STOPPED, f"ogc rm {node.name}")]
    await actions.sync_async(app=app)
    extended = await actions.extend_async(node_id, 3600, app=app)
    assert node.ends_at is not None
    assert extended.ends_at == node.ends_at + timedelta(hours=1)
    await actions.teardown_async(node_id, app=app)
