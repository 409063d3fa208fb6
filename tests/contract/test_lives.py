"""What every provider tells of a machine's life: what it is, when it ends, and where in the account it may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from ogc_async.errors import ResourceInUse
from ogc_async.providers.base import FindsRegions, FindsVolumes, Provider
from ogc_async.types import InstanceState, Market
from tests.contract.bodies import BODIES, World
from tests.contract.test_providers import launch, reach, these

TELLS = ("google@sandbox",)
"""The bodies that tell all of it."""
SLACK = timedelta(minutes=2)

on_telling_bodies = pytest.mark.parametrize(
    "body", [each for each in BODIES if each.name in TELLS], ids=TELLS, indirect=True
)


@on_telling_bodies
async def test_a_machine_is_described_with_its_size_its_market_and_its_end(provider: Provider, world: World) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=1, microseconds=1)
    request = world.request(spot=True, ttl=timedelta(hours=1), ends_at=ends_at)
    [launched] = await launch(provider, request)
    [found] = (await reach(provider, these(world, launched.id), InstanceState.RUNNING)).values()
    assert (found.size, found.market) == (request.instance_size, Market.SPOT)
    assert found.tags["ogc:ends"] == str(ceil(ends_at.timestamp()))
    assert found.ended_at is None
    if found.ends_at is not None:
        assert abs(found.ends_at - ends_at) < SLACK


@on_telling_bodies
async def test_a_machine_without_an_end_has_none_and_costs_what_it_costs(provider: Provider, world: World) -> None:
    [launched] = await launch(provider, world.request())
    [found] = (await reach(provider, these(world, launched.id), InstanceState.RUNNING)).values()
    assert (found.market, found.ends_at) == (Market.ON_DEMAND, None)
    assert "ogc:ends" not in found.tags


@on_telling_bodies
async def test_a_region_is_found_once_the_owner_has_a_machine_there(provider: Provider, world: World) -> None:
    assert isinstance(provider, FindsRegions)
    before = await provider.regions(world.owner)
    await launch(provider, world.request())
    assert provider.region in await provider.regions(world.owner)
    assert before in ([], await provider.regions(world.owner))


@on_telling_bodies
async def test_the_volume_of_a_machine_is_not_left_and_goes_with_it(provider: Provider, world: World) -> None:
    assert isinstance(provider, FindsVolumes)
    [launched] = await launch(provider, world.request())
    await reach(provider, these(world, launched.id), InstanceState.RUNNING)
    assert await provider.list_volumes(world.owner) == []
    if provider.name == "google":
        # A boot disk has its machine's name.
        with pytest.raises(ResourceInUse):
            await provider.delete_volume(launched.id)
    await provider.terminate([launched.id])
    await reach(provider, these(world, launched.id), InstanceState.TERMINATED)
    assert await provider.list_volumes(world.owner) == []
    if provider.name == "google":
        await provider.delete_volume(launched.id)
