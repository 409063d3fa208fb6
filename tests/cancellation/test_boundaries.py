"""A call that is cancelled at any commit, or any request, leaves rows and cloud in agreement, and one sync ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import (
    LIVE,
    DescribeRequest,
    Instance,
    InstanceState,
    LaunchFailure,
    LaunchRequest,
    NodeState,
    Prepared,
)

ENOUGH = 200
"""More boundaries than any of these calls has."""


@dataclass
class Boundaries:
    """Counts commits and requests, each twice; cancels ``task`` at the one that is chosen."""

    chosen: int = 0
    crossed: int = 0
    task: asyncio.Task[Any] | None = None

    def cross(self) -> None:
        self.crossed += 1
        if self.crossed == self.chosen and self.task is not None:
            self.task.cancel()


class WatchedProvider(MemoryProvider):
    """A cloud in memory whose every request is a boundary, before and after."""

    boundaries: Boundaries

    async def prepare(self, request: LaunchRequest) -> Prepared:
        return await self._crossed(super().prepare, request)

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        return await self._crossed(super().launch, request, prepared)

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        return await self._crossed(super().describe, request)

    async def terminate(self, instance_ids: Collection[str]) -> Any:
        return await self._crossed(super().terminate, instance_ids)

    async def _crossed(self, method: Callable[..., Any], *arguments: Any) -> Any:
        self.boundaries.cross()
        await asyncio.sleep(0)
        answer = await method(*arguments)
        self.boundaries.cross()
        await asyncio.sleep(0)
        return answer


@pytest.fixture
def boundaries(monkeypatch: pytest.MonkeyPatch) -> Boundaries:
    """Every commit of every engine is a boundary, before and after."""
    counted = Boundaries()
    transaction = Engine.transaction

    @asynccontextmanager
    async def watched(engine: Engine, *timeout_s: float | None) -> AsyncIterator[AsyncConnection]:
        async with transaction(engine, *timeout_s) as connection:
            yield connection
            counted.cross()
            await asyncio.sleep(0)
        counted.cross()
        await asyncio.sleep(0)

    monkeypatch.setattr(Engine, "transaction", watched)
    return counted


@pytest.fixture
def provider(boundaries: Boundaries) -> WatchedProvider:
    made = WatchedProvider(max_batch=2)
    made.boundaries = boundaries
    return made


@pytest.fixture
def app_with(database: Engine, provider: WatchedProvider) -> Callable[..., App]:
    def open_(**values: Any) -> App:
        given: dict[str, Any] = {"ogc_poll_s": 0.001, "ogc_settle_s": 0, "aws_region": "memory-1"}
        settings = Settings(_env_file=None, **(given | values))
        app = App(engine=database, settings=settings)
        app.providers = provider.pool(settings)
        return app

    return open_


async def cancelled_at(chosen: int, call: Any, boundaries: Boundaries) -> bool:
    """Make the call and cancel it there; whether it was."""
    task = asyncio.create_task(call)
    boundaries.chosen, boundaries.crossed, boundaries.task = chosen, 0, task
    try:
        await asyncio.wait({task})
        return task.cancelled()
    finally:
        boundaries.task = None


def living(provider: MemoryProvider) -> set[str]:
    gone = (InstanceState.TERMINATING, InstanceState.TERMINATED)
    return {each.id for each in provider.instances.values() if each.state not in gone}


async def on_record(app: App) -> dict[str | None, NodeState]:
    return {node.instance_id: node.state for node in await actions.nodes_async(app=app, states=LIVE)}


@pytest.mark.parametrize("policy", ["cleanup", "keep"])
async def test_a_launch_cancelled_anywhere_leaves_what_its_policy_says(
    policy: str, app_with: Callable[..., App], provider: WatchedProvider, boundaries: Boundaries, layout: Layout
) -> None:
    app = app_with(ogc_on_cancel=policy)
    assert app.engine is not None
    await create_user(app.engine, "Adam")
    scale = layout.model_copy(update={"scale": 3})
    counts = []
    for chosen in range(1, ENOUGH):
        before = living(provider)
        was_cancelled = await cancelled_at(chosen, actions.launch_async([scale], app=app), boundaries)
        rows = await on_record(app)
        made = living(provider) - before
        assert living(provider) <= set(rows), f"boundary {chosen}: a machine without a row"
        if was_cancelled and policy == "cleanup":
            assert made == set(), f"boundary {chosen}: machines are left"
            assert rows == {}, f"boundary {chosen}: rows are left: {rows}"
        assert None not in rows, f"boundary {chosen}: a row without a machine"
        if was_cancelled:
            counts.append(len(made))
        spec = Spec(name="none", ssh_keys=layout.ssh_keys, layouts=(layout.model_copy(update={"scale": 0}),))
        await actions.sync_async(app=app)
        assert set(await on_record(app)) == living(provider), f"boundary {chosen}: sync left a difference"
        assert (await actions.sync_async(spec, app=app)).ok
        assert living(provider) == set()
        if not was_cancelled:
            break
    assert chosen > 15
    assert not was_cancelled
    if policy == "keep":
        assert {0, 3} <= set(counts)
    await app.aclose()


async def test_a_teardown_cancelled_anywhere_goes_on_with_one_sync(
    app_with: Callable[..., App], provider: WatchedProvider, boundaries: Boundaries, layout: Layout
) -> None:
    app = app_with()
    assert app.engine is not None
    await create_user(app.engine, "Adam")
    scale = layout.model_copy(update={"scale": 3, "scripts": None})
    for chosen in range(1, ENOUGH):
        ids = await actions.launch_async([scale], app=app)
        was_cancelled = await cancelled_at(chosen, actions.teardown_async(ids, app=app), boundaries)
        assert living(provider) <= set(await on_record(app)), f"boundary {chosen}: a machine without a row"
        spec = Spec(name="none", ssh_keys=layout.ssh_keys, layouts=(layout.model_copy(update={"scale": 0}),))
        assert (await actions.sync_async(spec, app=app)).ok, f"boundary {chosen}"
        assert living(provider) == set()
        assert await on_record(app) == {}
        if not was_cancelled:
            break
    assert chosen > 8
    assert not was_cancelled
    await app.aclose()
