"""The end of nodes: artifacts, teardown script, machine, confirmation, row, then what the layout had of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user, current_user
from ogc_async.errors import (
    DeadlineExceeded,
    MissingCredentials,
    RemoteError,
    ScriptsError,
    TransferFailed,
    Unauthorized,
)
from ogc_async.events import Event, NodeMoved, StepFinished
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import DescribeRequest, Instance, InstanceState, NodeState
from tests.cloud import Cloud, running_sandbox
from tests.integration.actions.common import changed, end_machine, recorded


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Artifacts go below the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def own_cloud() -> Iterator[Cloud]:
    """A sandbox whose faults meet nobody else's calls."""
    with running_sandbox("--boot", "0.1:0.2") as cloud:
        yield cloud


@pytest.fixture
async def own_app(own_cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    values = {name.lower(): value for name, value in own_cloud.environment.items()}
    settings = Settings(_env_file=None, ogc_poll_s=0.1, ogc_api_retry_s=20, ogc_ssh_timeout_s=30, **values)
    async with App(engine=database, settings=settings) as app:
        await create_user(database, "Adam")
        yield app


def plan_fault(cloud: Cloud, fault: str) -> None:
    assert cloud.plan(fault) == 1


async def scope_of(app: App) -> str:
    assert app.engine is not None
    return (await current_user(app.engine)).scope


async def living(app: App, cloud: Cloud) -> list[str]:
    return [each["id"] for each in cloud.living(await scope_of(app))]


async def states(app: App) -> list[NodeState]:
    return [node.state for node in await actions.nodes_async(app=app)]


async def leftovers(app: App, cloud: Cloud) -> list[str]:
    """Key pairs and firewalls that carry this database's scope in their names."""
    state, mark = cloud.state(), (await scope_of(app))[:8]
    return [name for name in (*state["key_pairs"], *state["firewalls"]) if mark in name]


async def test_artifacts_come_first_then_the_script_then_the_end(
    app: App, layout: Layout, scripts_folder: Path, tmp_path: Path
) -> None:
    (scripts_folder / "teardown.sh.mako").write_text(
        "#!/bin/sh\nrm -r ../out && echo bye from ${node.name}, one of ${len(nodes)}\n"
    )
    spec = changed(layout, scale=2, artifacts=["out/*.log", "out/data", "never-made"])
    node_ids = await actions.launch_async([spec], app=app)
    data = bytes(range(256))
    command = r"""mkdir -p out/data/deep && echo log of $OGC_NODE_NAME > out/a.log && echo x > out/not-asked
        for i in $(seq 0 255); do printf "\\$(printf %03o $i)"; done > out/data/deep/all.bin"""
    assert all(await actions.exec_async(node_ids, command, app=app))
    events: list[Event] = []
    with app.events.subscribed(events.append):
        assert await actions.teardown_async(node_ids[0], app=app) == node_ids[0]
    first, second = await actions.nodes_async(app=app)
    assert (first.state, second.state) == (NodeState.TERMINATED, NodeState.RUNNING)
    fetched = tmp_path / "artifacts" / first.name / "out"
    assert (fetched / "a.log").read_text() == f"log of {first.name}\n"
    assert (fetched / "data" / "deep" / "all.bin").read_bytes() == data
    assert not (fetched / "not-asked").exists()
    story = [
        event.state if isinstance(event, NodeMoved) else event.result.text
        for event in events
        if isinstance(event, NodeMoved | StepFinished)
    ]
    assert story == [f"bye from {first.name}, one of 2\n", "terminating", "terminated"]
    assert [(row.kind, row.script, row.exit_code) for row in await recorded(app, first.id)] == [
        ("exec", command, 0),
        ("teardown", "teardown.sh.mako", 0),
    ]


async def test_a_teardown_script_that_fails_keeps_its_machine_and_force_removes_it(
    app: App, layout: Layout, scripts_folder: Path, cloud: Cloud
) -> None:
    (scripts_folder / "teardown.sh.mako").write_text(
        "#!/bin/sh\nexit ${5 if node.id == min(each.id for each in nodes) else 0}\n"
    )
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    result = await actions.teardown_async(node_ids, app=app)
    assert (list(result), [each.node_id for each in result.failures]) == ([node_ids[1]], [node_ids[0]])
    assert not result.ok
    says = r"teardown\.sh\.mako: failed with exit code 5; .* by force"
    with pytest.raises(RemoteError, match=says):
        result.raise_for_failures()
    assert await states(app) == [NodeState.RUNNING, NodeState.TERMINATED]
    (kept, _) = await actions.nodes_async(app=app)
    assert await living(app, cloud) == [kept.instance_id]
    with pytest.raises(RemoteError, match=says):
        await actions.teardown_async(node_ids[0], app=app)
    assert await actions.exec_async(node_ids[0], "true", app=app)
    assert await actions.teardown_async(node_ids[0], force=True, app=app) == node_ids[0]
    assert await living(app, cloud) == []
    assert [row.exit_code for row in await recorded(app, node_ids[0]) if row.kind == "teardown"] == [5, 5]


async def test_a_teardown_script_that_is_killed_is_told_so(app: App, layout: Layout, scripts_folder: Path) -> None:
    (scripts_folder / "teardown.sh").write_text("kill -9 $$")
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(RemoteError, match=r"teardown\.sh: killed;"):
        await actions.teardown_async(node_id, app=app)


async def test_artifacts_that_can_not_be_fetched_keep_the_machine_and_its_script_waits(
    app: App, layout: Layout, scripts_folder: Path, cloud: Cloud
) -> None:
    (scripts_folder / "teardown.sh").write_text("echo never")
    node_id = await actions.launch_async(changed(layout, artifacts=["pipe"]), app=app)
    assert await actions.exec_async(node_id, "mkfifo pipe", app=app)
    with pytest.raises(TransferFailed, match="pipe"):
        await actions.teardown_async(node_id, app=app)
    assert len(await living(app, cloud)) == 1
    assert [row.kind for row in await recorded(app, node_id)] == ["exec"]


async def test_a_script_folder_that_went_away_keeps_its_own_nodes_and_no_others(
    app: App, layout: Layout, tmp_path: Path, cloud: Cloud
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "1.sh").write_text("true")
    specs = [changed(layout, name="gone", scripts=str(gone)), layout.as_dict()]
    node_ids = await actions.launch_async(specs, app=app)
    (gone / "1.sh").unlink()
    result = await actions.teardown_async(node_ids, app=app)
    assert list(result) == [node_ids[1]]
    assert [(each.node_id, type(each.error)) for each in result.failures] == [(node_ids[0], ScriptsError)]
    assert len(await living(app, cloud)) == 1
    assert await actions.teardown_async(node_ids[0], force=True, app=app) == node_ids[0]


async def test_only_db_leaves_the_machine_in_the_cloud(
    app: App, layout: Layout, scripts_folder: Path, cloud: Cloud
) -> None:
    (scripts_folder / "teardown.sh").write_text("exit 1")
    node_id = await actions.launch_async(changed(layout, artifacts=["x"]), app=app)
    (node,) = await actions.nodes_async(app=app)
    assert await actions.teardown_async(node_id, only_db=True, app=app) == node_id
    assert await states(app) == [NodeState.TERMINATED]
    assert await living(app, cloud) == [node.instance_id]
    assert len(await leftovers(app, cloud)) == 2
    assert await recorded(app, node_id) == []


@pytest.mark.parametrize("script", [None, "echo bye"])
async def test_a_machine_ended_behind_our_back_is_torn_down_with_the_others(
    script: str | None, app: App, layout: Layout, scripts_folder: Path, cloud: Cloud
) -> None:
    if script:
        (scripts_folder / "teardown.sh").write_text(script)
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    first, _ = await actions.nodes_async(app=app)
    await end_machine(cloud, first.instance_id)
    result = await actions.teardown_async(node_ids, app=app)
    assert (list(result), result.failures, result.leftovers) == (node_ids, (), ())
    assert await states(app) == [NodeState.TERMINATED] * 2


async def test_the_end_of_everything_leaves_nothing_behind(own_app: App, own_cloud: Cloud, layout: Layout) -> None:
    homes = own_cloud.state()["homes"]
    specs = [changed(layout, name="web", scale=2), changed(layout, name="db", ports=["5432"])]
    node_ids = await actions.launch_async(specs, app=own_app)
    assert all(await actions.deploy_async(node_ids, app=own_app))
    assert len(await leftovers(own_app, own_cloud)) == 4
    assert own_cloud.state()["homes"] == homes + 3
    result = await actions.teardown_async(node_ids[:1], app=own_app)
    assert len(await leftovers(own_app, own_cloud)) == 4
    result = await actions.teardown_async(node_ids, app=own_app)
    assert (list(result), result.failures, result.leftovers) == (node_ids, (), ())
    assert await leftovers(own_app, own_cloud) == []
    assert await living(own_app, own_cloud) == []
    assert own_cloud.state()["homes"] == homes
    nodes = await actions.nodes_async(app=own_app)
    assert all(node.state is NodeState.TERMINATED and node.terminated_at is not None for node in nodes)


async def test_a_lost_reply_of_the_end_is_asked_again_and_ends_well(
    own_app: App, own_cloud: Cloud, layout: Layout
) -> None:
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=own_app)
    before = own_cloud.calls().get("TerminateInstances", 0)
    plan_fault(own_cloud, "TerminateInstances=lost-reply")
    result = await actions.teardown_async(node_ids, app=own_app)
    assert (list(result), result.failures, result.leftovers) == (node_ids, (), ())
    assert own_cloud.calls()["TerminateInstances"] == before + 2
    assert await living(own_app, own_cloud) == []
    assert await states(own_app) == [NodeState.TERMINATED] * 2


async def test_a_refused_end_leaves_the_row_unended_until_it_is_asked_for_again(
    own_app: App, own_cloud: Cloud, layout: Layout
) -> None:
    node_id = await actions.launch_async(layout, app=own_app)
    plan_fault(own_cloud, "TerminateInstances=UnauthorizedOperation")
    with pytest.raises(Unauthorized):
        await actions.teardown_async(node_id, app=own_app)
    assert await states(own_app) == [NodeState.TERMINATING]
    assert len(await living(own_app, own_cloud)) == 1
    assert len(await leftovers(own_app, own_cloud)) == 2
    assert await actions.teardown_async(node_id, app=own_app) == node_id
    assert await living(own_app, own_cloud) == []
    assert await leftovers(own_app, own_cloud) == []


async def test_a_firewall_that_may_not_be_removed_is_a_leftover_and_its_node_is_gone(
    own_app: App, own_cloud: Cloud, layout: Layout
) -> None:
    node_ids = await actions.launch_async([layout], app=own_app)
    plan_fault(own_cloud, "DeleteSecurityGroup=UnauthorizedOperation")
    result = await actions.teardown_async(node_ids, app=own_app)
    assert (list(result), result.failures) == (node_ids, ())
    assert [type(each) for each in result.leftovers] == [Unauthorized]
    again = await actions.teardown_async(node_ids, app=own_app)
    assert (list(again), again.leftovers) == (node_ids, ())
    assert await leftovers(own_app, own_cloud) == []


async def test_credentials_that_are_missing_for_what_is_left_are_a_leftover_too(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    await actions.teardown_async(node_id, only_db=True, app=app)
    assert app.engine is not None
    settings = app.settings.model_copy(update={"aws_access_key_id": None, "aws_secret_access_key": None})
    async with App(engine=app.engine, settings=settings) as poor:
        result = await actions.teardown_async([node_id], app=poor)
        assert list(result) == [node_id]
        assert [type(each) for each in result.leftovers] == [MissingCredentials]


class Immortal(MemoryProvider):
    """A cloud whose machines run on, whatever it is asked."""

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        seen = await super().describe(request)
        return {key: replace(each, state=InstanceState.RUNNING) for key, each in seen.items()}


async def test_how_long_a_machine_may_take_to_end_is_its_layouts_to_say(database: Engine, layout: Layout) -> None:
    settings = Settings(_env_file=None, ogc_poll_s=0.01, aws_region="memory-1")
    async with App(engine=database, settings=settings) as app:
        app.providers = Immortal().pool(settings)
        await create_user(database, "Adam")
        node_id = await actions.launch_async(changed(layout, timeouts={"terminate": 1}), app=app)
        with pytest.raises(DeadlineExceeded, match="still on record"):
            await actions.teardown_async(node_id, force=True, app=app)
        assert await states(app) == [NodeState.TERMINATING]
