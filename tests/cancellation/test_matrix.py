"""Each verb is cancelled at every await of a whole run: rows and cloud agree after one ``sync``, and nothing is held.

``make crash`` cancels at every one of them (``OGC_CRASH=full``), ``make test`` at an even sample. ``OGC_CANCEL_AT``
repeats one: a step's number, as failures are listed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Protocol
from zlib import crc32

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.claims import find_workers
from ogc_async.db.users import create_user
from ogc_async.errors import OgcError
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import LIVE, InstanceState, NodeState, StepState, Ttl
from tests.cancellation.steps import How, Steps
from tests.integration.actions.common import recorded

SAMPLE = 3
"""Awaits of each kind of call in a run that is not full; each kind has others, so that together they are many."""
SCALE = 3
GONE = (InstanceState.TERMINATING, InstanceState.TERMINATED)


class Verb(Protocol):
    __name__: str

    def __call__(self, app: App, layout: Layout, ids: list[int], /) -> Coroutine[Any, Any, Any]: ...


class SlowProvider(MemoryProvider):
    """A cloud in memory whose every request takes its time, before and after it has its effect."""

    async def _slowly(self, method: Callable[..., Awaitable[Any]], *asked: Any, **more: Any) -> Any:
        await asyncio.sleep(0)
        answer = await method(*asked, **more)
        await asyncio.sleep(0)
        return answer

    async def account(self, *, patiently: bool = False) -> Any:
        return await self._slowly(super().account, patiently=patiently)

    async def look_up(self, *asked: Any) -> Any:
        return await self._slowly(super().look_up, *asked)

    async def prepare(self, *asked: Any) -> Any:
        return await self._slowly(super().prepare, *asked)

    async def launch(self, *asked: Any) -> Any:
        return await self._slowly(super().launch, *asked)

    async def describe(self, *asked: Any) -> Any:
        return await self._slowly(super().describe, *asked)

    async def terminate(self, *asked: Any) -> Any:
        return await self._slowly(super().terminate, *asked)

    async def list_owned(self, *asked: Any) -> Any:
        return await self._slowly(super().list_owned, *asked)

    async def release(self, *asked: Any, **more: Any) -> Any:
        return await self._slowly(super().release, *asked, **more)


@pytest.fixture
def provider() -> SlowProvider:
    return SlowProvider(max_batch=2)


@pytest.fixture
async def plain(layout: Layout) -> Layout:
    """The layout without anything to run over SSH."""
    return layout.model_copy(update={"scale": SCALE, "scripts": None, "ttl": Ttl.of(timedelta(hours=1))})


def chosen(count: int, kind: str) -> Sequence[int]:
    """The steps to cancel at, as the environment asks for them."""
    if at := os.environ.get("OGC_CANCEL_AT"):
        return [int(at)]
    if os.environ.get("OGC_CRASH") == "full":
        return range(1, count + 1)
    every = max(count // SAMPLE, 1)
    return range(1 + crc32(kind.encode()) % every, count + 1, every)


def living(provider: MemoryProvider) -> set[str | None]:
    return {each.id for each in provider.instances.values() if each.state not in GONE}


async def standing(app: App) -> dict[str | None, NodeState]:
    return {node.instance_id: node.state for node in await actions.nodes_async(app=app, states=LIVE)}


async def launch(app: App, layout: Layout, _: list[int]) -> Any:
    return await actions.launch_async([layout], app=app)


async def teardown(app: App, _: Layout, ids: list[int]) -> Any:
    return await actions.teardown_async(ids, app=app)


async def sync_up(app: App, layout: Layout, _: list[int]) -> Any:
    return await actions.sync_async(spec_of(layout), app=app)


async def sync_down(app: App, layout: Layout, _: list[int]) -> Any:
    return await actions.sync_async(spec_of(layout.model_copy(update={"scale": 1})), app=app)


def spec_of(layout: Layout) -> Spec:
    return Spec(name="matrix", ssh_keys=layout.ssh_keys, layouts=(layout,))


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize(
    ("verb", "policy"),
    [
        (launch, "cleanup"),
        (launch, "keep"),
        (sync_up, "cleanup"),
        (sync_up, "keep"),
        (sync_down, "cleanup"),
        (teardown, "cleanup"),
    ],
)
async def test_a_verb_cancelled_at_any_await_is_mended_by_one_sync(
    verb: Verb, policy: str, how: How, kind: str, database: Engine, provider: SlowProvider, plain: Layout
) -> None:
    is_launched = verb in (sync_down, teardown)
    settings = Settings(
        _env_file=None,
        ogc_poll_s=0.001,
        ogc_settle_s=0,
        ogc_lease_s=0.2,
        ogc_on_cancel=policy,
        aws_region="memory-1",
    )
    app = App(engine=database, settings=settings)
    app.providers = provider.pool(settings)
    await create_user(database, "Adam")
    steps = Steps(how)

    async def once(step: int) -> bool:
        ids = list(await actions.launch_async([plain], app=app)) if is_launched else []
        was_cut = await steps.cancelled_at(step, verb(app, plain, ids))
        rows = await standing(app)
        assert living(provider) <= set(rows), f"step {step}: a machine without a row"
        if how.is_gentle:
            assert await find_workers(database) == {}, f"step {step}: nodes are held by nobody"
        if was_cut and how.is_gentle and verb is launch and policy == "cleanup":
            assert rows == {}, f"step {step}: rows are left: {rows}"
        try:
            synced = await actions.sync_async(spec_of(plain), app=app)
        except OgcError as error:
            raise AssertionError(f"step {step}: {error!r}") from error
        assert synced.ok, f"step {step}: {synced}"
        rows = await standing(app)
        assert set(rows) == living(provider), f"step {step}: sync left a difference"
        assert list(rows.values()) == [NodeState.RUNNING] * SCALE, f"step {step}: {rows}"
        nodes = await actions.nodes_async(app=app, states=LIVE)
        assert (await actions.teardown_async([node.id for node in nodes], app=app)).ok
        return was_cut

    assert not await once(0)
    count = steps.taken
    cut = [await once(step) for step in chosen(count, f"{verb.__name__} {policy} {how} {kind}")]
    assert count > 50
    assert any(cut)
    await app.aclose()


@pytest.fixture
async def node_id(app: App, layout: Layout) -> int:
    return await actions.launch_async(layout, app=app)


async def deploy(app: App, _: Layout, ids: list[int]) -> Any:
    return await actions.deploy_async(ids, rerun=True, app=app)


async def execute(app: App, _: Layout, ids: list[int]) -> Any:
    return await actions.exec_async(ids, "echo hello", app=app)


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize("verb", [deploy, execute])
async def test_work_over_ssh_cancelled_at_any_await_leaves_a_node_that_can_be_worked_on(
    verb: Verb, how: How, kind: str, app: App, layout: Layout, node_id: int
) -> None:
    steps = Steps(how)
    # The first contact sends files that the later ones find there: the steps of a later one are counted.
    assert all(await verb(app, layout, [node_id]))
    assert not await steps.cancelled_at(0, verb(app, layout, [node_id]))
    count = steps.taken
    sample = chosen(count, f"{verb.__name__} {how} {kind}")
    cut = [await steps.cancelled_at(step, verb(app, layout, [node_id])) for step in sample]
    assert count > 30
    assert any(cut)
    assert app.engine is not None
    [node] = await actions.nodes_async(app=app, states=LIVE)
    assert node.state is NodeState.RUNNING
    assert await find_workers(app.engine) == {}
    assert all(await verb(app, layout, [node_id]))
    if how.is_gentle:
        left = [step for step in await recorded(app, node_id) if step.state is StepState.RUNNING]
        assert left == [], "steps are on record as running that nobody runs"
    assert (await actions.sync_async(app=app)).plan.changes == ()
    assert (await actions.teardown_async([node_id], app=app)).ok
