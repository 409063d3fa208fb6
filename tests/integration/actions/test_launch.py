"""Launching over a cloud in memory and a real database: what is asked for, what is on record, what is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.errors import InstanceDied, NoCapacity, QuotaExceeded, ServiceUnavailable, SpecError, Throttled
from ogc_async.events import NodeMoved
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.testing import MemoryProvider, RecordedEvents
from ogc_async.types import InstanceState, NodeState, Then


@pytest.fixture
def memory() -> MemoryProvider:
    return MemoryProvider()


@pytest.fixture
async def app(database: Engine, memory: MemoryProvider) -> AsyncIterator[App]:
    settings = Settings(_env_file=None, ogc_poll_s=0.001, aws_region="memory-1")
    async with App(engine=database, settings=settings) as app:
        app.providers = memory.pool(settings)
        await create_user(database, "Adam")
        yield app


def of(layout: Layout, **changes: Any) -> dict[str, Any]:
    return layout.as_dict() | {key.replace("_", "-"): value for key, value in changes.items()}


async def states(app: App) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in await actions.nodes_async(app=app):
        counts[node.state] = counts.get(node.state, 0) + 1
    return counts


async def test_one_layout_is_one_node_and_its_id(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(of(layout, scale=5), app=app)
    (node,) = await actions.nodes_async(app=app)
    assert (node.id, node.state, node.layout, node.public_ip) == (node_id, NodeState.RUNNING, "web", "127.77.0.1")


async def test_a_life_that_no_machine_would_keep_is_refused_before_anything_is_made(
    app: App, memory: MemoryProvider, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = of(layout, ttl="1h", ready="cloud-init")
    assert await actions.launch_async(spec, app=app)
    [request] = memory.asked
    assert request.ends_at is not None
    [machine] = memory.instances.values()
    assert int(machine.tags["ogc:ends"]) - request.ends_at.timestamp() < 1
    memory.calls.clear()

    asked: list[dict[str, object]] = []
    monkeypatch.setattr(memory, "why_no_end", lambda **about: asked.append(about) or "cannot be kept here")
    with pytest.raises(SpecError, match=r"^layouts\.web\.ttl: cannot be kept here$"):
        await actions.launch_async(spec, app=app)
    [about] = asked
    assert (about["has_cloud_init"], about["platform"], about["then"]) == (True, "linux", Then.END)

    unable = type("UnableProvider", (MemoryProvider,), {"why_no_end": None})()
    app.providers = unable.pool(app.settings)
    with pytest.raises(SpecError, match=r"^layouts\.web\.ttl: cannot be kept: machines of the provider aws run until"):
        await actions.launch_async(spec, app=app)
    assert not memory.calls + unable.calls
    assert await states(app) == {"running": 1}


async def test_a_collection_is_each_layout_at_its_scale_in_the_specs_order(app: App, layout: Layout) -> None:
    result = await actions.launch_async([of(layout, name="b", scale=3), of(layout, name="a", scale=2)], app=app)
    assert result.ok
    nodes = await actions.nodes_async(app=app)
    assert [node.id for node in nodes] == result
    assert [node.layout for node in nodes] == ["b", "b", "b", "a", "a"]


async def test_250_nodes_are_three_calls_and_a_few_polls(app: App, memory: MemoryProvider, layout: Layout) -> None:
    result = await actions.launch_async([of(layout, scale=250)], app=app)
    assert len(result) == 250
    assert memory.calls["launch"] == 3
    assert memory.calls["prepare"] == 1
    assert memory.calls["describe"] <= 4


async def test_rows_are_on_record_before_the_cloud_hears_of_them(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    seen: dict[str, int] = {}
    asked = memory.launch

    async def launch(request: Any, prepared: Any) -> Any:
        seen.update(await states(app))
        tokens = {node.token for node in await actions.nodes_async(app=app)}
        assert tokens == {request.token}
        return await asked(request, prepared)

    memory.launch = launch  # type: ignore[method-assign]  # the test looks on at this very call
    await actions.launch_async([of(layout, scale=3)], app=app)
    assert seen == {"launching": 3}


async def test_what_a_zone_lacks_is_asked_for_in_the_next_under_a_new_token(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.capacity = {"memory-1a": 2, "memory-1b": 1}
    spec = of(layout, scale=5, zones=["memory-1a", "memory-1b", "memory-1c"])
    result = await actions.launch_async([spec], app=app)
    assert result.ok
    nodes = await actions.nodes_async(app=app)
    assert sorted(str(node.zone) for node in nodes) == ["memory-1a"] * 2 + ["memory-1b"] + ["memory-1c"] * 2
    assert len({node.token for node in nodes}) == 3
    assert len({(node.token, node.launch_index) for node in nodes}) == 5


async def test_what_no_zone_has_fails_by_name_and_the_rest_come_up(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.capacity = {"memory-1a": 2}
    result = await actions.launch_async([of(layout, scale=3, zones=["memory-1a"])], app=app)
    assert len(result) == 2
    (failed,) = result.failures
    assert isinstance(failed.error, NoCapacity)
    assert await states(app) == {"running": 2, "failed": 1}
    with pytest.raises(NoCapacity, match="memory-1a is full"):
        result.raise_for_failures()


async def test_a_machine_that_dies_while_booting_fails_its_node_with_the_clouds_reason(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    names = await _doom(memory, "Server.InternalError: disk")
    result = await actions.launch_async([of(layout, scale=2)], app=app)
    assert len(result) == 1
    assert isinstance(result.failures[0].error, InstanceDied)
    assert "Server.InternalError: disk" in str(result.failures[0])
    assert result.failures[0].name in names


async def test_a_late_lack_of_capacity_moves_to_the_next_zone(app: App, memory: MemoryProvider, layout: Layout) -> None:
    await _doom(memory, "Server.InsufficientInstanceCapacity: none left")
    result = await actions.launch_async([of(layout, scale=2, zones=["memory-1a", "memory-1b"])], app=app)
    assert result.ok
    assert sorted(str(node.zone) for node in await actions.nodes_async(app=app)) == ["memory-1a", "memory-1b"]


async def _doom(memory: MemoryProvider, reason: str) -> list[str]:
    """The first machine launched dies of ``reason``."""
    doomed: list[str] = []
    asked = memory.launch

    async def launch(request: Any, prepared: Any) -> Any:
        if not doomed:
            doomed.append(request.names[0])
            memory.dying[request.names[0]] = reason
        else:
            memory.dying.clear()
        return await asked(request, prepared)

    memory.launch = launch  # type: ignore[method-assign]  # the double is told at its first call whom to let die
    return doomed


async def test_a_refusal_that_is_certain_fails_the_rows(app: App, memory: MemoryProvider, layout: Layout) -> None:
    memory.refusals["launch"] = [QuotaExceeded("32 vCPU", provider="aws", operation="RunInstances")]
    result = await actions.launch_async([of(layout, scale=3)], app=app)
    assert result == []
    assert {type(each.error) for each in result.failures} == {QuotaExceeded}
    assert await states(app) == {"failed": 3}


async def test_a_throttled_launch_made_no_machine_and_may_be_repeated(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.refusals["launch"] = [Throttled("slow down", provider="aws", operation="RunInstances", retryable=True)]
    result = await actions.launch_async([of(layout, scale=2)], app=app)
    assert [each.is_retryable for each in result.failures] == [True, True]
    assert await states(app) == {"failed": 2}


async def test_throttling_never_moves_a_batch_to_the_next_zone(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.refusals["launch"] = [Throttled("slow down", provider="aws", operation="RunInstances", retryable=True)]
    result = await actions.launch_async([of(layout, scale=2, zones=["memory-1a", "memory-1b"])], app=app)
    assert {type(each.error) for each in result.failures} == {Throttled}
    assert {node.zone for node in await actions.nodes_async(app=app)} == {"memory-1a"}
    assert memory.calls["launch"] == 1


async def test_a_lost_reply_is_looked_up_by_its_token(app: App, memory: MemoryProvider, layout: Layout) -> None:
    asked = memory.launch

    async def launch(request: Any, prepared: Any) -> Any:
        await asked(request, prepared)
        raise ServiceUnavailable("connection reset", provider="aws", operation="RunInstances", retryable=True)

    memory.launch = launch  # type: ignore[method-assign]  # the call takes effect and its reply is lost
    result = await actions.launch_async([of(layout, scale=3)], app=app)
    assert result.ok
    nodes = await actions.nodes_async(app=app)
    assert {node.instance_id for node in nodes} == set(memory.instances)


async def test_a_launch_in_doubt_stays_on_record_until_the_cloud_is_clear(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    memory.refusals["launch"] = [ServiceUnavailable("reset", provider="aws", operation="RunInstances", retryable=True)]
    result = await actions.launch_async([of(layout, scale=2)], app=app)
    assert len(result.failures) == 2
    assert await states(app) == {"launching": 2}
    torn = await actions.teardown_async([each.node_id for each in result.failures], app=app)
    assert [each.node_id for each in torn.failures] == [each.node_id for each in result.failures]
    assert "too recent" in str(torn.failures[0])


async def test_events_tell_each_nodes_way(app: App, layout: Layout) -> None:
    recorded = RecordedEvents()
    with app.events.subscribed(recorded):
        node_id = await actions.launch_async(layout, app=app)
        await actions.teardown_async(node_id, force=True, app=app)
    moves = [event.state for event in recorded if isinstance(event, NodeMoved) and event.node_id == node_id]
    assert moves == ["planned", "launching", "running", "terminating", "terminated"]


async def test_teardown_ends_machines_confirms_and_releases_with_the_last_node(
    app: App, memory: MemoryProvider, layout: Layout
) -> None:
    first, *rest = await actions.launch_async([of(layout, scale=4)], app=app)
    assert await actions.teardown_async(first, force=True, app=app) == first
    assert memory.calls["release"] == 0
    result = await actions.teardown_async(rest, force=True, app=app)
    assert (list(result), result.failures, result.leftovers) == (rest, (), ())
    assert memory.calls["release"] == 1
    assert {each.state for each in memory.instances.values()} == {InstanceState.TERMINATED}
    assert await states(app) == {"terminated": 4}


async def test_teardown_twice_is_done_twice(app: App, memory: MemoryProvider, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.teardown_async(node_id, force=True, app=app) == node_id
    calls = memory.calls["terminate"]
    assert await actions.teardown_async(node_id, force=True, app=app) == node_id
    assert memory.calls["terminate"] == calls


async def test_only_db_leaves_the_machine_alone(app: App, memory: MemoryProvider, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.teardown_async([node_id], only_db=True, app=app) == [node_id]
    assert memory.calls["terminate"] == 0
    assert await states(app) == {"terminated": 1}


async def test_a_row_is_not_terminated_while_the_api_is_down(app: App, memory: MemoryProvider, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    memory.refusals["terminate"] = [ServiceUnavailable("503", provider="aws", operation="TerminateInstances")]
    result = await actions.teardown_async([node_id], force=True, app=app)
    assert (list(result), [each.node_id for each in result.failures]) == ([], [node_id])
    assert await states(app) == {"terminating": 1}
    assert await actions.teardown_async([node_id], force=True, app=app) == [node_id]


async def test_missing_files_stop_a_launch_before_the_cloud_is_asked(
    app: App, memory: MemoryProvider, layout: Layout, tmp_path: Path
) -> None:
    from ogc_async.errors import ScriptsError

    with pytest.raises(ScriptsError):
        await actions.launch_async([of(layout, scripts=str(tmp_path / "none"))], app=app)
    assert memory.calls == {}
