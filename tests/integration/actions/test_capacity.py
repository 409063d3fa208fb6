"""Where machines are had from: zones and sizes in order, holes remembered, a quorum, spares; over a cloud in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.errors import NoCapacity
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import InstanceState, NodeState

ZONES = ["memory-1a", "memory-1b"]


@pytest.fixture
def memory() -> MemoryProvider:
    return MemoryProvider()


@pytest.fixture
async def app(database: Engine, memory: MemoryProvider) -> AsyncIterator[App]:
    settings = Settings(_env_file=None, ogc_poll_s=0.001, ogc_settle_s=0.001, ogc_lease_s=0.5, aws_region="memory-1")
    async with App(engine=database, settings=settings) as app:
        app.providers = memory.pool(settings)
        await create_user(database, "Adam")
        yield app


def of(layout: Layout, **changes: Any) -> dict[str, Any]:
    return layout.as_dict() | {key.replace("_", "-"): value for key, value in changes.items()}


def asked(memory: MemoryProvider) -> list[tuple[str | None, str, int]]:
    return [(each.zone, each.instance_size, len(each.names)) for each in memory.asked]


async def in_state(app: App, *states: NodeState) -> int:
    return len(await actions.nodes_async(states=states, app=app))


async def test_what_one_offer_lacks_is_had_from_the_next_zone_and_then_the_next_size(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.capacity = {"memory-1a/t3.small": 3, "memory-1b/t3.small": 2}
    wanted = of(layout, scale=10, zones=ZONES, fallback_sizes=["m5.large"])
    result = await actions.launch_async([wanted], app=app)
    assert (len(result), result.ok) == (10, True)
    assert asked(memory) == [
        ("memory-1a", "t3.small", 10),
        ("memory-1b", "t3.small", 7),
        ("memory-1a", "m5.large", 5),
    ]
    assert len({each.token for each in memory.asked}) == 3


async def test_what_no_offer_has_fails_with_the_last_ones_reason(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.capacity = dict.fromkeys(ZONES, 1)
    result = await actions.launch_async([of(layout, scale=3, zones=ZONES)], app=app)
    assert len(result) == 2
    (failure,) = result.failures
    assert isinstance(failure.error, NoCapacity)
    assert "memory-1b is full" in str(failure)


async def test_a_hole_is_remembered_and_not_asked_again_first(app: App, memory: MemoryProvider, layout: Layout) -> None:
    memory.capacity = {"memory-1a": 0}
    wanted = of(layout, scale=2, zones=ZONES)
    for _ in range(2):
        assert (await actions.launch_async([wanted], app=app)).ok
    assert [zone for zone, _, _ in asked(memory)] == ["memory-1a", "memory-1b", "memory-1b"]


async def test_a_launch_returns_with_its_quorum_and_sync_goes_on_with_the_rest(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.boots_at_most = 3
    wanted = Layout.from_dict(of(layout, scale=5, min_ready=3))
    result = await actions.launch_async([wanted], app=app)
    assert (len(result), len(result.pending), result.failures) == (3, 2, ())
    assert (await in_state(app, NodeState.RUNNING), await in_state(app, NodeState.LAUNCHING)) == (3, 2)
    memory.boots_at_most = None
    synced = await actions.sync_async(app=app)
    assert synced.ok, synced
    assert await in_state(app, NodeState.RUNNING) == 5


async def test_the_first_to_run_are_kept_and_spares_go_back(app: App, memory: MemoryProvider, layout: Layout) -> None:
    memory.boots_at_most = 3
    result = await actions.launch_async([of(layout, scale=3, spare=2)], app=app)
    assert (len(result), result.pending, result.failures) == (3, (), ())
    assert memory.calls["terminate"] == 1
    assert await in_state(app, NodeState.TERMINATING) == 2
    assert (await actions.sync_async(app=app)).ok
    assert (await in_state(app, NodeState.RUNNING), await in_state(app, NodeState.TERMINATED)) == (3, 2)


async def test_spares_that_run_in_the_same_moment_go_back_too(app: App, memory: MemoryProvider, layout: Layout) -> None:
    result = await actions.launch_async([of(layout, scale=3, spare=2)], app=app)
    assert len(result) == 3
    assert await in_state(app, NodeState.TERMINATING) == 2


async def test_a_machine_short_is_no_failure_where_a_spare_stands_in(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.capacity = {"memory-1a": 4}
    result = await actions.launch_async([of(layout, scale=3, spare=2)], app=app)
    assert (len(result), result.failures) == (3, ())
    assert await in_state(app, NodeState.FAILED) == 1
    living = [each for each in memory.instances.values() if each.state is InstanceState.RUNNING]
    assert len(living) == 3


async def test_a_single_node_has_no_spare(app: App, memory: MemoryProvider, layout: Layout) -> None:
    await actions.launch_async(of(layout, scale=5, spare=2, min_ready=2), app=app)
    assert asked(memory) == [(None, "t3.small", 1)]
