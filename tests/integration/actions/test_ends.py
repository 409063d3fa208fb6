"""Nodes whose machines end: on record from before the launch on, meant or not, and never made up for by mistake."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ogc_async import actions
from ogc_async.actions.claims import Claim
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import ChangeKind, EndedBy, InstanceState, NodeSnapshot, NodeState, Then, Ttl
from tests.integration.actions.test_doubts import Doomed, memory, on_record, spec_of, write

__all__ = ["memory"]

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NEAR = timedelta(minutes=2)


def living(layout: Layout, then: Then = Then.END, **changes: Any) -> Layout:
    given = {"scripts": None, "region": "memory-1", "name": "web", "ttl": Ttl.of(HOUR, then)}
    return layout.model_copy(update=given | changes)


async def pass_away(app: App, memory: MemoryProvider, node: NodeSnapshot, *, is_gone: bool = True) -> None:
    """The hour is over; the machine is gone by then, or stands."""
    await write(app, [node.id], ends_at=datetime.now(UTC) - timedelta(minutes=10))
    if is_gone:
        there = memory.instances[str(node.instance_id)]
        memory.instances[there.id] = replace(there, state=InstanceState.TERMINATED)


async def sync(app: App, layout: Layout) -> list[ChangeKind]:
    result = await actions.sync_async(spec_of(layout), app=app)
    assert result.ok, result.failures
    return [change.kind for change in result.plan.changes]


async def test_an_end_is_on_record_before_the_launch_and_is_what_the_machine_is_told(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    before = datetime.now(UTC)
    (node_id,) = await actions.launch_async([living(layout)], app=cloudless)
    (request,) = memory.asked
    latest = timedelta(seconds=cloudless.settings.ogc_boot_timeout_s)
    assert request.ttl == HOUR
    assert request.ends_at is not None
    assert before + HOUR <= request.ends_at <= datetime.now(UTC) + HOUR + latest + NEAR
    (node,) = await on_record(cloudless)
    assert node.id == node_id
    assert node.ends_at is not None
    assert before + HOUR - NEAR <= node.ends_at <= min(request.ends_at, datetime.now(UTC) + HOUR + NEAR)
    assert node.launch_id is not None
    assert (node.ended_at, node.ended_by) == (None, None)


@pytest.mark.parametrize(("launched_ago", "left"), [(timedelta(0), HOUR), (timedelta(minutes=50), HOUR - 35 * MINUTE)])
async def test_a_life_begins_when_its_machine_is_seen_to_run_or_a_while_after_its_launch(
    cloudless: App, memory: MemoryProvider, layout: Layout, launched_ago: timedelta, left: timedelta
) -> None:
    """However long the launch call had to wait for its turn; and however late somebody came to look."""
    start = memory._start

    def started(*asked: Any) -> Any:
        machine = replace(start(*asked), launched_at=datetime.now(UTC) - launched_ago)
        memory.instances[machine.id] = machine
        return machine

    memory._start = started  # type: ignore[method-assign]
    cloudless.settings = cloudless.settings.model_copy(update={"ogc_boot_timeout_s": 0.5})
    cloudless.providers = memory.pool(cloudless.settings)
    (node_id,) = await actions.launch_async([living(layout)], app=cloudless)
    (node,) = [each for each in await on_record(cloudless) if each.id == node_id]
    assert node.ends_at is not None
    assert abs(node.ends_at - (datetime.now(UTC) + left)) < NEAR
    assert node.ends_at.tzinfo is UTC


async def test_an_end_that_was_put_off_after_the_look_keeps_its_machine(
    cloudless: App, memory: MemoryProvider, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await actions.launch_async([living(layout)], app=cloudless)
    (node,) = await on_record(cloudless)
    await pass_away(cloudless, memory, node, is_gone=False)
    take = Claim.take

    async def extended_first(claim: Claim, *asked: Any) -> Any:
        await write(cloudless, [node.id], ends_at=datetime.now(UTC) + HOUR)
        return await take(claim, *asked)

    monkeypatch.setattr(Claim, "take", extended_first)
    await actions.sync_async(spec_of(living(layout)), app=cloudless)
    (node,) = await on_record(cloudless)
    assert node.state is NodeState.RUNNING
    assert memory.instances[str(node.instance_id)].state is InstanceState.RUNNING


async def test_syncs_from_cron_make_as_many_machines_as_the_scale_says(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    await actions.launch_async([living(layout, scale=2)], app=cloudless)
    first, _ = await on_record(cloudless)
    await pass_away(cloudless, memory, first)
    assert await sync(cloudless, living(layout, scale=2)) == [ChangeKind.EXPIRE]
    for _ in range(4):
        assert await sync(cloudless, living(layout, scale=2)) == []
    assert len(memory.instances) == 2
    ended, other = await on_record(cloudless)
    assert (ended.state, ended.ended_by, other.state) == (NodeState.TERMINATED, EndedBy.TTL, NodeState.RUNNING)
    assert ended.ended_at is not None
    assert ended.ended_at <= datetime.now(UTC)
    assert await sync(cloudless, living(layout, scale=3)) == [ChangeKind.ADD]
    (added,) = [node for node in await on_record(cloudless) if node.id > other.id]
    assert added.launch_id is None, "nobody asked for it but the scale"


async def test_a_launch_anew_owes_nothing_to_the_one_before(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    for _ in range(2):
        await actions.launch_async([living(layout, scale=2)], app=cloudless)
        for node in await actions.nodes_async(app=cloudless):
            if node.state is NodeState.RUNNING:
                await pass_away(cloudless, memory, node)
        assert await sync(cloudless, living(layout, scale=2)) == [ChangeKind.EXPIRE] * 2
    await actions.launch_async([living(layout, scale=2)], app=cloudless)
    lost = max(await on_record(cloudless), key=lambda node: node.id)
    del memory.instances[str(lost.instance_id)]
    assert await sync(cloudless, living(layout, scale=2)) == [ChangeKind.LOSE, ChangeKind.ADD]


async def test_a_node_that_is_to_be_replaced_is_replaced_once(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    wanted = living(layout, Then.REPLACE)
    await actions.launch_async([wanted], app=cloudless)
    await pass_away(cloudless, memory, (await on_record(cloudless))[0])
    assert await sync(cloudless, wanted) == [ChangeKind.EXPIRE, ChangeKind.ADD]
    assert await sync(cloudless, wanted) == []


async def test_a_machine_that_outlives_its_end_is_ended_without_a_session(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    wanted = living(layout, artifacts=("report.txt",))
    await actions.launch_async([wanted], app=cloudless)
    (node,) = await on_record(cloudless)
    await pass_away(cloudless, memory, node, is_gone=False)
    assert await sync(cloudless, wanted) == [ChangeKind.OVERDUE]
    (node,) = await on_record(cloudless)
    assert (node.state, node.ended_by) == (NodeState.TERMINATED, EndedBy.TTL)
    assert node.reason == "its time to live was over; its artifacts were not fetched"
    assert memory.instances[str(node.instance_id)].state is InstanceState.TERMINATED
    assert await sync(cloudless, wanted) == []


@pytest.mark.parametrize("is_over", [True, False], ids=["over", "gone before its time"])
async def test_rm_of_a_node_whose_machine_is_gone_needs_no_session(
    cloudless: App, memory: MemoryProvider, layout: Layout, is_over: bool
) -> None:
    wanted = living(layout, artifacts=("report.txt",))
    (node_id,) = await actions.launch_async([wanted], app=cloudless)
    (node,) = await on_record(cloudless)
    if is_over:
        await pass_away(cloudless, memory, node)
    else:
        del memory.instances[str(node.instance_id)]
    result = await actions.teardown_async([node_id], app=cloudless)
    assert result.ok, result.failures
    (node,) = await on_record(cloudless)
    assert node.ended_by is (EndedBy.TTL if is_over else EndedBy.US)


async def test_each_way_to_end_is_on_record_with_its_moment(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    wanted = living(layout, scale=3)
    await actions.launch_async([wanted], app=cloudless)
    removed, let_go, lost = await on_record(cloudless)
    await actions.teardown_async([removed.id], app=cloudless)
    await actions.teardown_async([let_go.id], only_db=True, app=cloudless)
    # Its firewall would be waited for as long as it runs.
    del memory.instances[str(let_go.instance_id)]
    kept = memory.instances.pop(str(lost.instance_id))
    await actions.sync_async(spec_of(wanted.model_copy(update={"scale": 0})), app=cloudless)
    memory.dying = Doomed("Server.InternalError: an error of its own")
    assert not (await actions.launch_async([living(layout)], app=cloudless)).ok
    removed, let_go, lost, failed = await on_record(cloudless)
    assert [node.ended_by for node in (removed, let_go, lost, failed)] == [
        EndedBy.US,
        None,
        EndedBy.LOST,
        EndedBy.CLOUD,
    ]
    assert [node.ended_at is not None for node in (removed, let_go, lost, failed)] == [True, False, True, True]
    memory.instances[kept.id] = kept
    await actions.sync_async(spec_of(wanted), app=cloudless)
    (back,) = [node for node in await on_record(cloudless) if node.id == lost.id]
    assert (back.state, back.ended_at, back.ended_by) == (NodeState.RUNNING, None, None), "it has not ended after all"


async def test_what_the_cloud_gave_is_on_record_and_not_what_was_wished_for(
    cloudless: App, memory: MemoryProvider, layout: Layout
) -> None:
    await actions.launch_async([living(layout)], app=cloudless)
    (node,) = await on_record(cloudless)
    ends_at = datetime.now(UTC) + 2 * HOUR
    told = replace(memory.instances[str(node.instance_id)], size="m5.large", ends_at=ends_at)
    memory.instances[told.id] = told
    assert await sync(cloudless, living(layout)) == []
    (node,) = await on_record(cloudless)
    assert (node.size, node.ends_at) == ("m5.large", ends_at), "an end that was moved from outside is followed"
