"""Many rows written by several at once: nobody waits for somebody who waits for them."""

from __future__ import annotations

import asyncio

from ogc_async.db import Engine
from ogc_async.db.claims import beat, claim_nodes, release_nodes
from ogc_async.db.moves import Move, move_nodes, running
from ogc_async.db.nodes import plan_nodes, set_usernames
from ogc_async.types import Instance, InstanceState, NodeState, UserSnapshot
from tests.holding import DEAD_S, LONG_S, facts, held
from tests.integration.db.test_nodes import draft

COUNT = 60
ROUNDS = 80


async def test_moves_and_renewals_of_the_same_nodes_at_once_all_succeed(engine: Engine, user: UserSnapshot) -> None:
    nodes = await plan_nodes(engine, user.id, [draft(number) for number in range(COUNT)])
    ids = [node.id for node in nodes]
    hold = await held(engine, ids, "mine")
    # A row that is written moves to another place in its table: an order of its own for whoever reads them through.
    for each in ids[::-7]:
        await set_usernames(engine, {each: "ubuntu"})
    machines = {
        node.id: Instance(id=f"i-{node.id}", state=InstanceState.RUNNING, token=node.token, launch_index=0)
        for node in nodes
    }

    async def move() -> None:
        for _ in range(ROUNDS):
            await move_nodes(engine, ids, Move(to=NodeState.LAUNCHING, came_from=set(NodeState)), hold)
            assert await move_nodes(engine, ids, running(machines), hold) == set(ids)

    async def live() -> None:
        for _ in range(2 * ROUNDS):
            await beat(engine, facts("mine"), LONG_S)

    async def try_to_take() -> None:
        for number in range(2 * ROUNDS):
            assert (await claim_nodes(engine, f"other-{number % 3}", ids, "exec")).fences == {}

    await asyncio.gather(move(), live(), try_to_take())
    await release_nodes(engine, [hold], last="mine")


async def all_at_once(engine: Engine, ids: list[int]) -> list[dict[int, int]]:
    """What each of eight that claim the same nodes at once is given."""
    workers = [f"worker-{number}" for number in range(8)]
    for each in workers:
        await beat(engine, facts(each), LONG_S)
    return [each.fences for each in await asyncio.gather(*(claim_nodes(engine, w, ids, "exec") for w in workers))]


async def test_whoever_waited_takes_only_what_is_still_free(engine: Engine, user: UserSnapshot) -> None:
    ids = [node.id for node in await plan_nodes(engine, user.id, [draft(number) for number in range(COUNT)])]
    taken = await all_at_once(engine, ids)
    assert sorted(len(each) for each in taken) == [0] * 7 + [COUNT]


async def test_of_many_that_find_a_holder_dead_at_once_one_takes_its_nodes(engine: Engine, user: UserSnapshot) -> None:
    ids = [node.id for node in await plan_nodes(engine, user.id, [draft(number) for number in range(COUNT)])]
    await held(engine, ids, "dead", for_s=DEAD_S)
    taken = await all_at_once(engine, ids)
    assert sorted(len(each) for each in taken) == [0] * 7 + [COUNT]
    assert {fence for each in taken for fence in each.values()} == {3}
