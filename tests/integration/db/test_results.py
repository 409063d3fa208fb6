"""Steps on record: written as they happen, whatever bytes they print."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from ogc_async.db import Engine
from ogc_async.db.history import find_last_actions
from ogc_async.db.models import Action
from ogc_async.db.nodes import NodeDraft, plan_nodes
from ogc_async.db.results import FORSAKEN, Notes, StepEnd, StepStart, interrupt_forsaken, node_actions, write_notes
from ogc_async.ssh.output import BoundedBuffer
from ogc_async.types import NodeSnapshot, StepResult, StepState, UserSnapshot
from tests.holding import DEAD_S, held, living
from tests.integration.db.conftest import counted_statements, finish_actions, start_actions

EVERY_BYTE = bytes(range(256))
LIMIT = 1024


@pytest.fixture
async def nodes(engine: Engine, user: UserSnapshot) -> list[NodeSnapshot]:
    drafts = [
        NodeDraft(name=f"ogc-web-{n}", layout="web", provider="aws", region="r-1", token="t", launch_index=n)
        for n in range(2)
    ]
    return await plan_nodes(engine, user.id, drafts)


def start(node: NodeSnapshot, script: str = "1-a.sh") -> StepStart:
    return StepStart(node.id, "deploy", script, "5" * 64)


def end(output: bytes = b"", *, state: StepState = StepState.PASSED, size: int | None = None) -> StepResult:
    arrived = len(output) if size is None else size
    return StepResult(
        script="1-a.sh", state=state, exit_code=0, seconds=1.5, output=output, output_bytes=arrived, sha256="5" * 64
    )


async def test_a_step_is_on_record_for_others_while_it_runs_and_once_it_ended(
    engine: Engine, another: Engine, nodes: list[NodeSnapshot]
) -> None:
    node = nodes[0]
    (action_id,) = await start_actions(engine, [start(node)])
    (running,) = await node_actions(another, node.id)
    assert (running.id, running.kind, running.script, running.sha256) == (action_id, "deploy", "1-a.sh", "5" * 64)
    assert (running.state, running.exit_code, running.output, running.finished_at) == (
        StepState.RUNNING,
        None,
        b"",
        None,
    )
    await finish_actions(engine, {action_id: end(b"done\n")})
    (ended,) = await node_actions(another, node.id)
    assert (ended.state, ended.exit_code, ended.seconds, ended.output) == (StepState.PASSED, 0, 1.5, b"done\n")
    assert ended.finished_at is not None
    assert ended.started_at == running.started_at <= ended.finished_at
    assert ended.started_at.tzinfo is UTC


async def test_steps_of_many_nodes_come_back_in_the_order_they_were_given(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    starts = [start(nodes[n % 2], f"{n}.sh") for n in range(40)]
    ids = await start_actions(engine, starts)
    by_id = {each.id: each for node in nodes for each in await node_actions(engine, node.id)}
    assert [(by_id[each].node_id, by_id[each].script) for each in ids] == [(s.node_id, s.script) for s in starts]
    assert [each.script for each in await node_actions(engine, nodes[0].id)] == [f"{n}.sh" for n in range(0, 40, 2)]


async def test_one_thousand_steps_begin_and_end_in_a_handful_of_statements(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    with counted_statements(engine) as began:
        ids = await start_actions(engine, [start(nodes[0])] * 1000)
    with counted_statements(engine) as ended:
        await finish_actions(engine, {action_id: end(b"ok") for action_id in ids})
    assert len(set(ids)) == 1000
    assert len(began) <= 3
    assert len(ended) <= 2
    assert {each.output for each in await node_actions(engine, nodes[0].id)} == {b"ok"}


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"a\x00b\x00", id="NUL"),
        pytest.param(b"\xff\xfe\xc3\x28\xed\xa0\x80", id="invalid-utf-8"),
        pytest.param(EVERY_BYTE * 4096, id="a-mebibyte-of-every-byte"),
    ],
)
async def test_output_comes_back_byte_for_byte(engine: Engine, nodes: list[NodeSnapshot], output: bytes) -> None:
    (action_id,) = await start_actions(engine, [start(nodes[0])])
    await finish_actions(engine, {action_id: end(output)})
    (found,) = await node_actions(engine, nodes[0].id)
    assert type(found.output) is bytes
    assert found.output == output
    assert found.output_bytes == len(output)


async def test_output_beyond_the_limit_is_kept_with_its_cut_marked_and_its_full_size(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    buffer = BoundedBuffer(LIMIT)
    for _ in range(1000):
        buffer.write(EVERY_BYTE)
    (action_id,) = await start_actions(engine, [start(nodes[0])])
    await finish_actions(engine, {action_id: end(buffer.value(), size=buffer.size)})
    (found,) = await node_actions(engine, nodes[0].id)
    assert found.output_bytes == 256_000
    assert len(found.output) < LIMIT + 40
    head, mark, tail = found.output[:512], found.output[512:-512], found.output[-512:]
    assert (head, tail) == (EVERY_BYTE * 2, EVERY_BYTE * 2)
    assert mark.decode() == f"\n[… {256_000 - LIMIT} bytes cut …]\n"


async def test_more_output_than_a_32_bit_number_counts_is_counted(engine: Engine, nodes: list[NodeSnapshot]) -> None:
    (action_id,) = await start_actions(engine, [start(nodes[0])])
    await finish_actions(engine, {action_id: end(b"x", size=2**33)})
    assert [each.output_bytes for each in await node_actions(engine, nodes[0].id)] == [2**33]


@pytest.mark.parametrize("state", sorted(set(StepState) - {StepState.RUNNING}))
async def test_every_way_a_step_can_end_is_kept(engine: Engine, nodes: list[NodeSnapshot], state: StepState) -> None:
    (action_id,) = await start_actions(engine, [start(nodes[0])])
    result = StepResult(script="1-a.sh", state=state, exit_code=None, signal="KILL", seconds=0.25)
    await finish_actions(engine, {action_id: result})
    (found,) = await node_actions(engine, nodes[0].id)
    assert (found.state, found.exit_code, found.signal, found.seconds) == (state, None, "KILL", 0.25)


async def test_only_what_runs_and_whose_process_is_dead_is_interrupted_also_where_it_is_only_read(
    engine: Engine, another: Engine, nodes: list[NodeSnapshot]
) -> None:
    dead = await living(engine, "dead", for_s=DEAD_S)
    done, forsaken = (await write_notes(engine, Notes(starts=[start(nodes[0])] * 2), dead)).started
    await write_notes(engine, Notes(ends={done: StepEnd(nodes[0].id, end(b"kept"))}), dead)
    (goes_on,) = await start_actions(engine, [start(nodes[1])])
    wanted = {
        done: (StepState.PASSED, None),
        forsaken: (StepState.INTERRUPTED, FORSAKEN),
        goes_on: (StepState.RUNNING, None),
    }
    for written in ({forsaken}, set()):
        found = [each for node in nodes for each in await node_actions(another, node.id)]
        assert {each.id: (each.state, each.error) for each in found} == wanted
        found = await find_last_actions(another, [node.id for node in nodes])
        assert {each.id: (each.state, each.error) for each in found}.items() <= wanted.items()
        assert await interrupt_forsaken(engine) == written


async def test_a_claim_from_a_dead_process_writes_its_steps_as_interrupted(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    dead = await held(engine, [nodes[0].id], "dead", for_s=DEAD_S)
    (forsaken,) = (await write_notes(engine, Notes(starts=[start(nodes[0])]), dead)).started
    await held(engine, [nodes[0].id], "next")
    assert await interrupt_forsaken(engine) == set()
    (action,) = await node_actions(engine, nodes[0].id)
    assert (action.id, action.state, action.error) == (forsaken, StepState.INTERRUPTED, FORSAKEN)
    assert action.finished_at is not None


async def test_a_process_that_lost_its_node_begins_no_step_there_and_ends_none(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    ids = [node.id for node in nodes]
    zombie = await held(engine, ids, "zombie", for_s=DEAD_S)
    (under_way,) = (await write_notes(engine, Notes(starts=[start(nodes[0])]), zombie)).started
    await held(engine, ids[:1], "next")
    starts = [start(nodes[0], "2-b.sh"), start(nodes[1], "2-b.sh")]
    ends = {under_way: StepEnd(ids[0], end(b"late"))}
    written = await write_notes(engine, Notes(starts=starts, ends=ends, asked_after=set(ids)), zombie)
    assert written.started[0] == 0
    assert written.started[1] > 0
    assert written.lost == {ids[0]}
    (action,) = await node_actions(engine, ids[0])
    assert (action.id, action.state, action.output) == (under_way, StepState.INTERRUPTED, b"")


async def test_steps_of_the_release_before_are_judged_by_their_own_lease(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    moments = {"fresh": datetime.now(UTC) + timedelta(hours=1), "stale": datetime.now(UTC) - timedelta(hours=1)}
    async with engine.transaction() as connection:
        for script, until in moments.items():
            row = {"node_id": nodes[0].id, "kind": "deploy", "script": script, "lease_until": until}
            await connection.execute(insert(Action).values(row))
    states = {each.script: each.state for each in await node_actions(engine, nodes[0].id)}
    assert states == {"fresh": StepState.RUNNING, "stale": StepState.INTERRUPTED}


async def test_nothing_to_write_asks_the_database_for_nothing_and_a_node_without_steps_has_none(
    engine: Engine, nodes: list[NodeSnapshot]
) -> None:
    assert await start_actions(engine, []) == []
    await finish_actions(engine, {})
    assert await interrupt_forsaken(engine) == set()
    assert await node_actions(engine, nodes[0].id) == []


async def test_output_does_not_show_where_a_record_is_printed(engine: Engine, nodes: list[NodeSnapshot]) -> None:
    (action_id,) = await start_actions(engine, [start(nodes[0])])
    await finish_actions(engine, {action_id: end(b"token=hunter2")})
    assert "hunter2" not in repr(await node_actions(engine, nodes[0].id))
