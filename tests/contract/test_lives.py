"""What every provider tells of a machine's life: what it is, when it ends, and where in the account it may be."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest

from ogc_async.errors import ResourceInUse
from ogc_async.providers.base import FindsRegions, FindsVolumes, MovesEnds, Provider
from ogc_async.types import Instance, InstanceState, Market
from tests.contract.bodies import BODIES, World
from tests.contract.test_providers import DEADLINE_S, launch, reach, these

TELLS = ("aws@sandbox", "google@sandbox")
"""The bodies that tell all of it."""
KEEPS = ("google",)
"""The providers whose clouds end machines themselves, and say when; that follows their boot by a moment."""
SLACK = timedelta(minutes=2)

on_telling_bodies = pytest.mark.parametrize(
    "body", [each for each in BODIES if each.name in TELLS], ids=TELLS, indirect=True
)


async def running(provider: Provider, world: World, launched: Instance) -> Instance:
    """The machine once it runs, and shows its end where its cloud keeps that."""
    asked = these(world, launched.id)
    [found] = (await reach(provider, asked, InstanceState.RUNNING)).values()
    async with asyncio.timeout(DEADLINE_S):
        while provider.name in KEEPS and found.ends_at is None:
            await asyncio.sleep(0.05)
            [found] = (await provider.describe(asked)).values()
    return found


@on_telling_bodies
async def test_a_machine_is_described_with_its_size_its_market_and_its_end(provider: Provider, world: World) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=1, microseconds=1)
    request = world.request(spot=True, ttl=timedelta(hours=1), ends_at=ends_at)
    [launched] = await launch(provider, request)
    found = await running(provider, world, launched)
    assert (found.size, found.market) == (request.instance_size, Market.SPOT)
    assert found.tags["ogc:ends"] == str(ceil(ends_at.timestamp()))
    assert found.ended_at is None
    assert (found.ends_at is not None) is (provider.name in KEEPS)
    assert found.ends_at is None or abs(found.ends_at - ends_at) < SLACK


@on_telling_bodies
async def test_an_end_that_is_moved_is_shown_on_the_machine_and_again_changes_nothing(
    provider: Provider, world: World
) -> None:
    assert isinstance(provider, MovesEnds)
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    [launched] = await launch(provider, world.request(ttl=timedelta(hours=1), ends_at=ends_at))
    found = await running(provider, world, launched)
    # A cloud that keeps the end of a machine that runs moves it nowhere else.
    later = found.ends_at or ends_at + timedelta(hours=1)
    for _ in range(2):
        await provider.move_end(found.id, later)
        [moved] = (await provider.describe(these(world, found.id))).values()
        assert moved.tags == {**found.tags, "ogc:ends": str(ceil(later.timestamp()))}


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
