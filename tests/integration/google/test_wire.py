"""Everything that a fleet's life sends to Compute Engine, and gets back, by the API's own description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.errors import NoCapacity, ProviderError
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import NodeState
from tests.cloud import Cloud
from tests.integration.actions.test_two_clouds import on, settings_of
from tests.integration.google.proxy import Proxy, judged


@pytest.fixture
async def proxy(cloud: Cloud) -> AsyncIterator[Proxy]:
    async with judged(cloud.endpoint) as proxy:
        yield proxy
        assert proxy.judge.heard
        assert proxy.judge.faults == []


@pytest.fixture
async def judged_app(cloud: Cloud, proxy: Proxy, database: Engine) -> AsyncIterator[App]:
    settings = settings_of(cloud, ogc_google_endpoint=proxy.url)
    async with App(engine=database, settings=settings) as app:
        await create_user(database, "Adam")
        yield app


async def test_a_fleets_whole_life_is_valid_both_ways(judged_app: App, layout: Layout, proxy: Proxy) -> None:
    many: dict[str, Any] = {
        "scale": 30,
        "spot": True,
        "ttl": "4h",
        "disk_size": 20,
        "ports": ["80", "8000-8100", "53/udp"],
        "labels": {"größe": "émile_1"},
        "tags": ["one", "two"],
    }
    ids = await actions.launch_async([on("google", layout, **many)], app=judged_app)
    assert len(ids) == 30
    assert all(await actions.exec_async(ids, "true", app=judged_app))
    more = await actions.launch_async([on("google", layout, ports=["443"], ingress=["10.0.0.0/8"])], app=judged_app)
    assert await actions.teardown_async([*ids, *more], app=judged_app) == [*ids, *more]
    assert {node.state for node in await actions.nodes_async(app=judged_app)} == {NodeState.TERMINATED}
    assert proxy.calls["instances.bulkInsert"] == 2
    assert proxy.calls["instances.delete"] == 31
    assert {"firewalls.insert", "firewalls.patch", "firewalls.delete", "instances.list"} <= set(proxy.calls)


async def test_what_is_looked_for_elsewhere_and_what_fails_is_valid_too(
    judged_app: App, layout: Layout, proxy: Proxy
) -> None:
    with pytest.raises(NoCapacity, match="e2-none"):
        await actions.launch_async(on("google", layout, instance_size="e2-none"), app=judged_app)
    with pytest.raises(ProviderError):
        await actions.launch_async(on("google", layout, zones=["us-central1-q"]), app=judged_app)
    provider = judged_app.providers.get("google")
    assert await provider.list_owned("adam") is not None
    assert {"machineTypes.get", "zones.get", "instances.aggregatedList"} <= set(proxy.calls)


async def test_listings_follow_time_and_not_the_number_of_nodes(judged_app: App, layout: Layout, proxy: Proxy) -> None:
    ids = await actions.launch_async([on("google", layout, scale=150)], app=judged_app)
    assert len(ids) == 150
    assert proxy.calls["instances.bulkInsert"] == 1
    reading = ("instances.list", "zoneOperations.get", "zoneOperations.list", "instances.get")
    assert sum(proxy.calls[each] for each in reading) < 60
    await actions.teardown_async(ids, force=True, app=judged_app)
