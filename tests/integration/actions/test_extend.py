"""A node's end is put off on record, in its machine and with its cloud, or stays as it was everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ogc_async import actions, errors
from ogc_async.db.models import Node
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.providers.pool import ProviderPool
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import InstanceState, NodeSnapshot, NodeState

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
SOON = NOW + HOUR
REFUSED = errors.InvalidRequest("refused", provider="aws", operation="CreateTags")
LOST = errors.ServiceUnavailable("lost", provider="aws", operation="CreateTags", retryable=True)


class Movable(MemoryProvider):
    """Its cloud keeps machines' ends, and the machines do not."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, datetime] = {}

    def end_command(self, seconds: int) -> str:
        return ""

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        self._take("move_end")
        self.ends[instance_id] = ends_at


@pytest.fixture
def memory(cloudless: App) -> Movable:
    provider = Movable()
    cloudless.settings = cloudless.settings.model_copy(update={"ogc_poll_s": 0.01, "ogc_settle_s": 0.01})
    cloudless.providers = provider.pool(cloudless.settings)
    return provider


async def launched(app: App, layout: Layout, scale: int = 1) -> list[int]:
    of = layout.model_copy(update={"scripts": None, "region": "memory-1", "scale": scale})
    return list(await actions.launch_async([of], app=app))


async def write(app: App, node_ids: Iterable[int], **values: Any) -> None:
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(update(Node).where(Node.id.in_(list(node_ids))).values(**values))


async def on_record(app: App) -> dict[int, NodeSnapshot]:
    return {node.id: node for node in await actions.nodes_async(app=app)}


async def test_the_end_moves_on_record_and_with_the_cloud_from_where_it_was_or_from_now(
    cloudless: App, memory: Movable, layout: Layout
) -> None:
    young, over = await launched(cloudless, layout, 2)
    await write(cloudless, [young], ends_at=SOON)
    await write(cloudless, [over], ends_at=NOW - HOUR)
    result = await actions.extend_async([young, over], 2 * HOUR, app=cloudless)
    assert (result, result.failures) == ([young, over], ())
    nodes = await on_record(cloudless)
    assert nodes[young].ends_at == SOON + 2 * HOUR
    end = nodes[over].ends_at
    assert end is not None
    assert timedelta() <= end - (datetime.now(UTC) + 2 * HOUR - timedelta(minutes=1)) <= timedelta(minutes=1)
    assert memory.ends == {node.instance_id: node.ends_at for node in nodes.values()}
    assert [node.ends_at for node in result.nodes] == [nodes[young].ends_at, end]
    assert not any(node.is_held() for node in nodes.values())


async def test_one_node_is_answered_with_its_record_and_seconds_are_a_time_too(
    cloudless: App, memory: Movable, layout: Layout
) -> None:
    (node_id,) = await launched(cloudless, layout)
    await write(cloudless, [node_id], ends_at=SOON)
    assert (await actions.extend_async(node_id, 60, app=cloudless)).ends_at == SOON + timedelta(minutes=1)
    with pytest.raises(errors.SettingsError, match="puts no end off"):
        await actions.extend_async(node_id, 0, app=cloudless)


async def test_each_node_whose_end_cannot_be_put_off_says_why_and_keeps_no_other_from_it(
    cloudless: App, memory: Movable, layout: Layout
) -> None:
    well, endless, gone, planned, far = await launched(cloudless, layout, 5)
    machines = {key: str(node.instance_id) for key, node in (await on_record(cloudless)).items()}
    await write(cloudless, [well, planned], ends_at=SOON)
    await write(cloudless, [gone], ends_at=datetime.now(UTC) - HOUR)
    await write(cloudless, [far], ends_at=NOW + timedelta(days=119))
    await write(cloudless, [planned], state=str(NodeState.PLANNED))
    dead = memory.instances[machines[gone]]
    memory.instances[dead.id] = replace(dead, state=InstanceState.TERMINATED)
    result = await actions.extend_async([endless, well, gone, planned, far], 2 * 24 * HOUR, app=cloudless)
    assert result == [well]
    told = {each.node_id: (type(each.error), str(each.error)) for each in result.failures}
    assert told[endless][0] is errors.CannotExtend
    assert "`ttl` in its layout" in told[endless][1]
    assert "its time was over 1h ago, and its machine has ended" in told[gone][1]
    assert told[planned][0] is errors.NotRunning
    assert "extend it by 1d" in told[far][1] or "extend it by 23h" in told[far][1]
    assert memory.ends.keys() == {machines[well]}


@pytest.mark.parametrize(("answer", "stays"), [(REFUSED, True), (LOST, False)], ids=["refused", "unheard"])
async def test_a_cloud_that_refuses_gives_the_row_its_old_end_back_and_silence_keeps_the_later_one(
    cloudless: App, memory: Movable, layout: Layout, answer: errors.ProviderError, stays: bool
) -> None:
    """Where the machine may have heard of its new end, a row with the old one would have it ended early."""
    (node_id,) = await launched(cloudless, layout)
    await write(cloudless, [node_id], ends_at=SOON)
    memory.refusals["move_end"] = [answer]
    with pytest.raises(type(answer)):
        await actions.extend_async(node_id, HOUR, app=cloudless)
    assert (await on_record(cloudless))[node_id].ends_at == (SOON if stays else SOON + HOUR)


async def test_a_machine_that_stands_still_needs_only_its_cloud_where_that_keeps_its_end(
    cloudless: App, memory: Movable, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node_id,) = await launched(cloudless, layout)
    await write(cloudless, [node_id], ends_at=SOON, state=str(NodeState.STOPPED))
    assert (await actions.extend_async(node_id, HOUR, app=cloudless)).ends_at == SOON + HOUR
    memory.refusals["move_end"] = [REFUSED]
    with pytest.raises(errors.InvalidRequest):
        await actions.extend_async(node_id, HOUR, app=cloudless)
    assert (await on_record(cloudless))[node_id].ends_at == SOON + HOUR
    monkeypatch.setattr(memory, "end_command", lambda _seconds: "true")
    with pytest.raises(errors.NotRunning):
        await actions.extend_async(node_id, HOUR, app=cloudless)


async def test_a_call_that_is_cancelled_takes_back_the_ends_of_nodes_that_nothing_was_told_of(
    cloudless: App, memory: Movable, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one that may have heard of its new end, the later one stays on record."""
    ids = await launched(cloudless, layout, 2)
    await write(cloudless, ids, ends_at=SOON)
    told, is_told = list[str](), asyncio.Event()

    async def move_end(instance_id: str, ends_at: datetime) -> None:
        told.append(instance_id)
        is_told.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(memory, "move_end", move_end)
    cloudless.settings = cloudless.settings.model_copy(update={"ogc_max_nodes": 1})
    cloudless.providers = memory.pool(cloudless.settings)
    call = asyncio.create_task(actions.extend_async(ids, HOUR, app=cloudless))
    await asyncio.wait_for(is_told.wait(), 30)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    ends = {str(node.instance_id): node.ends_at for node in (await on_record(cloudless)).values()}
    (heard,) = told
    assert ends.pop(heard) == SOON + HOUR
    assert list(ends.values()) == [SOON]


class Telling(AwsProvider):
    """Its machines keep their ends by a file of theirs; its cloud refuses to hear of any."""

    refuses = False

    def end_command(self, seconds: int) -> str:
        return f"echo {seconds} >>ends; test ! -e full"

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        if self.refuses:
            raise REFUSED


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_machine_is_told_how_long_it_lives_and_told_otherwise_where_its_cloud_refuses(
    app: App, layout: Layout
) -> None:
    app.providers = ProviderPool(app.settings, opener=lambda _name, settings, region: Telling(settings, region))
    node_id = await actions.launch_async(layout.model_copy(update={"scripts": None}), app=app)
    await write(app, [node_id], ends_at=datetime.now(UTC) + HOUR)
    before = (await on_record(app))[node_id].ends_at
    assert before is not None
    await actions.extend_async(node_id, HOUR, app=app)

    app.providers.unshared("aws").refuses = True  # type: ignore[attr-defined]  # the double's own
    with pytest.raises(errors.InvalidRequest):
        await actions.extend_async(node_id, HOUR, app=app)
    told = (await actions.exec_async(node_id, "cat ends; touch full", app=app)).output.split()
    assert [round(int(each) / 3600) for each in told] == [2, 3, 2]

    app.providers.unshared("aws").refuses = False  # type: ignore[attr-defined]  # the double's own
    with pytest.raises(errors.RemoteError, match="its machine refused the new end"):
        await actions.extend_async(node_id, HOUR, app=app)
    assert (await on_record(app))[node_id].ends_at == before + HOUR
    await actions.teardown_async(node_id, force=True, app=app)
