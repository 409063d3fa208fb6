"""What is not known for certain: what a verb does about it, and what it leaves as it is."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import update

from ogc_async import actions, errors
from ogc_async.db.models import Node
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import ChangeKind, Instance, InstanceState, NodeSnapshot, NodeState

LOST_REPLY = errors.ServiceUnavailable("lost", provider="aws", operation="RunInstances", retryable=True)
REFUSED = errors.Unauthorized("not allowed to look", provider="aws", operation="DescribeInstances")
HICCUP = errors.DatabaseUnavailable("a hiccup")


class Doomed(dict[str, str]):
    """Every machine dies of the same reason."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def get(self, key: str, default: object = None) -> Any:
        return self.reason


@pytest.fixture
def memory(cloudless: App) -> MemoryProvider:
    provider = MemoryProvider(max_batch=2)
    cloudless.settings = cloudless.settings.model_copy(update={"ogc_poll_s": 0.01, "ogc_settle_s": 0.01})
    cloudless.providers = provider.pool(cloudless.settings)
    return provider


def of(layout: Layout, **changes: Any) -> Layout:
    return layout.model_copy(update={"scripts": None, "region": "memory-1"} | changes)


def spec_of(*layouts: Layout) -> Spec:
    return Spec(name="test", ssh_keys=layouts[0].ssh_keys, layouts=layouts)


async def on_record(app: App) -> list[NodeSnapshot]:
    return await actions.nodes_async(app=app)


async def write(app: App, node_ids: list[int], **values: Any) -> None:
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(update(Node).where(Node.id.in_(node_ids)).values(**values))


def running(memory: MemoryProvider) -> int:
    return sum(each.state is InstanceState.RUNNING for each in memory.instances.values())


async def test_a_launch_that_nobody_heard_of_is_told_though_spares_fill_the_scale(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    asked, hidden = memory.launch, dict[str, Instance]()

    async def launch(request: Any, prepared: Any) -> Any:
        answers = await asked(request, prepared)
        if not hidden:
            hidden.update({each.id: memory.instances.pop(each.id) for each in answers if isinstance(each, Instance)})
            raise LOST_REPLY
        return answers

    memory.launch = launch  # type: ignore[method-assign]  # the reply to the first call is lost
    result = await actions.launch_async([of(layout, scale=2, spare=2)], app=cloudless)
    assert len(result) == 2
    unheard = {node.id for node in await on_record(cloudless) if node.state is NodeState.LAUNCHING}
    assert {each.node_id for each in result.failures} == unheard
    assert len(unheard) == 2
    memory.instances |= hidden
    removed = await actions.teardown_async([*unheard, *result], app=cloudless)
    assert not removed.failures
    assert running(memory) == 0


@pytest.mark.parametrize("trouble", [HICCUP, LOST_REPLY])
async def test_nothing_that_a_failed_layout_leaves_behind_undoes_anothers_launch(
    cloudless: App, memory: MemoryProvider, layout: Layout, monkeypatch: pytest.MonkeyPatch, trouble: errors.OgcError
) -> None:
    prepared = memory.prepare

    async def prepare(request: Any) -> Any:
        if request.layout == "bad":
            raise errors.InvalidRequest("no such image", provider="aws", operation="DescribeImages")
        return await prepared(request)

    asked: list[str] = []

    async def find_nodes(*_asked: Any, **_more: Any) -> Any:
        asked.append("release")
        raise trouble

    memory.prepare = prepare  # type: ignore[method-assign]  # one layout cannot be launched
    monkeypatch.setattr(import_module("ogc_async.actions.tear_down"), "find_nodes", find_nodes)
    layouts = [of(layout, name="good", scale=2), of(layout, name="bad", scale=1)]
    result = await actions.launch_async(layouts, app=cloudless)
    assert len(result) == 2
    assert [each.layout for each in result.failures] == ["bad"]
    assert asked == ["release"]
    assert running(memory) == 2


async def test_a_launch_whose_machines_all_died_takes_back_what_it_made(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.dying = Doomed("Server.InternalError: disk")
    result = await actions.launch_async([of(layout, scale=2)], app=cloudless)
    assert {type(each.error) for each in result.failures} == {errors.InstanceDied}
    assert memory.calls["release"] == 1


async def test_who_may_not_look_may_still_end_what_is_known_by_its_id(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    ids = list(await actions.launch_async([of(layout, scale=3)], app=cloudless))
    await write(cloudless, ids[:1], account=None)
    memory.refusals["describe"] = [REFUSED] * 50
    removed = await actions.teardown_async(ids, force=True, app=cloudless)
    assert list(removed) == []
    assert {type(each.error) for each in removed.failures} == {errors.OutcomeUnknown}
    assert running(memory) == 0
    memory.refusals.clear()
    assert list(await actions.teardown_async(ids, force=True, app=cloudless)) == ids


async def test_a_lost_nodes_machine_is_ended_with_it(cloudless: App, memory: MemoryProvider, layout: Layout) -> None:
    ids = list(await actions.launch_async([of(layout, scale=2)], app=cloudless))
    await write(cloudless, ids, state=str(NodeState.LOST))
    memory.instances.pop("i-00000000000000001")
    assert list(await actions.teardown_async(ids, app=cloudless)) == ids
    assert running(memory) == 0
    assert {node.state for node in await on_record(cloudless)} == {NodeState.TERMINATED}


async def test_a_lost_nodes_stopped_machine_is_not_ended_by_a_sync(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    one = of(layout, scale=1)
    ids = list(await actions.launch_async([one], app=cloudless))
    await write(cloudless, ids, state=str(NodeState.LOST))
    (instance_id,) = memory.instances
    memory.instances[instance_id] = replace(memory.instances[instance_id], state=InstanceState.STOPPED)
    synced = await actions.sync_async(spec_of(one), app=cloudless)
    assert [change.kind for change in synced.plan.changes] == [ChangeKind.HALT]
    assert [node.state for node in await on_record(cloudless)] == [NodeState.STOPPED]
    assert memory.instances[instance_id].state is InstanceState.STOPPED


async def test_old_rows_in_doubt_cost_no_node_that_is_well(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    three = of(layout, scale=3)
    old = list(await actions.launch_async([three], app=cloudless))
    memory.instances.clear()
    for node_id in old:
        await write(cloudless, [node_id], account=None, instance_id=f"i-of-old-{node_id}")
    new = list(await actions.launch_async([three], app=cloudless))
    synced = await actions.sync_async(spec_of(three), app=cloudless)
    assert not synced.ok
    assert not synced.plan.changes
    assert running(memory) == 3
    assert list(await actions.teardown_async(old, only_db=True, app=cloudless)) == old
    assert (await actions.sync_async(spec_of(three), app=cloudless)).ok
    assert [node.id for node in await on_record(cloudless) if node.state is NodeState.RUNNING] == new


async def test_a_machine_that_the_cloud_shows_as_ended_is_gone_however_young(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    cloudless.settings = cloudless.settings.model_copy(update={"ogc_settle_s": 60.0})
    cloudless.providers = memory.pool(cloudless.settings)
    ids = list(await actions.launch_async([of(layout, scale=1)], app=cloudless))
    await write(cloudless, ids, state=str(NodeState.LAUNCHING), running_at=None)
    (instance_id,) = memory.instances
    memory.instances[instance_id] = replace(memory.instances[instance_id], state=InstanceState.TERMINATED)
    assert list(await actions.teardown_async(ids, force=True, app=cloudless)) == ids


async def test_a_machine_that_is_taken_back_between_look_and_reap_is_not_ended(
    cloudless: App, memory: MemoryProvider, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two syncs at once: the other one takes a node back after this one has read the rows."""
    one = of(layout, scale=1)
    ids = list(await actions.launch_async([one], app=cloudless))
    await write(cloudless, ids, state=str(NodeState.FAILED))
    ending = import_module("ogc_async.actions.ending")
    find = ending.find_standing

    async def find_standing(engine: Any, instance_ids: Any) -> set[str]:
        await write(cloudless, ids, state=str(NodeState.RUNNING))
        found: set[str] = await find(engine, instance_ids)
        return found

    monkeypatch.setattr(ending, "find_standing", find_standing)
    synced = await actions.sync_async(spec_of(of(layout, scale=0)), app=cloudless)
    assert [change.kind for change in synced.plan.changes] == [ChangeKind.REAP]
    assert synced.failures == ()
    assert [each.state for each in memory.instances.values()] == [InstanceState.RUNNING]
