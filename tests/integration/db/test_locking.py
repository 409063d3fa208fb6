"""Many rows written by several at once: nobody waits for somebody who waits for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from ogc_async.db import Engine
from ogc_async.db.leases import Hold, end_leases, renew_leases, take_leases
from ogc_async.db.moves import Move, move_nodes, running
from ogc_async.db.nodes import plan_nodes, set_usernames
from ogc_async.types import Instance, InstanceState, NodeState, UserSnapshot
from tests.integration.db.test_nodes import draft

COUNT = 60
ROUNDS = 80


async def test_moves_and_renewals_of_the_same_nodes_at_once_all_succeed(engine: Engine, user: UserSnapshot) -> None:
    nodes = await plan_nodes(engine, user.id, [draft(number) for number in range(COUNT)])
    ids = [node.id for node in nodes]
    hold = Hold("me", datetime.now(UTC) + timedelta(hours=1))
    assert await take_leases(engine, ids, hold) == set(ids)
    # A row that is written moves to another place in its table: an order of its own for whoever reads them through.
    for each in ids[::-7]:
        await set_usernames(engine, {each: "ubuntu"})
    machines = {
        node.id: Instance(id=f"i-{node.id}", state=InstanceState.RUNNING, token=node.token, launch_index=0)
        for node in nodes
    }

    async def move() -> None:
        for _ in range(ROUNDS):
            await move_nodes(engine, ids, Move(to=NodeState.LAUNCHING, came_from=set(NodeState)))
            assert await move_nodes(engine, ids, running(machines)) == set(ids)

    async def renew() -> None:
        for _ in range(2 * ROUNDS):
            await renew_leases(engine, hold)

    async def take() -> None:
        for _ in range(2 * ROUNDS):
            assert await take_leases(engine, ids, hold) == set(ids)

    await asyncio.gather(move(), renew(), take())
    await end_leases(engine, "me")


async def test_whoever_waited_takes_only_what_is_still_free(engine: Engine, user: UserSnapshot) -> None:
    ids = [node.id for node in await plan_nodes(engine, user.id, [draft(number) for number in range(COUNT)])]
    until = datetime.now(UTC) + timedelta(hours=1)
    taken = await asyncio.gather(*(take_leases(engine, ids, Hold(f"worker-{number}", until)) for number in range(8)))
    assert sorted(len(each) for each in taken) == [0] * 7 + [COUNT]
