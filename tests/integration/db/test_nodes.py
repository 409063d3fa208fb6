"""Nodes on record: guarded moves, few statements for many rows, what is found by which filter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError

from ogc_async import db
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.moves import Move, Place, asked, move_nodes, record_instances, renewed, running
from ogc_async.db.nodes import (
    NodeDraft,
    find_nodes,
    get_nodes,
    pin_host_keys,
    plan_nodes,
    set_usernames,
)
from ogc_async.db.results import StepStart, node_actions
from ogc_async.errors import UnknownNode
from ogc_async.settings import Settings
from ogc_async.types import LIVE, Instance, InstanceState, NodeSnapshot, NodeState, UserSnapshot
from tests.integration.db.conftest import counted_statements, start_actions

Plan = Callable[..., Awaitable[list[NodeSnapshot]]]
ENDED = sorted(set(NodeState) - LIVE)
A_MOMENT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def plan(engine: Engine, user: UserSnapshot) -> Plan:
    async def planned(count: int, layout: str = "web", *, tags: tuple[str, ...] = ()) -> list[NodeSnapshot]:
        drafts = [draft(n, layout, tags) for n in range(count)]
        return await plan_nodes(engine, user.id, drafts)

    return planned


def draft(n: int, layout: str = "web", tags: tuple[str, ...] = ()) -> NodeDraft:
    return NodeDraft(
        name=f"ogc-{layout}-{n}",
        layout=layout,
        provider="aws",
        region="us-east-2",
        token=f"token-{layout}",
        launch_index=n,
        zone="us-east-2a",
        tags=tags,
        labels={"team": "öps"},
        spec={"name": layout, "scale": 3},
        worker="me",
        claimed_for="launch",
    )


def instance(n: int) -> Instance:
    return Instance(
        id=f"i-{n:017}",
        name=f"ogc-web-{n}",
        state=InstanceState.RUNNING,
        token="token-web",
        launch_index=n,
        zone="us-east-2b",
        public_ip=f"198.51.100.{n % 256}",
        private_ip=f"10.0.0.{n % 256}",
        launched_at=A_MOMENT,
    )


async def move(engine: Engine, node_ids: Iterable[int], change: Move) -> set[int]:
    """As their holder does."""
    node_ids = list(node_ids)
    return await move_nodes(engine, node_ids, change, Hold("me", dict.fromkeys(node_ids, 1)))


async def move_machines(engine: Engine, machines: dict[int, Instance]) -> set[int]:
    return await move(engine, machines, running(machines))


async def note_machines(engine: Engine, machines: dict[int, Instance]) -> set[int]:
    return await record_instances(engine, machines, Hold("me", dict.fromkeys(machines, 1)))


def ids_of(nodes: list[NodeSnapshot]) -> list[int]:
    return [node.id for node in nodes]


async def put(engine: Engine, node_ids: list[int], state: NodeState) -> None:
    assert await move(engine, node_ids, Move(to=state, came_from=frozenset(NodeState))) == set(node_ids)


async def test_planned_nodes_come_back_as_drafted_and_in_order(plan: Plan, another: Engine) -> None:
    made = await plan(3, tags=("front", "blau"))
    assert [node.name for node in made] == ["ogc-web-0", "ogc-web-1", "ogc-web-2"]
    assert [node.launch_index for node in made] == [0, 1, 2]
    first = made[0]
    assert (first.state, first.tags, first.labels) == (NodeState.PLANNED, ("front", "blau"), {"team": "öps"})
    assert (first.zone, first.instance_id, first.host_key) == ("us-east-2a", None, None)
    assert first.spec == {"name": "web", "scale": 3}
    assert first.created_at is not None
    assert first.created_at.tzinfo is UTC
    assert await find_nodes(another) == made


async def test_a_name_that_is_taken_leaves_nothing_of_its_batch_on_record(
    plan: Plan, engine: Engine, user: UserSnapshot
) -> None:
    (kept,) = await plan(1)
    with pytest.raises(IntegrityError):
        await plan_nodes(engine, user.id, [draft(7), draft(0)])
    assert await find_nodes(engine) == [kept]


async def test_a_move_returns_only_the_ids_it_moved_and_touches_no_other(plan: Plan, engine: Engine) -> None:
    first, second, third = ids_of(await plan(3))
    await put(engine, [second], NodeState.RUNNING)
    moved = await move(
        engine, [first, second, 10**6], Move(to=NodeState.FAILED, came_from={NodeState.PLANNED}, reason="no capacity")
    )
    assert moved == {first}
    nodes = await get_nodes(engine, [first, second, third])
    assert [(node.state, node.reason) for node in nodes] == [
        (NodeState.FAILED, "no capacity"),
        (NodeState.RUNNING, None),
        (NodeState.PLANNED, None),
    ]


async def test_of_several_that_move_the_same_rows_at_once_each_row_is_moved_by_exactly_one(
    plan: Plan, database_url: URL
) -> None:
    ids = ids_of(await plan(300))
    movers = [db.connect(database_url, settings=Settings(_env_file=None)) for _ in range(4)]

    async def move_in_small_steps(mover: Engine, own: list[int]) -> list[int]:
        moved: list[int] = []
        for first in range(0, len(own), 60):
            step = own[first : first + 60]
            moved += await move(mover, step, Move(to=NodeState.TERMINATING, came_from={NodeState.PLANNED}))
        return moved

    orders = [ids, ids[::-1], ids[100:] + ids[:100], ids[::2] + ids[1::2]]
    try:
        answers = await asyncio.gather(*map(move_in_small_steps, movers, orders))
    finally:
        for mover in movers:
            await mover.aclose()
    assert sorted(node_id for answer in answers for node_id in answer) == ids


async def test_two_that_move_all_rows_in_opposite_orders_do_not_wait_for_each_other_for_ever(
    plan: Plan, engine: Engine, another: Engine
) -> None:
    ids = ids_of(await plan(1500))
    one, other = await asyncio.gather(
        move(engine, ids, Move(to=NodeState.TERMINATING, came_from=LIVE - {NodeState.TERMINATING})),
        move(another, ids[::-1], Move(to=NodeState.TERMINATING, came_from=LIVE - {NodeState.TERMINATING})),
    )
    assert one | other == set(ids)
    assert not one & other


async def test_two_that_note_the_same_machines_in_opposite_orders_do_not_wait_for_each_other_for_ever(
    plan: Plan, engine: Engine, another: Engine
) -> None:
    ids = ids_of(await plan(800))
    machines = {node_id: instance(node_id) for node_id in ids}
    backwards = dict(reversed(machines.items()))
    await asyncio.gather(note_machines(engine, machines), note_machines(another, backwards))
    nodes = await get_nodes(engine, ids)
    assert [node.instance_id for node in nodes] == [machines[node_id].id for node_id in ids]


@pytest.mark.parametrize("state", ENDED)
async def test_a_node_that_ended_is_left_as_it_is_by_whatever_moves_living_ones(
    plan: Plan, engine: Engine, state: NodeState
) -> None:
    (node_id,) = ids_of(await plan(1))
    await put(engine, [node_id], state)
    (before,) = await get_nodes(engine, [node_id])
    for to in NodeState:
        assert await move(engine, [node_id], Move(to=to, came_from=LIVE)) == set()
    assert await move_machines(engine, {node_id: instance(1)}) == set()
    assert await move(engine, [node_id], renewed({node_id: Place("another", 0, None)})) == set()
    assert await get_nodes(engine, [node_id]) == [before]


async def test_moments_are_noted_when_a_node_runs_and_when_it_ends(plan: Plan, engine: Engine) -> None:
    (node_id,) = ids_of(await plan(1))
    await put(engine, [node_id], NodeState.LAUNCHING)
    assert await move_machines(engine, {node_id: instance(1)}) == {node_id}
    (running,) = await get_nodes(engine, [node_id])
    assert running.running_at is not None
    assert running.terminated_at is None
    await put(engine, [node_id], NodeState.TERMINATED)
    (ended,) = await get_nodes(engine, [node_id])
    assert ended.running_at == running.running_at
    assert ended.terminated_at is not None
    assert ended.terminated_at >= running.running_at


async def test_only_a_launching_node_becomes_running_and_gets_its_addresses(plan: Plan, engine: Engine) -> None:
    launching, gone = ids_of(await plan(2))
    await put(engine, [launching], NodeState.LAUNCHING)
    await put(engine, [gone], NodeState.TERMINATING)
    assert await move_machines(engine, {gone: instance(1), launching: instance(2)}) == {launching}
    one, other = await get_nodes(engine, [launching, gone])
    assert (one.state, one.instance_id, one.public_ip, one.private_ip, one.zone) == (
        NodeState.RUNNING,
        instance(2).id,
        "198.51.100.2",
        "10.0.0.2",
        "us-east-2b",
    )
    assert (other.state, other.instance_id, other.public_ip) == (NodeState.TERMINATING, None, None)


async def test_a_renewed_node_is_planned_again_under_another_token_and_without_a_machine(
    plan: Plan, engine: Engine
) -> None:
    (node_id,) = ids_of(await plan(1))
    await put(engine, [node_id], NodeState.LAUNCHING)
    await note_machines(engine, {node_id: instance(1)})
    assert await move(engine, [node_id], renewed({node_id: Place("second", 4, "us-east-2c")})) == {node_id}
    (node,) = await get_nodes(engine, [node_id])
    assert (node.state, node.token, node.launch_index, node.zone, node.instance_id) == (
        NodeState.PLANNED,
        "second",
        4,
        "us-east-2c",
        None,
    )


async def test_one_thousand_nodes_take_as_many_statements_as_ten(plan: Plan, engine: Engine) -> None:
    counts: dict[int, dict[str, int]] = {}
    for count in (10, 1000):
        took: dict[str, int] = {}
        with counted_statements(engine) as seen:

            def note(what: str, seen: list[str] = seen, took: dict[str, int] = took) -> None:
                took[what] = len(seen)
                seen.clear()

            ids = ids_of(await plan(count, f"layout-{count}"))
            note("planned")
            await move(engine, ids, asked())
            note("moved")
            await note_machines(engine, {node_id: instance(node_id) for node_id in ids})
            note("landed")
            assert await move_machines(engine, {node_id: instance(node_id) for node_id in ids}) == set(ids)
            note("running")
            await pin_host_keys(engine, dict.fromkeys(ids, "ssh-ed25519 AAAA"))
            note("pinned")
            await set_usernames(engine, dict.fromkeys(ids, "ubuntu"))
            note("named")
            assert ids_of(await get_nodes(engine, ids)) == ids
            note("got")
            assert ids_of(await find_nodes(engine, layout=f"layout-{count}")) == ids
            note("found")
        counts[count] = took
    assert counts[1000] == counts[10]
    # One or two statements each; SQLite says BEGIN in a statement of its own.
    assert max(counts[1000].values()) <= 3
    assert sum(counts[1000].values()) <= 18


async def test_more_rows_than_fit_one_statement_are_written_moved_and_read_whole_and_in_order(
    plan: Plan, engine: Engine
) -> None:
    nodes = await plan(2001)
    assert [node.launch_index for node in nodes] == list(range(2001))
    ids = ids_of(nodes)
    assert await move(engine, ids, asked()) == set(ids)
    assert ids_of(await get_nodes(engine, ids[::-1])) == ids[::-1]


async def test_a_host_key_is_kept_for_its_node_only(plan: Plan, engine: Engine) -> None:
    one, other = ids_of(await plan(2))
    await pin_host_keys(engine, {one: "ssh-ed25519 AAAAone"})
    assert [node.host_key for node in await get_nodes(engine, [one, other])] == ["ssh-ed25519 AAAAone", None]


async def test_the_host_key_of_first_contact_stays_pinned_whatever_a_later_one_shows(
    plan: Plan, engine: Engine, another: Engine
) -> None:
    (node_id,) = ids_of(await plan(1))
    await pin_host_keys(engine, {node_id: "ssh-ed25519 AAAAfirst"})
    await pin_host_keys(another, {node_id: "ssh-ed25519 AAAAsecond"})
    assert [node.host_key for node in await get_nodes(engine, [node_id])] == ["ssh-ed25519 AAAAfirst"]


async def test_a_key_that_machines_are_given_goes_on_record_with_the_move_and_only_of_nodes_that_moved(
    plan: Plan, engine: Engine
) -> None:
    one, gone, plain = ids_of(await plan(3))
    await put(engine, [gone], NodeState.FAILED)
    assert await move(engine, [one, gone], asked("ssh-ed25519 AAAAgiven")) == {one}
    assert await move(engine, [one], asked("ssh-ed25519 AAAAother")) == set()
    assert await move(engine, [plain], asked()) == {plain}
    assert [(node.state, node.host_key) for node in await get_nodes(engine, [one, gone, plain])] == [
        (NodeState.LAUNCHING, "ssh-ed25519 AAAAgiven"),
        (NodeState.FAILED, None),
        (NodeState.LAUNCHING, None),
    ]


async def test_a_given_key_stays_through_boot_and_first_contact_and_goes_with_its_batch(
    plan: Plan, engine: Engine
) -> None:
    one, other = ids_of(await plan(2))
    await move(engine, [one, other], asked("ssh-ed25519 AAAAgiven"))
    await note_machines(engine, {one: instance(1), other: instance(2)})
    assert await move_machines(engine, {one: instance(1)}) == {one}
    await pin_host_keys(engine, {one: "ssh-ed25519 AAAAshown"})
    assert await move(engine, [other], renewed({other: Place("second", 0, None)})) == {other}
    assert [node.host_key for node in await get_nodes(engine, [one, other])] == ["ssh-ed25519 AAAAgiven", None]
    await move(engine, [other], asked("ssh-ed25519 AAAAnew"))
    assert [node.host_key for node in await get_nodes(engine, [other])] == ["ssh-ed25519 AAAAnew"]


async def test_login_users_are_noted_by_node(plan: Plan, engine: Engine) -> None:
    one, other = ids_of(await plan(2))
    await set_usernames(engine, {other: "admin", one: "ubuntu"})
    assert [node.username for node in await get_nodes(engine, [one, other])] == ["ubuntu", "admin"]


async def test_a_changed_row_says_when_it_was_changed(plan: Plan, engine: Engine) -> None:
    (before,) = await plan(1)
    await set_usernames(engine, {before.id: "admin"})
    (after,) = await get_nodes(engine, [before.id])
    assert before.updated_at is not None
    assert after.updated_at is not None
    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


async def test_filters_narrow_and_combine(plan: Plan, engine: Engine) -> None:
    web = await plan(2, "web", tags=("front", "eu"))
    base = await plan(2, "base", tags=("eu",))
    await put(engine, [web[0].id, base[0].id], NodeState.TERMINATED)

    async def found(**filters: object) -> list[str]:
        return [node.name for node in await find_nodes(engine, **filters)]  # type: ignore[arg-type]

    assert await found() == ["ogc-web-0", "ogc-web-1", "ogc-base-0", "ogc-base-1"]
    assert await found(layout="web") == ["ogc-web-0", "ogc-web-1"]
    assert await found(tag="eu") == ["ogc-web-0", "ogc-web-1", "ogc-base-0", "ogc-base-1"]
    assert await found(tag="front") == ["ogc-web-0", "ogc-web-1"]
    assert await found(states={NodeState.TERMINATED}) == ["ogc-web-0", "ogc-base-0"]
    assert await found(states=LIVE, tag="eu", layout="base") == ["ogc-base-1"]
    assert await found(tag="fro") == []
    assert await found(layout="WEB") == []
    assert await found(states=set()) == []


async def test_nodes_are_given_in_the_order_asked_and_as_often(plan: Plan, engine: Engine) -> None:
    first, second, third = ids_of(await plan(3))
    assert ids_of(await get_nodes(engine, [third, first, third, second])) == [third, first, third, second]
    assert await get_nodes(engine, []) == []


async def test_every_id_that_no_node_has_is_named_at_once(plan: Plan, engine: Engine) -> None:
    (known,) = ids_of(await plan(1))
    with pytest.raises(UnknownNode) as caught:
        await get_nodes(engine, [990, known, 991])
    assert caught.value.missing == (990, 991)


async def test_calls_on_no_nodes_at_all_do_nothing(plan: Plan, engine: Engine) -> None:
    nodes = await plan(1)
    assert await plan(0) == []
    assert await move(engine, [], Move(to=NodeState.LOST, came_from=LIVE)) == set()
    assert await move_machines(engine, {}) == set()
    assert await move(engine, [], renewed({})) == set()
    await note_machines(engine, {})
    await pin_host_keys(engine, {})
    assert await find_nodes(engine) == nodes


async def test_deleting_a_node_deletes_its_steps_and_a_user_with_nodes_stays(plan: Plan, engine: Engine) -> None:
    (node_id,) = ids_of(await plan(1))
    await start_actions(engine, [StepStart(node_id, "exec", "true", "")])
    async with db.session(engine) as s:
        await s.delete((await s.select(db.User)).one())
        with pytest.raises(IntegrityError, match=r"(?i)foreign key|not null"):
            await s.commit()
    async with db.session(engine) as s:
        await s.delete(await s.get_one(db.Node, node_id))
        await s.commit()
    assert await node_actions(engine, node_id) == []
    assert await find_nodes(engine) == []
