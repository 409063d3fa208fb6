"""Many callers in one loop: what they ask in the same moment becomes few calls, and none pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import InstanceState, NodeState

CALLERS = 60


@pytest.fixture
def memory() -> MemoryProvider:
    return MemoryProvider()


@pytest.fixture
async def app(database: Engine, memory: MemoryProvider) -> AsyncIterator[App]:
    settings = Settings(_env_file=None, ogc_poll_s=0.05, aws_region="memory-1")
    async with App(engine=database, settings=settings) as app:
        app.providers = memory.pool(settings)
        await create_user(database, "Adam")
        yield app


async def test_launches_of_one_moment_share_one_call_and_so_do_their_ends(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    ids = await asyncio.gather(*(actions.launch_async(layout, app=app) for _ in range(CALLERS)))
    assert len(set(ids)) == CALLERS
    assert memory.calls["launch"] <= 3
    assert memory.calls["describe"] <= 6
    launched = memory.calls.copy()
    assert await asyncio.gather(*(actions.teardown_async(each, force=True, app=app) for each in ids)) == ids
    assert memory.calls["terminate"] <= 6
    assert memory.calls["describe"] - launched["describe"] <= 20
    assert memory.calls["release"] <= 6
    assert all(each.state is InstanceState.TERMINATED for each in memory.instances.values())


async def test_layouts_that_differ_do_not_share_a_call(app: App, memory: MemoryProvider, layout: Layout) -> None:
    others = [layout.model_copy(update={"name": "db"}), layout.model_copy(update={"instance_size": "m5.large"})]
    await asyncio.gather(*(actions.launch_async(each, app=app) for each in (layout, *others)))
    assert sorted((each.layout, each.instance_size) for each in memory.asked) == [
        ("db", "t3.small"),
        ("web", "m5.large"),
        ("web", "t3.small"),
    ]


async def test_a_caller_that_is_cancelled_takes_its_own_back_and_no_others(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.boots_at_most = 0
    calls = [asyncio.create_task(_launch(layout, app)) for _ in range(5)]
    while memory.calls["describe"] == 0:
        await asyncio.sleep(0.001)
    calls[2].cancel()
    await asyncio.wait({calls[2]})
    memory.boots_at_most = None
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    nodes = await actions.nodes_async(app=app)
    assert sorted(node.state for node in nodes) == [NodeState.RUNNING] * 4 + [NodeState.TERMINATED]
    assert {node.id for node in nodes if node.state is NodeState.RUNNING} == set(results) - {results[2]}


async def _launch(layout: Layout, app: App) -> int:
    return await actions.launch_async(layout, app=app)
