"""One process at a time works on a node: every verb claims, a held node says by whom, a lost claim begins nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import String, cast, func, insert, literal, select, text, update

from ogc_async import actions
from ogc_async.actions.claims import claiming
from ogc_async.actions.context import open_context
from ogc_async.actions.tear_down import tear_down_nodes
from ogc_async.actions.worker import BEATS
from ogc_async.db import Engine
from ogc_async.db.claims import beat, claim_nodes, find_holders, find_workers, forget_workers, release_nodes
from ogc_async.db.clock import database_now
from ogc_async.db.models import Node, PortableJson, User, Worker
from ogc_async.db.nodes import UNTIL_LET_GO
from ogc_async.errors import ClaimLost, DatabaseUnavailable, NodeBusy, UnknownNode
from ogc_async.events import OutputArrived
from ogc_async.spec import Layout
from ogc_async.ssh.connection import Connector
from ogc_async.state import App
from ogc_async.types import NodeState, StepState
from tests.holding import DEAD_S, LONG_S, facts, held
from tests.integration.actions.common import changed, recorded
from tests.integration.db.conftest import counted_statements
from tests.timing import LoopTime, patiently

Verb = Callable[..., Awaitable[Any]]
DEADLINE_S = 60
HELD_NODES = 100_000
LEASES = 20


async def deploy(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.deploy_async(ids, rerun=True, app=app, **terms)


async def execute(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.exec_async(ids, "true", app=app, **terms)


async def execute_scripts(app: App, ids: Any, **terms: Any) -> Any:
    Path("more").mkdir(exist_ok=True)
    Path("more/1-true.sh").write_text("true")
    return await actions.exec_scripts_async(ids, "more", app=app, **terms)


async def push(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.push_files_async(ids, __file__, app=app, **terms)


async def pull(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.pull_files_async(ids, "hello.txt", "pulled", app=app, **terms)


async def pull_artifacts(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.pull_artifacts_async(ids, "fetched", app=app, **terms)


async def teardown(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.teardown_async(ids, app=app, **terms)


async def forget(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.teardown_async(ids, only_db=True, app=app, **terms)


async def force(app: App, ids: Any, **terms: Any) -> Any:
    return await actions.teardown_async(ids, force=True, app=app, **terms)


OVER_SSH = [deploy, execute, execute_scripts, push, pull, pull_artifacts]
REMOVING = [teardown, forget, force]


@pytest.fixture
async def node_id(app: App, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(tmp_path)
    node_id = await actions.launch_async(changed(layout, artifacts=["hello.txt"]), app=app)
    assert await actions.exec_async(node_id, "echo hello > hello.txt", app=app)
    return node_id


@pytest.mark.parametrize("verb", [*OVER_SSH, *REMOVING])
async def test_a_node_that_another_process_holds_is_busy_at_once_and_says_by_whom_since_when_and_for_what(
    verb: Verb, app: App, node_id: int
) -> None:
    before = len(await recorded(app, node_id))
    hold = await held(engine_of(app), [node_id])
    with pytest.raises(NodeBusy, match=r"adam@laptop \(process 4711\) is at work on it on `deploy`, since 20") as busy:
        await verb(app, node_id)
    assert (busy.value.holder, busy.value.claimed_for) == ("adam@laptop (process 4711)", "deploy")
    assert busy.value.since is not None
    assert len(await recorded(app, node_id)) == before
    assert [node.state for node in await actions.nodes_async(app=app)] == [NodeState.RUNNING]
    await release_nodes(engine_of(app), [hold])
    assert await verb(app, node_id)


@pytest.mark.parametrize("verb", [*OVER_SSH, teardown])
async def test_a_verb_that_waits_goes_on_once_the_holder_has_let_go(verb: Verb, app: App, node_id: int) -> None:
    hold = await held(engine_of(app), [node_id])
    waiting = asyncio.create_task(verb(app, node_id, wait_s=DEADLINE_S))
    await asyncio.sleep(0)
    await release_nodes(engine_of(app), [hold])
    assert await waiting


@pytest.mark.parametrize("verb", [*OVER_SSH, teardown])
async def test_a_verb_takes_over_only_where_it_is_told_to(verb: Verb, app: App, node_id: int) -> None:
    robbed = await held(engine_of(app), [node_id])
    assert await verb(app, node_id, take_over=True)
    await release_nodes(engine_of(app), [robbed])
    assert await find_workers(engine_of(app)) == {}


@pytest.mark.parametrize("verb", [*OVER_SSH, teardown])
async def test_a_dead_process_s_node_is_free(verb: Verb, app: App, node_id: int) -> None:
    await held(engine_of(app), [node_id], for_s=DEAD_S)
    assert await verb(app, node_id)


async def test_of_many_nodes_only_those_that_are_held_fail(app: App, layout: Layout) -> None:
    ids = await actions.launch_async([changed(layout, scale=3)], app=app)
    await held(engine_of(app), [ids[1]])
    results = await actions.exec_async(ids, "true", app=app)
    assert [result.ok for result in results] == [True, False, True]
    assert isinstance(results[1].error, NodeBusy)
    gone = await actions.teardown_async(ids, app=app)
    assert list(gone) == [ids[0], ids[2]]
    assert [type(failure.error) for failure in gone.failures] == [NodeBusy]


async def test_a_command_that_claims_nothing_runs_beside_the_holder(app: App, node_id: int) -> None:
    await held(engine_of(app), [node_id])
    assert await actions.exec_async(node_id, "true", claim=False, app=app)
    last = (await recorded(app, node_id))[-1]
    assert (last.kind, last.state) == ("exec", StepState.PASSED)
    with pytest.raises(NodeBusy):
        await actions.exec_async(node_id, "true", app=app)


@pytest.mark.parametrize("verb", [deploy, teardown])
async def test_an_id_that_no_node_has_is_told_at_once_however_long_a_verb_may_wait(verb: Verb, app: App) -> None:
    with anyio.fail_after(DEADLINE_S), pytest.raises(UnknownNode):
        await verb(app, [10**6], wait_s=100 * DEADLINE_S)


async def test_two_calls_in_one_process_do_not_work_on_one_node_at_a_time(app: App, node_id: int) -> None:
    began = asyncio.Event()

    def hear(event: object) -> None:
        if isinstance(event, OutputArrived):
            began.set()

    with app.events.subscribed(hear):
        first = asyncio.create_task(
            actions.exec_async(node_id, "echo began; while ! test -e go; do sleep 0.05; done", app=app)
        )
        await began.wait()
    with pytest.raises(NodeBusy, match="on `exec`"):
        await actions.exec_async(node_id, "true", app=app)
    assert await actions.exec_async(node_id, "touch go", claim=False, app=app)
    assert await first


async def test_a_deploy_that_loses_its_node_begins_no_further_step(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    for number in (1, 2, 3):
        wait = "while ! test -e ~/go; do sleep 0.05; done" if number == 1 else ""
        (scripts_folder / f"{number}-hello.sh").write_text(f"echo {number} >> ~/ran\n{wait}\n")
    node_id = await actions.launch_async(layout, app=app)
    began = asyncio.Event()
    with app.events.subscribed(lambda event: began.set() if type(event).__name__ == "StepStarted" else None):
        deploying = asyncio.create_task(actions.deploy_async([node_id], app=app))
        await began.wait()
    robber = await held(engine_of(app), [node_id], "robber", is_taking_over=True)
    assert await actions.exec_async(node_id, "touch go", claim=False, app=app)
    (result,) = await deploying
    assert isinstance(result.error, ClaimLost)
    assert [step.script for step in result.steps] == ["1-hello.sh"]
    await release_nodes(engine_of(app), [robber])
    assert (await actions.exec_async(node_id, "cat ran", app=app)).output == "1\n"
    states = {each.script: each.state for each in await recorded(app, node_id) if each.kind == "deploy"}
    assert states == {"1-hello.sh": StepState.INTERRUPTED}


async def test_a_machine_is_not_ended_once_another_process_has_taken_its_node(app: App, layout: Layout) -> None:
    ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    async with claiming(await open_context(app), "teardown") as claim:
        await claim.take(ids)
        taken = await held(engine_of(app), [ids[0]], "robber", is_taking_over=True)
        gone = await tear_down_nodes(ids, await open_context(app), force=True, only_db=False, claim=claim)
    assert list(gone) == [ids[1]]
    assert [type(failure.error) for failure in gone.failures] == [ClaimLost]
    await release_nodes(engine_of(app), [taken])
    assert await actions.exec_async(ids[0], "true", app=app), "its machine runs on"


async def test_rows_only_are_not_given_up_once_another_process_has_taken_them(app: App, node_id: int) -> None:
    context = await open_context(app)
    async with claiming(context, "teardown") as claim:
        await claim.take([node_id])
        await held(engine_of(app), [node_id], "robber", is_taking_over=True)
        gone = await tear_down_nodes([node_id], context, force=False, only_db=True, claim=claim)
    assert (list(gone), [type(each.error) for each in gone.failures]) == ([], [ClaimLost])
    assert [node.state for node in await actions.nodes_async(app=app)] == [NodeState.RUNNING]


@pytest.mark.parametrize("verb", [deploy, push, pull, pull_artifacts])
async def test_nothing_is_sent_to_a_node_that_was_taken_on_the_way_to_it(
    verb: Verb, app: App, node_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Connector.connect

    async def rob(self: Connector, *args: Any, **named: Any) -> Any:
        session = await connect(self, *args, **named)
        await held(engine_of(app), [node_id], "robber", is_taking_over=True)
        return session

    monkeypatch.setattr(Connector, "connect", rob)
    before = len(await recorded(app, node_id))
    with pytest.raises(ClaimLost):
        await verb(app, node_id)
    assert len(await recorded(app, node_id)) == before


@pytest.mark.parametrize("how", ["refused", "unforeseen"])
async def test_claims_that_could_not_be_let_go_of_are_let_go_of_by_the_next_verb(
    how: str, app: App, node_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_named: Any) -> Any:
        raise DatabaseUnavailable("gone") if how == "refused" else RuntimeError("unforeseen")

    with monkeypatch.context() as patched:
        patched.setattr("ogc_async.actions.worker.release_nodes", fail)
        assert await actions.exec_async(node_id, "true", app=app)
    assert (await find_holders(engine_of(app), [node_id])).keys() == {node_id}
    assert await actions.exec_async(node_id, "true", app=app)
    assert await find_holders(engine_of(app), [node_id]) == {}


async def test_a_claim_whose_answer_was_lost_is_let_go_of_by_the_next_verb(
    app: App, node_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def claim_and_lose(*args: Any, **named: Any) -> Any:
        await claim_nodes(*args, **named)
        raise DatabaseUnavailable("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr("ogc_async.actions.worker.claim_nodes", claim_and_lose)
        with pytest.raises(DatabaseUnavailable):
            await actions.exec_async(node_id, "true", app=app)
    assert await actions.exec_async(node_id, "true", app=app)


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), RuntimeError("read-only")], ids=["typed", "raw"])
async def test_a_sign_of_life_that_fails_is_followed_by_the_next(
    error: Exception, app: App, node_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[float] = []
    beaten_twice = asyncio.Event()

    async def flicker(*_args: Any) -> None:
        beats.append(1)
        if len(beats) == 1:
            raise error
        beaten_twice.set()

    context = await open_context(app)
    async with claiming(context, "deploy") as claim:
        await claim.take([node_id])
        monkeypatch.setattr("ogc_async.actions.worker.beat", flicker)
        clock = LoopTime()
        for _ in patiently("a second sign of life", pause_s=0):
            clock.forward(context.settings.ogc_lease_s / BEATS)
            await asyncio.sleep(0)
            if beaten_twice.is_set():
                break


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_row_that_a_session_keeps_locked_holds_up_neither_signs_of_life_nor_a_claim_for_long(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogc_async.db.claims.IMPATIENTLY", text("SELECT set_config('lock_timeout', '100ms', true)"))
    ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    engine = engine_of(app)
    async with claiming(await open_context(app), "deploy") as claim:
        await claim.take(ids[:1])
        async with engine.transaction() as connection:
            await connection.execute(select(Node.id).where(Node.id == ids[1]).with_for_update())
            with pytest.raises(DatabaseUnavailable, match="lock timeout"):
                await claim.take(ids[1:])
            await beat(engine, facts(claim.worker), LONG_S)
        assert await claim.take(ids) == set(ids)


async def test_two_that_wait_for_each_other_s_nodes_both_get_them(app: App, layout: Layout) -> None:
    ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    first, second = await held(engine_of(app), ids[:1], "one"), await held(engine_of(app), ids[1:], "two")
    waiting = [asyncio.create_task(actions.exec_async(ids, "true", wait_s=DEADLINE_S, app=app)) for _ in range(2)]
    await asyncio.sleep(0)
    await release_nodes(engine_of(app), [first])
    await release_nodes(engine_of(app), [second])
    assert [all(each) for each in await asyncio.gather(*waiting)] == [True, True]


async def test_after_a_verb_the_database_holds_neither_claims_nor_workers(app: App, node_id: int) -> None:
    assert await find_holders(engine_of(app), [node_id]) == {}
    async with engine_of(app).reading() as connection:
        assert (await connection.scalar(select(func.count()).select_from(Worker))) == 0


async def test_up_holds_its_nodes_from_the_first_row_to_the_last_step(app: App, layout: Layout) -> None:
    seen: dict[str, set[str | None]] = {}

    def look(event: Any) -> None:
        seen.setdefault(type(event).__name__, set()).add(event.name)

    with app.events.subscribed(look):
        upping = asyncio.create_task(actions.up_async([changed(layout, scale=2)], app=app))
        while "StepStarted" not in seen:
            await asyncio.sleep(0.01)
        nodes = await actions.nodes_async(app=app)
        assert {(node.claimed_for, node.is_held()) for node in nodes} == {("up", True)}
        assert (await upping).ok
    assert not any(node.is_held() for node in await actions.nodes_async(app=app))


async def test_a_hundred_thousand_held_nodes_cost_as_many_updates_for_liveness_as_one(app: App, layout: Layout) -> None:
    engine = engine_of(app)
    async with claiming(await open_context(app), "deploy") as claim:
        await claim.register()
        await enlist_rows(app, HELD_NODES, claim.worker)
        with counted_statements(engine) as beats:
            for _ in range(LEASES * BEATS):
                await beat(engine, facts(claim.worker), app.settings.ogc_lease_s)
        rows_a_second = len([each for each in beats if "workers" in each]) / (LEASES * app.settings.ogc_lease_s)
        assert not any("nodes" in each for each in beats)
        assert rows_a_second <= 5
        assert (await find_workers(engine)).keys() == {claim.worker}


async def test_workers_that_were_silent_for_a_day_and_hold_nothing_are_forgotten(app: App, node_id: int) -> None:
    engine = engine_of(app)
    await held(engine, [node_id], "holder", for_s=-2 * 86400)
    await beat(engine, facts("idle"), -2 * 86400)
    await beat(engine, facts("recent"), DEAD_S)
    await forget_workers(engine)
    async with engine.reading() as connection:
        assert set((await connection.scalars(select(Worker.id))).all()) == {"holder", "recent"}


async def test_a_process_of_the_release_before_keeps_its_nodes_until_its_lease_runs_out(app: App, node_id: int) -> None:
    engine = engine_of(app)

    async def leased(seconds: float) -> None:
        async with engine.transaction() as connection:
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            await connection.execute(update(Node).values(worker="old", lease_until=until))

    await leased(LONG_S)
    with pytest.raises(NodeBusy, match="process old"):
        await actions.exec_async(node_id, "true", app=app)
    assert [node.is_held() for node in await actions.nodes_async(app=app)] == [True]
    assert (await find_workers(engine)).keys() == {"old"}
    await leased(-1)
    assert [node.is_held() for node in await actions.nodes_async(app=app)] == [False]
    assert await actions.exec_async(node_id, "true", app=app)


async def test_a_node_that_is_held_looks_leased_for_good_to_the_release_before(app: App, node_id: int) -> None:
    await held(engine_of(app), [node_id])
    async with engine_of(app).reading() as connection:
        until = await connection.scalar(select(Node.lease_until))
    assert until is not None
    assert until.year == 9000


def engine_of(app: App) -> Engine:
    assert app.engine is not None
    return app.engine


async def enlist_rows(app: App, count: int, worker: str) -> None:
    """Rows of nodes that this worker holds, written by the database itself."""
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count))
    values = {
        "name": literal("ogc-many-") + cast(numbers.c.n, String),
        "user_id": select(User.id).scalar_subquery(),
        "token": literal("many"),
        "state": literal(NodeState.RUNNING.value),
        "worker": literal(worker),
        "lease_until": literal(UNTIL_LET_GO),
        "fence": literal(1),
    }
    values |= {name: literal("many") for name in ("layout", "provider", "region", "username")}
    values |= {name: literal(0) for name in ("launch_index", "ssh_port")}
    values |= {name: cast(literal("{}"), PortableJson) for name in ("tags", "labels", "spec")}
    values |= {name: database_now() for name in ("created_at", "updated_at")}
    async with engine_of(app).transaction() as connection:
        await connection.execute(insert(Node).from_select(list(values), select(*values.values())))
