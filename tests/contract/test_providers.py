"""What every provider promises, whichever cloud is behind it."""

from __future__ import annotations

import asyncio
import base64
import re
from datetime import timedelta

import pytest
from ruamel.yaml import YAML

from ogc_async.errors import NotFound, ProviderError, ResourceInUse
from ogc_async.providers.base import InjectsHostKeys, Provider
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchRequest
from tests.contract.bodies import Can, World, on_bodies

DEADLINE_S = 30.0


async def launch(provider: Provider, request: LaunchRequest) -> list[Instance]:
    answers = await provider.launch(request, await provider.prepare(request))
    assert len(answers) == len(request.names)
    assert all(isinstance(each, Instance) for each in answers), answers
    return [each for each in answers if isinstance(each, Instance)]


async def reach(provider: Provider, request: DescribeRequest, state: InstanceState) -> dict[str, Instance]:
    """Describe until all are in ``state``, as a caller would."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            seen = await provider.describe(request)
            if seen and all(each.state is state for each in seen.values()):
                return seen
            await asyncio.sleep(0.05)


def these(world: World, *instance_ids: str, tokens: tuple[str, ...] = ()) -> DescribeRequest:
    return DescribeRequest(owner=world.owner, scope=world.scope, tokens=tokens, instance_ids=instance_ids)


@on_bodies()
async def test_preparing_again_from_another_process_too_finds_what_is_there(
    provider: Provider, other_process: Provider, world: World
) -> None:
    request = world.request()
    first = await provider.prepare(request)
    assert await provider.prepare(request) == first
    assert await other_process.prepare(request) == first


@on_bodies(Can.WITNESS)
async def test_preparing_at_the_same_time_makes_one_key_pair_and_one_firewall(
    provider: Provider, other_process: Provider, world: World
) -> None:
    requests = [world.request() for _ in range(5)]
    prepared = await asyncio.gather(
        *(each.prepare(request) for each in (provider, other_process) for request in requests)
    )
    assert len(set(prepared)) == 1
    ours = [{"Name": "tag:ogc:scope", "Values": [world.scope]}]
    ec2 = world.cloud.witness()
    assert len(ec2.describe_key_pairs(Filters=ours)["KeyPairs"]) == 1
    assert len(ec2.describe_security_groups(Filters=ours)["SecurityGroups"]) == 1


@on_bodies()
async def test_a_machine_is_tagged_from_its_first_moment_and_found_by_batch_and_by_id(
    provider: Provider, world: World
) -> None:
    request = world.request(labels={"team": "x"}, tags=("blue",))
    [launched] = await launch(provider, request)
    assert launched.state in (InstanceState.PENDING, InstanceState.RUNNING)
    assert launched.token == request.token
    assert launched.launch_index == 0 or launched.name == request.names[0]
    running = await reach(provider, these(world, tokens=(request.token,)), InstanceState.RUNNING)
    by_id = await provider.describe(these(world, launched.id))
    assert set(running) == set(by_id) == {launched.id}
    found = by_id[launched.id]
    assert found.private_ip or found.public_ip
    assert found.zone.startswith(provider.region)
    expected = {
        "ogc:owner": world.owner,
        "ogc:scope": world.scope,
        "ogc:layout": "web",
        "team": "x",
        "ogc:tags": "blue",
    }
    assert found.tags.items() >= expected.items()


@on_bodies()
async def test_an_id_that_nobody_has_is_absent_from_a_description(provider: Provider, world: World) -> None:
    [launched] = await launch(provider, world.request())
    assert set(await provider.describe(these(world, launched.id, world.body.unknown))) == {launched.id}
    assert await provider.describe(these(world, world.body.unknown, tokens=("no-such-batch",))) == {}


@on_bodies()
async def test_a_machine_of_another_scope_is_not_described_but_is_owned(provider: Provider, world: World) -> None:
    [mine] = await launch(provider, world.request())
    elsewhere = World(world.body, world.cloud, owner=world.owner)
    [other] = await launch(provider, elsewhere.request())
    assert set(await provider.describe(these(world, mine.id, other.id))) == {mine.id}
    assert {each.id for each in await provider.list_owned(world.owner)} == {mine.id, other.id}


@on_bodies()
async def test_strangers_machines_are_never_listed(provider: Provider, world: World) -> None:
    stranger = World(world.body, world.cloud)
    await launch(provider, stranger.request())
    assert await provider.list_owned(world.owner) == []


@on_bodies()
async def test_terminating_goes_on_to_the_end_and_again_does_nothing_new(provider: Provider, world: World) -> None:
    [launched] = await launch(provider, world.request())
    for _ in range(2):
        answer = (await provider.terminate([launched.id]))[launched.id]
        assert isinstance(answer, Instance)
        assert answer.state.is_gone
    await reach(provider, these(world, launched.id), InstanceState.TERMINATED)
    assert await provider.list_owned(world.owner) == []


@on_bodies()
async def test_an_unknown_id_among_many_costs_the_others_nothing(provider: Provider, world: World) -> None:
    request = world.request()
    await launch(provider, request)
    more = [await launch(provider, world.request()) for _ in range(3)]
    ids = [*(each.id for batch in more for each in batch)]
    asked = [ids[0], world.body.unknown, *ids[1:]]
    answers = await provider.terminate(asked)
    assert list(answers) == asked
    assert all(isinstance(each, Instance) and each.state.is_gone for each in answers.values())
    gone = answers[world.body.unknown]
    assert isinstance(gone, Instance)
    assert gone.state is InstanceState.TERMINATED
    await reach(provider, these(world, *ids), InstanceState.TERMINATED)
    assert len(await provider.list_owned(world.owner)) == 1


@on_bodies(Can.WITNESS)
async def test_releasing_twice_leaves_nothing_and_is_fine(provider: Provider, world: World) -> None:
    await provider.prepare(world.request())
    ours = [{"Name": "tag:ogc:scope", "Values": [world.scope]}]
    ec2 = world.cloud.witness()
    for _ in range(2):
        await provider.release("web", owner=world.owner, scope=world.scope)
        assert ec2.describe_key_pairs(Filters=ours)["KeyPairs"] == []
        assert ec2.describe_security_groups(Filters=ours)["SecurityGroups"] == []


@on_bodies()
async def test_what_was_released_is_prepared_anew(provider: Provider, world: World) -> None:
    request = world.request()
    await provider.prepare(request)
    await provider.release("web", owner=world.owner, scope=world.scope)
    await launch(provider, request)


@on_bodies()
async def test_releasing_one_layout_leaves_the_others(provider: Provider, world: World) -> None:
    await provider.prepare(world.request())
    other = await provider.prepare(world.request(layout="db"))
    await provider.release("web", owner=world.owner, scope=world.scope)
    assert await provider.prepare(world.request(layout="db")) == other


@on_bodies(Can.USES)
async def test_releasing_what_a_machine_still_uses_is_refused_until_it_is_gone(
    provider: Provider, world: World
) -> None:
    [launched] = await launch(provider, world.request())
    with pytest.raises(ResourceInUse):
        await provider.release("web", owner=world.owner, scope=world.scope)
    await provider.terminate([launched.id])
    await reach(provider, these(world, launched.id), InstanceState.TERMINATED)
    await provider.release("web", owner=world.owner, scope=world.scope)


@on_bodies(Can.CATALOG)
async def test_an_image_that_is_not_there_is_a_clear_error(provider: Provider, world: World) -> None:
    with pytest.raises(NotFound, match=re.escape(world.body.no_image.rpartition("/")[2])):
        await provider.prepare(world.request(runs_on=world.body.no_image))


@on_bodies(Can.CATALOG)
async def test_a_machine_type_that_does_not_exist_is_a_clear_error(provider: Provider, world: World) -> None:
    request = world.request(instance_size="t3.enormous")
    with pytest.raises(ProviderError, match=r"t3\.enormous") as caught:
        await provider.launch(request, await provider.prepare(request))
    assert not caught.value.retryable


@on_bodies()
async def test_closing_twice_does_nothing_new(provider: Provider, world: World) -> None:
    await provider.list_owned(world.owner)
    await provider.aclose()
    await provider.aclose()
    assert await provider.list_owned(world.owner) == []


@on_bodies(Can.BATCHES)
async def test_one_call_launches_a_whole_batch_and_each_name_gets_its_own_machine(
    provider: Provider, world: World
) -> None:
    request = world.request(7)
    launched = await launch(provider, request)
    assert len({each.id for each in launched}) == 7
    places = [each.launch_index for each in launched]
    assert places == list(range(7)) or [each.name for each in launched] == list(request.names)


@on_bodies(Can.BATCHES, Can.TOKENS)
async def test_the_same_launch_again_from_another_process_too_launches_nothing_new(
    provider: Provider, other_process: Provider, world: World
) -> None:
    request = world.request(4, host_key=new_host_key())
    first = await launch(provider, request)
    again = await launch(provider, request)
    elsewhere = await launch(other_process, request)
    assert [each.id for each in first] == [each.id for each in again] == [each.id for each in elsewhere]
    assert len(await provider.list_owned(world.owner)) == 4


@on_bodies(Can.WITNESS)
async def test_a_host_key_that_can_be_given_is_handed_to_the_machine_beside_all_else_that_it_is_told(
    provider: Provider, world: World
) -> None:
    assert isinstance(provider, InjectsHostKeys)
    assert provider.has_cloud_init(world.request().runs_on)
    request = world.request(host_key=new_host_key(), ttl=timedelta(hours=1))
    assert request.host_key is not None
    [launched] = await launch(provider, request)
    answer = world.cloud.witness().describe_instance_attribute(InstanceId=launched.id, Attribute="userData")
    told = YAML(typ="safe").load(base64.b64decode(answer["UserData"]["Value"]).decode())
    assert told["ssh_keys"]["ed25519_private"] == request.host_key.private
    assert "life=3600 " in told["write_files"][0]["content"]
