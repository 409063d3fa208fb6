"""Host keys given to EC2's machines at their launch: on record before anything is asked, and the only ones trusted."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio.to_thread import run_sync

from ogc_async import actions
from ogc_async.actions.batching import Order, batching_of
from ogc_async.actions.claims import claiming
from ogc_async.actions.context import open_context
from ogc_async.actions.preflight import check_layouts
from ogc_async.db import Engine
from ogc_async.db.models import Base
from ogc_async.db.nodes import set_usernames
from ogc_async.db.users import create_user
from ogc_async.errors import HostKeyChanged, ProviderError, ServiceUnavailable
from ogc_async.events import Event, NodeConnected
from ogc_async.plan import offers
from ogc_async.providers.aws import instances
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import ChangeKind, LaunchRequest, NodeSnapshot, NodeState, Prepared
from tests.cloud import Cloud, running_sandbox
from tests.integration.actions.common import changed, recorded, user_data_of, witness
from tests.integration.actions.test_two_clouds import settings_of


@asynccontextmanager
async def app_on(engine: Engine, *options: str, **settings: Any) -> AsyncIterator[App]:
    """An app on a sandbox of the test's own."""
    with running_sandbox("--boot", "0.05:0.1", *options) as cloud:
        async with App(engine=engine, settings=settings_of(cloud, **settings)) as app:
            await create_user(engine, "Adam")
            yield app


def image_named(cloud: Cloud, pattern: str) -> str:
    with witness(cloud) as ec2:
        found = ec2.describe_images(Filters=[{"Name": "name", "Values": [pattern]}])["Images"]
    return str(found[0]["ImageId"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[LaunchRequest]:
    """Every request that EC2 is asked to launch."""
    requests: list[LaunchRequest] = []
    launch = AwsProvider.launch

    async def listen(self: AwsProvider, request: LaunchRequest, prepared: Prepared) -> Any:
        requests.append(request)
        return await launch(self, request, prepared)

    monkeypatch.setattr(AwsProvider, "launch", listen)
    return requests


async def test_a_key_is_on_record_before_the_cloud_is_asked_and_the_first_contact_is_held_to_it(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[NodeSnapshot]] = []
    launch = AwsProvider.launch

    async def look(self: AwsProvider, request: LaunchRequest, prepared: Prepared) -> Any:
        seen.append(await actions.nodes_async(app=app))
        assert request.host_key is not None
        assert {node.host_key for node in seen[-1]} == {request.host_key.public}
        return await launch(self, request, prepared)

    monkeypatch.setattr(AwsProvider, "launch", look)
    result = await actions.launch_async([changed(layout, scale=2)], app=app)
    (before,) = seen
    assert {(node.state, node.instance_id) for node in before} == {(NodeState.LAUNCHING, None)}
    known = await actions.known_hosts_async(app=app)
    nodes = await actions.nodes_async(app=app)
    for node in nodes:
        assert f"[{node.public_ip}]:{node.ssh_port} {node.host_key}\n" in known
    assert all(await actions.exec_async(result, "true", app=app))
    after = await actions.nodes_async(app=app)
    assert [node.host_key for node in after] == [node.host_key for node in before]


async def test_each_call_s_machines_have_a_key_of_their_own(
    app: App, layout: Layout, asked: list[LaunchRequest]
) -> None:
    app.settings = app.settings.model_copy(update={"ogc_launch_batch": 2})
    app.providers = type(app.providers)(app.settings)
    result = await actions.launch_async([changed(layout, scale=4)], app=app)
    keys = {request.host_key.public for request in asked if request.host_key}
    assert (len(asked), len(keys)) == (2, 2)
    nodes = await actions.nodes_async(app=app)
    assert {node.host_key for node in nodes} == keys
    assert {node.token: node.host_key for node in nodes} == {
        request.token: request.host_key.public for request in asked if request.host_key
    }
    assert all(await actions.exec_async(result, "true", app=app))


async def test_a_machine_that_shows_another_key_at_first_contact_is_refused_and_sent_nothing(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # cloud-init passes over what it can not read: the machine comes up with a key of its own.
    monkeypatch.setattr(instances, "user_data", lambda *_given, **_named: "#cloud-config\nssh_keys: [\n")
    node_id = await actions.launch_async(layout, app=app)
    (before,) = await actions.nodes_async(app=app)
    assert before.host_key is not None
    events: list[Event] = []
    with app.events.subscribed(events.append), pytest.raises(HostKeyChanged, match="on record is SHA256:"):
        await actions.exec_async(node_id, "true", app=app)
    assert not [event for event in events if isinstance(event, NodeConnected)]
    assert await recorded(app, node_id) == []
    (after,) = await actions.nodes_async(app=app)
    assert (after.state, after.host_key) == (NodeState.RUNNING, before.host_key)


@pytest.mark.parametrize("ready", ["ssh", "cloud-init"])
async def test_of_an_image_by_its_own_id_the_layout_says_whether_it_has_cloud_init(
    app: App, layout: Layout, cloud: Cloud, ready: str
) -> None:
    image = await run_sync(image_named, cloud, "ubuntu*noble-24.04-amd64*")
    own = changed(layout, runs_on=image, username="ubuntu", ready=ready)
    node_id = await actions.launch_async(own, app=app)
    (node,) = await actions.nodes_async(app=app)
    assert (node.host_key is not None) == (ready == "cloud-init")
    assert await actions.exec_async(node_id, "true", app=app)
    (met,) = await actions.nodes_async(app=app)
    assert met.host_key is not None
    assert node.host_key in (None, met.host_key)


async def test_windows_has_no_cloud_init_and_its_key_is_pinned_when_it_is_met(
    app: App, layout: Layout, cloud: Cloud
) -> None:
    await actions.launch_async(changed(layout, runs_on="windows-2025", platform="windows"), app=app)
    (node,) = await actions.nodes_async(app=app)
    assert node.host_key is None
    assert await run_sync(user_data_of, cloud, node.instance_id) == ""


async def test_what_goes_on_in_the_next_zone_has_the_next_call_s_key(
    database: Engine, layout: Layout, asked: list[LaunchRequest]
) -> None:
    zones = ["us-east-2a", "us-east-2b"]
    async with app_on(database, "--capacity", "us-east-2a=1") as app:
        result = await actions.launch_async([changed(layout, scale=3, zones=zones)], app=app)
        assert (len(result), result.ok) == (3, True)
        by_zone = {request.zone: request.host_key.public for request in asked if request.host_key}
        nodes = await actions.nodes_async(app=app)
        assert sorted(node.zone or "" for node in nodes) == ["us-east-2a", "us-east-2b", "us-east-2b"]
        assert len(set(by_zone.values())) == 2
        assert all(node.host_key == by_zone[node.zone] for node in nodes)
        assert all(await actions.exec_async(result, "true", app=app))


async def test_a_call_that_lost_its_reply_is_repeated_with_the_same_bytes(
    database: Engine, layout: Layout, asked: list[LaunchRequest]
) -> None:
    # Other bytes under the same token were refused: IdempotentParameterMismatch.
    async with app_on(database, "--fault", "RunInstances=lost-reply") as app:
        result = await actions.launch_async([changed(layout, scale=2, ttl="1h")], app=app)
        assert result.ok, result.failures
        assert len(asked) == 1
        assert all(await actions.exec_async(result, "true", app=app))


async def test_a_process_that_dies_after_its_call_leaves_the_key_to_whoever_adopts_its_machines(
    database: Engine, layout: Layout
) -> None:
    async with app_on(database, ogc_settle_s=0.3, ogc_lease_s=1) as app:
        nodes = await half_launched(app, layout.model_copy(update={"scale": 2}))
        app.spec = Spec(name="test", ssh_keys=layout.ssh_keys, layouts=(layout.model_copy(update={"scale": 2}),))
        result = await actions.sync_async(app=app)
        assert {change.kind for change in result.plan.changes} == {ChangeKind.ADOPT}
        adopted = await actions.nodes_async(app=app)
        assert [(node.id, node.state) for node in adopted] == [(node.id, NodeState.RUNNING) for node in nodes]
        assert len({node.host_key for node in adopted}) == 1
        assert all(await actions.exec_async([node.id for node in adopted], "true", app=app))


async def test_an_adopted_machine_that_shows_another_key_is_refused(
    database: Engine, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "user_data", lambda *_given, **_named: "")
    async with app_on(database, ogc_settle_s=0.3, ogc_lease_s=1) as app:
        (node,) = await half_launched(app, layout)
        assert (await actions.sync_async(Spec(name="t", ssh_keys=layout.ssh_keys, layouts=(layout,)), app=app)).ok
        with pytest.raises(HostKeyChanged):
            await actions.exec_async(node.id, "true", app=app)


async def half_launched(app: App, layout: Layout) -> list[NodeSnapshot]:
    """What a process leaves that dies when its call has taken effect, and has told nobody."""
    context = await open_context(app)
    (checked,) = check_layouts([layout], context)
    async with claiming(context, "launch") as claim:
        order = Order(checked, offers(layout)[0], claim, context.events, count=layout.scale)
        (((batch, nodes),),) = await batching_of(context.engine, context.user).plan([order])
        assert await batch.begin() == {node.id for node in nodes}
        prepared = await checked.provider.prepare(batch.request)
        await set_usernames(context.engine, dict.fromkeys((node.id for node in nodes), prepared.username))
        launched = await checked.provider.launch(batch.request, prepared)
        assert len(launched) == len(nodes)
    return list(nodes)


async def test_an_address_that_comes_to_another_machine_raises_no_alarm(database: Engine, layout: Layout) -> None:
    # A network of two addresses, this process's own: the third machine has the first one's.
    async with app_on(database, "--network", f"127.83.{os.getpid() % 256}.4/30") as app:
        met: list[NodeSnapshot] = []
        for number in range(3):
            node_id = await actions.launch_async(layout, app=app)
            # Where somebody was connected, the system keeps the address back for a minute.
            if number == 2:
                assert await actions.exec_async(node_id, "true", app=app)
            (node,) = await actions.nodes_async(states={NodeState.RUNNING}, app=app)
            met.append(node)
            assert await actions.known_hosts_async(app=app) == "".join(
                f"[{address}]:{node.ssh_port} {node.host_key}\n" for address in (node.public_ip, node.private_ip)
            )
            await actions.teardown_async(node_id, app=app)
        assert met[0].public_ip == met[2].public_ip
        assert len({node.host_key for node in met}) == 3


async def test_the_private_half_is_in_the_user_data_and_nowhere_else(
    app: App,
    layout: Layout,
    cloud: Cloud,
    asked: list[LaunchRequest],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    shown: list[str] = []
    with app.events.subscribed(events.append):
        node_id = await actions.launch_async(layout, app=app)
        result = await actions.deploy_async(node_id, app=app)
        found = await actions.exec_async(node_id, "env; cat ogc/*", app=app)
        (node,) = await actions.nodes_async(app=app)
        with pytest.raises(ProviderError) as caught:
            await refused_launch(app, layout, monkeypatch)
    assert "RunInstances" in caplog.text, "botocore's own log of the call was listened to"
    shown += [caplog.text, repr(result), repr(found), found.output, repr(node), repr(caught.value), str(caught.value)]
    shown += [*map(repr, events), *map(repr, asked), repr(await run_sync(cloud.state))]
    assert app.engine is not None
    async with app.engine.reading() as connection:
        for table in Base.metadata.sorted_tables:
            shown += [repr(row) for row in (await connection.execute(table.select())).all()]
    # Only now: whoever asks EC2 for user data, as this does, has the answer in the same log.
    user_data = await run_sync(user_data_of, cloud, node.instance_id)
    keys = [request.host_key for request in asked if request.host_key is not None]
    assert len(keys) == 2
    for line in keys[0].private.splitlines():
        assert line in user_data
    for secret in secrets_of(user_data, *(key.private for key in keys)):
        assert not [text for text in shown if secret in text], secret


async def refused_launch(app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise ServiceUnavailable("no answer", provider="aws", operation="RunInstances", retryable=False)

    monkeypatch.setattr(instances.Instances, "_run", refuse)
    await actions.launch_async(layout, app=app)


def secrets_of(user_data: str, *private: str) -> list[str]:
    """The private keys' lines, and the user data as it travels, piece by piece."""
    lines = [line for key in private for line in key.splitlines() if not line.startswith("-----")]
    # The first line of every key is the same: it says of what kind it is.
    travelling = base64.b64encode(user_data.encode()).decode()
    pieces = [travelling[start : start + 60] for start in range(0, len(travelling) - 60, 60)]
    return [line for line in lines if len(line) > 3] + pieces + ["OPENSSH PRIVATE KEY"]
