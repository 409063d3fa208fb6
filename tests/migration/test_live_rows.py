"""Migrations of a database that is in use: what any earlier release wrote is there afterwards, and verbs work on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from ogc_async import actions, db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.models import Action, Node
from ogc_async.db.nodes import find_nodes
from ogc_async.db.results import Notes, StepStart, node_actions, write_notes
from ogc_async.errors import NodeBusy, NotMigrated, OutcomeUnknown
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import NodeSnapshot, NodeState, StepState
from tests.cloud import Cloud
from tests.holding import DEAD_S, LONG_S, held
from tests.migration.conftest import EARLIER, Row, Tables, alembic_async, differences_async, read_async, write_async

LONG_AGO = datetime(2020, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
MACHINE = (
    "instance_id",
    "public_ip",
    "private_ip",
    "username",
    "ssh_port",
    "host_key",
    "token",
    "launch_index",
    "zone",
)
MADE_UP = {"instance_id": None, "public_ip": None, "private_ip": None, "host_key": None, "launch_index": 0}

ALIVE = "running-held-by-a-living-process"
DEAD = "running-held-by-a-dead-process"
FREE = "running"
EARLIER_STATES = tuple(state for state in NodeState if state is not NodeState.STOPPED)
ON_RUNNING = {FREE: None, ALIVE: 1, DEAD: -1}
"""The running nodes, and how many hours from now their holder's lease ends."""


@pytest.fixture(scope="module")
def machine(shared_cloud: Cloud, session_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that stands behind every running node of these tests, and the rows that tell of it."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "scripts").mkdir()
    (folder / "scripts/1-hello.sh").write_text("echo hello\n")
    environment = shared_cloud.environment | {"HOME": str(folder)}
    engine = db.connect(f"sqlite:///{folder / 'own.db'}")
    app = App(engine=engine, settings=settings_of(environment))
    db.migrate(engine)
    actions.create_user("Adam", app=app)
    layout = {
        "name": "web",
        "provider": "aws",
        "runs-on": "ubuntu-2404",
        "instance-size": "t3.small",
        "ssh-keys": {"private": str(session_key)},
        "scripts": "scripts",
        "folder": str(folder),
    }
    node_id = actions.launch(Layout.from_dict(layout), app=app)
    assert actions.exec(node_id, "true", app=app)
    kept = read_async(engine)
    yield Machine(environment, kept["users"][0], kept["nodes"][0])
    actions.teardown(node_id, app=app)


class Machine:
    """What leads to it: the cloud's variables, its owner, its node's row."""

    def __init__(self, environment: dict[str, str], user: Row, node: Row) -> None:
        self.environment, self.user, self.node = environment, user, node

    def rows(self) -> Tables:
        """What a release may have left: nodes in every state, held and free; steps that run, and that have ended."""
        states = {str(state): (state, None) for state in EARLIER_STATES}
        held = {name: (NodeState.RUNNING, hours) for name, hours in ON_RUNNING.items()}
        launching = {"launching-held-by-a-dead-process": (NodeState.LAUNCHING, -1)}
        nodes = [
            self._node(number, name, state, hours)
            for number, (name, (state, hours)) in enumerate((states | held | launching).items(), 1)
        ]
        ids = {node["name"]: node["id"] for node in nodes}
        steps = [
            (name, state, hours) for name, hours in ON_RUNNING.items() for state in ("passed", "failed", "running")
        ]
        return {
            "users": [self.user],
            "nodes": nodes,
            "actions": [
                _action(number, ids[name], state, hours) for number, (name, state, hours) in enumerate(steps, 1)
            ],
            "milestones": [
                {
                    "id": 7,
                    "node_id": ids[FREE],
                    "run": "r",
                    "work": "launch",
                    "kind": "ready",
                    "detail": "é",
                    "at": LONG_AGO,
                }
            ],
            "pace_levels": [
                {"provider": "aws", "account": "a", "region": "r", "bucket": "b"}
                | {"tokens": 1.5, "at": 12.25, "share": 0.5, "slowed_at": None}
            ],
        }

    def _node(self, number: int, name: str, state: NodeState, hours: int | None) -> Row:
        has_machine = state is NodeState.RUNNING
        own = {} if has_machine else MADE_UP | {"token": f"token-{number}"}
        held = {"worker": name, "lease_until": datetime.now(UTC) + hours * HOUR} if hours else {}
        changes = {"id": number, "name": name, "state": str(state), "reason": f"as it was: {state}"}
        moments = dict.fromkeys(("created_at", "updated_at"), LONG_AGO)
        moments |= {"terminated_at": LONG_AGO + HOUR} if state is NodeState.TERMINATED else {}
        return self.node | {"worker": None, "lease_until": None} | own | changes | moments | held


def _action(number: int, node_id: int, state: str, hours: int | None) -> Row:
    ended = state != "running"
    return {
        "id": number,
        "node_id": node_id,
        "kind": "deploy",
        "script": f"{number}-step.sh",
        "sha256": "0" * 64,
        "state": state,
        "exit_code": {"passed": 0, "failed": 3}.get(state),
        "signal": None,
        "output": b"\x00\xff said",
        "output_bytes": 2**40,
        "seconds": 0.25 if ended else None,
        "error": None,
        "started_at": LONG_AGO,
        "finished_at": LONG_AGO + HOUR if ended else None,
        "lease_until": datetime.now(UTC) + hours * HOUR if hours and not ended else None,
    }


def settings_of(environment: Mapping[str, str]) -> Settings:
    values = {name.lower(): value for name, value in environment.items()}
    return Settings(_env_file=None, ogc_poll_s=0.1, **values)


def shared(tables: Tables, like: Tables) -> Tables:
    """The tables and columns that ``like`` has too."""
    return {
        name: [{column: row[column] for column in (like[name] or rows)[0] if column in row} for row in rows]
        for name, rows in tables.items()
        if name in like
    }


def test_the_sample_has_nodes_in_every_state_and_every_table_of_the_newest_release(
    empty: Engine, machine: Machine
) -> None:
    db.migrate(empty)
    write_async(empty, machine.rows())
    kept = read_async(empty)
    assert {name for name, rows in kept.items() if not rows} == {"workers"}
    assert {row["state"] for row in kept["nodes"]} == set(map(str, EARLIER_STATES))
    assert json.dumps(kept["nodes"][0]["spec"]) != "{}"


@pytest.mark.parametrize("revision", EARLIER)
def test_every_row_of_an_earlier_release_survives_and_is_worked_on(
    revision: str, empty: Engine, machine: Machine
) -> None:
    alembic_async(empty, "upgrade", revision)
    write_async(empty, machine.rows())
    before = read_async(empty)
    db.migrate(empty)
    after = read_async(empty)
    assert shared(after, before) == before
    if "fence" not in before["nodes"][0]:
        assert {row["fence"] for row in after["nodes"]} == {0}
    if "ended_by" not in before["nodes"][0]:
        ended = {row["state"]: (row["ended_by"], row["ended_at"]) for row in after["nodes"] if row["ended_by"]}
        known = {row["state"]: row["terminated_at"] or row["updated_at"] for row in before["nodes"]}
        assert ended == {"terminated": ("us", known["terminated"]), "lost": ("lost", known["lost"])}
    assert differences_async(empty) == []
    db.createtbl(empty)
    assert read_async(empty) == after
    app = App(engine=empty, settings=settings_of(machine.environment))
    work_on(app, empty, revision)


@pytest.mark.parametrize("revision", EARLIER)
def test_a_machine_of_an_earlier_release_is_neither_lost_nor_launched_again(
    revision: str, empty: Engine, machine: Machine
) -> None:
    alembic_async(empty, "upgrade", revision)
    write_async(empty, {"users": [machine.user], "nodes": [machine.node | {"worker": None, "lease_until": None}]})
    app = App(engine=empty, settings=settings_of(machine.environment))
    for verb in (actions.nodes, actions.plan, actions.sync):
        with pytest.raises(NotMigrated, match=f"at revision {revision}"):
            verb(app=app)
    db.migrate(empty)
    actions.sync(app=app)
    (node,) = actions.nodes(app=app)
    assert (node.instance_id, node.state) == (machine.node["instance_id"], NodeState.RUNNING)
    assert actions.exec(node.id, "true", app=app)


def work_on(app: App, engine: Engine, revision: str) -> None:
    """Verbs on nodes of the earlier release; those that its processes hold are theirs until their lease has run out."""
    nodes = {node.name: node for node in blocking(find_nodes)(engine)}
    has_leases, has_step_leases, has_accounts = revision > "0001", revision > "0004", revision > "0006"
    busy = [ALIVE] if has_leases else []
    assert [name for name in nodes if nodes[name].is_held()] == busy
    assert {name: states_on(engine, nodes[name]) for name in ON_RUNNING} == {
        name: ["passed", "failed", "running" if name == ALIVE and has_step_leases else "interrupted"]
        for name in ON_RUNNING
    }
    running = [nodes[name] for name in ON_RUNNING]
    for name in busy:
        check_busy(app, nodes[name])
    assert failed(actions.exec([node.id for node in running], "true", app=app)) == busy
    run_out(engine)
    assert failed(actions.exec([node.id for node in running], "true", app=app)) == []
    assert failed(actions.deploy([node.id for node in running], app=app)) == []
    assert {state for node in running for state in states_on(engine, node)} == {"passed", "failed", "interrupted"}
    others = [node for node in nodes.values() if node.state is not NodeState.RUNNING]
    removed = actions.teardown([node.id for node in others], app=app)
    # Whose these are was not on record, and no machine shows it: that none is shown is no proof that none is there.
    begun = () if has_accounts else (NodeState.LAUNCHING, NodeState.TERMINATING)
    unclear = [node.id for node in others if node.state in begun]
    assert list(removed) == [node.id for node in others if node.id not in unclear]
    assert {each.node_id for each in removed.failures} == set(unclear)
    assert {type(each.error) for each in removed.failures} <= {OutcomeUnknown}
    assert list(actions.teardown([node.id for node in nodes.values()], only_db=True, app=app)) == [*range(1, 11)]
    assert {node.state for node in blocking(find_nodes)(engine)} <= {
        NodeState.TERMINATED,
        NodeState.FAILED,
        NodeState.LOST,
    }


def check_busy(app: App, node: NodeSnapshot) -> None:
    for verb, terms in ((actions.deploy, {}), (actions.teardown, {}), (actions.teardown, {"only_db": True})):
        with pytest.raises(NodeBusy, match=f"process {node.worker}"):
            verb(node.id, app=app, **terms)


def failed(results: Sequence[Any]) -> list[str]:
    return [result.name for result in results if not result]


def states_on(engine: Engine, node: NodeSnapshot) -> list[StepState]:
    """Of the node's deploys."""
    return [each.state for each in blocking(node_actions)(engine, node.id) if each.kind == "deploy"]


def run_out(engine: Engine) -> None:
    """An hour later, the leases of the earlier release are over."""

    async def write_async() -> None:
        async with engine.transaction() as connection:
            await connection.execute(update(Node).values(lease_until=LONG_AGO, updated_at=LONG_AGO))
            await connection.execute(update(Action).values(lease_until=LONG_AGO))

    blocking(write_async)()


def test_every_way_back_leaves_the_rows(empty: Engine, machine: Machine) -> None:
    db.migrate(empty)
    write_async(empty, machine.rows())
    first = before = read_async(empty)
    for revision in EARLIER[::-1]:
        alembic_async(empty, "downgrade", revision)
        after = read_async(empty)
        assert after == shared(before, after)
        before = after
    assert {name: len(rows) for name, rows in before.items()} == {
        name: len(first[name]) for name in ("users", "nodes", "actions")
    }
    db.migrate(empty)
    assert shared(read_async(empty), before) == before


@pytest.mark.parametrize("for_s", [LONG_S, DEAD_S])
def test_a_node_that_a_process_holds_is_free_on_the_way_back_and_its_step_forsaken(
    for_s: float, empty: Engine, machine: Machine
) -> None:
    db.migrate(empty)
    write_async(empty, machine.rows())
    (node,) = (row for row in read_async(empty)["nodes"] if row["name"] == FREE)
    hold = blocking(held)(empty, [node["id"]], for_s=for_s)
    started = StepStart(node["id"], "deploy", "1-step.sh", "0" * 64)
    action_id = blocking(write_notes)(empty, Notes(starts=[started]), hold).started[0]
    alembic_async(empty, "downgrade", "0005")
    kept = read_async(empty)
    (after,) = (row for row in kept["nodes"] if row["id"] == node["id"])
    (action,) = (row for row in kept["actions"] if row["id"] == action_id)
    assert (after["worker"], after["lease_until"]) == (None, None)
    assert (action["state"], action["lease_until"]) == ("running", None)
