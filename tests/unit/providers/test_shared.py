"""One provider for many callers: who asks for what, and gets it, out of one call."""

from __future__ import annotations

import asyncio

import pytest

from ogc_async.errors import ServiceUnavailable
from ogc_async.providers.shared import SharedProvider
from ogc_async.testing import MemoryProvider
from ogc_async.types import DescribeRequest, Instance, LaunchRequest, Prepared

PREPARED = Prepared("image-1", "root", "key", "firewall")


def request(token: str, *names: str, scope: str = "s") -> LaunchRequest:
    return LaunchRequest(
        owner="ada",
        scope=scope,
        layout="web",
        names=names,
        token=token,
        runs_on="ubuntu-2404",
        instance_size="t3.small",
        public_key="ssh-ed25519 AAAA",
    )


def of(*tokens: str, ids: tuple[str, ...] = (), scope: str = "s") -> DescribeRequest:
    return DescribeRequest(owner="ada", scope=scope, tokens=tokens, instance_ids=ids)


async def launched(memory: MemoryProvider, token: str, count: int, scope: str = "s") -> list[str]:
    names = [f"{token}-{number}" for number in range(count)]
    answers = await memory.launch(request(token, *names, scope=scope), PREPARED)
    return [each.id for each in answers if isinstance(each, Instance)]


async def test_each_caller_gets_what_it_asked_for_out_of_one_description() -> None:
    memory = MemoryProvider()
    one, two = await launched(memory, "t1", 2), await launched(memory, "t2", 3)
    shared = SharedProvider(memory)
    by_token, by_id, both = await asyncio.gather(
        shared.describe(of("t1")), shared.describe(of(ids=(two[0],))), shared.describe(of("t2", ids=(one[0],)))
    )
    assert memory.calls["describe"] == 1
    assert set(by_token) == set(one)
    assert set(by_id) == {two[0]}
    assert set(both) == {one[0], *two}


async def test_callers_of_two_databases_are_described_apart() -> None:
    memory = MemoryProvider()
    mine, other = await launched(memory, "t1", 1), await launched(memory, "t2", 1, scope="other")
    shared = SharedProvider(memory)
    found = await asyncio.gather(shared.describe(of("t1", "t2")), shared.describe(of("t1", "t2", scope="other")))
    assert [set(each) for each in found] == [set(mine), set(other)]
    assert memory.calls["describe"] == 2


async def test_an_outage_is_every_callers_error_and_the_next_call_asks_anew() -> None:
    memory = MemoryProvider()
    (alone,) = await launched(memory, "t1", 1)
    memory.refusals["describe"] = [ServiceUnavailable("down", provider="aws", operation="describe")]
    shared = SharedProvider(memory)
    answers = await asyncio.gather(shared.describe(of("t1")), shared.describe(of("t1")), return_exceptions=True)
    assert [type(each) for each in answers] == [ServiceUnavailable] * 2
    assert set(await shared.describe(of("t1"))) == {alone}


async def test_ends_of_one_moment_are_one_call_and_each_caller_hears_of_its_own() -> None:
    memory = MemoryProvider()
    ids = await launched(memory, "t1", 4)
    shared = SharedProvider(memory)
    answers = await asyncio.gather(*(shared.terminate([each]) for each in ids), shared.terminate(["i-unknown"]))
    assert [list(each) for each in answers] == [*([each] for each in ids), ["i-unknown"]]
    assert memory.calls["terminate"] == 1
    assert await shared.terminate([]) == {}


@pytest.mark.parametrize("callers", [1, 5])
async def test_a_firewall_is_released_once_for_all_who_ask(callers: int) -> None:
    memory = MemoryProvider()
    shared = SharedProvider(memory)
    await asyncio.gather(*(shared.release("web", owner="ada", scope="s") for _ in range(callers)))
    assert memory.calls["release"] == 1
