"""What every provider does when its cloud is in trouble: the same, in the same words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ogc_async.errors import NoCapacity, ProviderError, QuotaExceeded, ResourceInUse
from ogc_async.providers.base import Provider
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure, LaunchRequest
from tests.contract.bodies import Body, Can, World, on_bodies

DEADLINE_S = 60.0

Troubled = Callable[..., World]


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Provider]:
    provider = world.cloud.open()
    try:
        yield provider
    finally:
        await provider.aclose()


async def outcomes(provider: Provider, request: LaunchRequest) -> list[Instance | ProviderError]:
    """An answer a name, in order; a call that was refused as a whole is everyone's answer."""
    try:
        answers = await provider.launch(request, await provider.prepare(request))
    except ProviderError as error:
        return [error] * len(request.names)
    return [each.error if isinstance(each, LaunchFailure) else each for each in answers]


async def until_released(provider: Provider, world: World) -> None:
    """Machines that end still use their firewall."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await provider.release("web", owner=world.owner, scope=world.scope)
            except ResourceInUse:
                await asyncio.sleep(0.05)


def name_of(answer: Instance | ProviderError) -> str:
    return answer.id if isinstance(answer, Instance) else str(answer)


@on_bodies(Can.TROUBLE)
async def test_a_zone_with_little_room_gives_what_it_has_and_each_other_name_its_reason(
    troubled: Troubled, body: Body
) -> None:
    world = troubled("--capacity", f"{body.zone}=3")
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(5, zone=body.zone))
        assert sum(isinstance(each, Instance) for each in answers) == 3
        assert sum(isinstance(each, NoCapacity) for each in answers) == 2
        assert len(await provider.list_owned(world.owner)) == 3


@on_bodies(Can.TROUBLE)
async def test_a_zone_without_room_is_a_lack_of_capacity_and_leaves_nothing(troubled: Troubled, body: Body) -> None:
    world = troubled("--capacity", f"{body.zone}=0")
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(3, zone=body.zone))
        assert [type(each) for each in answers] == [NoCapacity] * 3
        assert not any(each.retryable for each in answers if isinstance(each, ProviderError))
        assert await provider.list_owned(world.owner) == []


@on_bodies(Can.TROUBLE)
async def test_a_reply_that_got_lost_is_asked_for_again_and_launches_nothing_twice(
    troubled: Troubled, body: Body
) -> None:
    world = troubled("--fault", f"{body.launch}=lost-reply")
    request = world.request(4)
    async with opened(world) as provider, opened(world) as other_process:
        first = await outcomes(provider, request)
        again = await outcomes(other_process, request)
        assert [name_of(each) for each in first] == [name_of(each) for each in again]
        assert len(await provider.list_owned(world.owner)) == 4


@on_bodies(Can.TROUBLE)
async def test_a_cloud_that_is_overloaded_or_asks_to_slow_down_is_asked_again(troubled: Troubled, body: Body) -> None:
    faults = (f"{body.launch}=unavailable", f"{body.launch}={body.throttling}")
    world = troubled("--fault", faults[0], "--fault", faults[1])
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(2))
        assert all(isinstance(each, Instance) for each in answers)
        assert len(await provider.list_owned(world.owner)) == 2


@on_bodies(Can.TROUBLE)
async def test_calls_that_are_all_carried_out_twice_make_nothing_twice(troubled: Troubled, body: Body) -> None:
    world = troubled("--duplicates", "1")
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(3))
        launched = [each.id for each in answers if isinstance(each, Instance)]
        assert len(launched) == 3, answers
        assert sorted(each.id for each in await provider.list_owned(world.owner)) == sorted(launched)
        ended = await provider.terminate(launched)
        assert not any(isinstance(each, ProviderError) for each in ended.values()), ended
        await until_released(provider, world)


@pytest.mark.parametrize("how", ["--outage", "--cut"])
@on_bodies(Can.TROUBLE)
async def test_an_outage_is_sat_out(troubled: Troubled, body: Body, how: str) -> None:
    world = troubled(how, "0:1.5")
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(2))
        assert all(isinstance(each, Instance) for each in answers), answers
        assert len(await provider.list_owned(world.owner)) == 2


@pytest.mark.parametrize("how", ["--lag", "--tag-lag"])
@on_bodies(Can.TROUBLE)
async def test_machines_that_are_not_shown_yet_are_launched_once_and_found_later(
    troubled: Troubled, body: Body, how: str
) -> None:
    world = troubled(how, "1")
    request = world.request(2)
    async with opened(world) as provider, opened(world) as other_process:
        first = await outcomes(provider, request)
        again = await outcomes(other_process, request)
        assert [name_of(each) for each in first] == [name_of(each) for each in again]
        wanted = DescribeRequest(owner=world.owner, scope=world.scope, tokens=(request.token,))
        async with asyncio.timeout(DEADLINE_S):
            while len(seen := await provider.describe(wanted)) < 2:
                await asyncio.sleep(0)
        assert sorted(seen) == sorted(name_of(each) for each in first)


@on_bodies(Can.TROUBLE)
async def test_a_quota_is_told_apart_from_a_lack_of_capacity(troubled: Troubled, body: Body) -> None:
    world = troubled("--quota", "0")
    async with opened(world) as provider:
        answers = await outcomes(provider, world.request(2))
        assert [type(each) for each in answers] == [QuotaExceeded] * 2
        assert await provider.list_owned(world.owner) == []


@on_bodies(Can.TROUBLE)
async def test_a_machine_that_dies_while_it_boots_is_terminated_for_want_of_capacity(
    troubled: Troubled, body: Body
) -> None:
    world = troubled("--late-deaths", "1")
    request = world.request(2)
    async with opened(world) as provider:
        answers = await outcomes(provider, request)
        launched = [each.id for each in answers if isinstance(each, Instance)]
        dead = [str(each) for each in answers if isinstance(each, NoCapacity)]
        wanted = DescribeRequest(owner=world.owner, scope=world.scope, instance_ids=tuple(launched))
        async with asyncio.timeout(DEADLINE_S):
            while len(dead) < 2:
                seen = await provider.describe(wanted)
                dead += [
                    f"{each.reason} {each.error}"
                    for each in seen.values()
                    if each.state is InstanceState.TERMINATED and each.id in launched
                ]
                launched = [each for each in launched if each not in seen or not seen[each].state.is_gone]
        assert all("Capacity" in each or "EXHAUSTED" in each or "resources" in each for each in dead), dead
        assert await provider.list_owned(world.owner) == []
