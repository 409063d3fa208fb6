"""Deploying again: what is done, what is skipped, what is sent, and what the record shows of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.models import Action
from ogc_async.events import Event, FilesPushed, NodeConnected
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepState
from tests.enlist import enlist
from tests.integration.actions.common import changed, recorded
from tests.openssh import openssh_fleet


@pytest.fixture
def steps(scripts_folder: Path) -> Path:
    """Three steps; the second passes once there is a file called ``good`` in the login folder."""
    for each in scripts_folder.iterdir():
        each.unlink()
    (scripts_folder / "1-first.sh").write_text("echo first\n")
    (scripts_folder / "2-second.sh").write_text("test -e ~/good\n")
    (scripts_folder / "3-third.sh").write_text("echo third\n")
    return scripts_folder


async def scripts_on_record(app: App, node_id: int) -> list[tuple[str, str]]:
    return [(row.script, row.state) for row in await recorded(app, node_id) if row.kind == "deploy"]


@pytest.mark.usefixtures("steps")
async def test_a_deploy_goes_on_at_the_step_that_failed(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    first = await actions.deploy_async(node_id, app=app)
    assert [step.state for step in first.steps] == [StepState.PASSED, StepState.FAILED]
    await actions.exec_async(node_id, "touch ~/good", app=app)
    second = await actions.deploy_async(node_id, app=app)
    assert second == True  # noqa: E712  # a result is equal to True
    assert [(step.script, step.ok, step.is_skipped) for step in second.steps] == [
        ("1-first.sh", True, True),
        ("2-second.sh", True, False),
        ("3-third.sh", True, False),
    ]
    assert await scripts_on_record(app, node_id) == [
        ("1-first.sh", "passed"),
        ("2-second.sh", "failed"),
        ("2-second.sh", "passed"),
        ("3-third.sh", "passed"),
    ]


async def test_a_node_with_nothing_left_to_do_is_not_connected_to_unless_all_is_to_run_again(
    app: App, layout: Layout
) -> None:
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.deploy_async(node_id, app=app)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        again = await actions.deploy_async(node_id, app=app)
        assert [step.is_skipped for step in again.steps] == [True, True]
        assert again
        assert not [event for event in events if isinstance(event, NodeConnected)]
        assert len(await recorded(app, node_id)) == 2
        rerun = await actions.deploy_async(node_id, rerun=True, app=app)
    assert [step.is_skipped for step in rerun.steps] == [False, False]
    assert [event.files for event in events if isinstance(event, FilesPushed)] == [0]
    assert len(await recorded(app, node_id)) == 4


async def test_a_script_that_changed_runs_again_and_only_it_is_sent(app: App, layout: Layout, steps: Path) -> None:
    (steps / "2-second.sh").write_text("true\n")
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.deploy_async(node_id, app=app)
    (steps / "3-third.sh").write_text("echo 3rd\n")
    events: list[Event] = []
    with app.events.subscribed(events.append):
        result = await actions.deploy_async(node_id, app=app)
    assert [(step.is_skipped, step.text) for step in result.steps] == [(True, ""), (True, ""), (False, "3rd\n")]
    assert [event.files for event in events if isinstance(event, FilesPushed)] == [1]


async def test_a_file_beside_the_scripts_that_changed_makes_them_run_again(
    app: App, layout: Layout, steps: Path
) -> None:
    (steps / "2-second.sh").write_text("cat lib/what\n")
    (steps / "lib").mkdir()
    (steps / "lib" / "what").write_text("old")
    node_id = await actions.launch_async(layout, app=app)
    assert (await actions.deploy_async(node_id, app=app)).steps[1].text == "old"
    (steps / "lib" / "what").write_text("new")
    result = await actions.deploy_async(node_id, app=app)
    assert [step.is_skipped for step in result.steps] == [False] * 3
    assert result.steps[1].text == "new"


async def test_a_file_that_was_changed_or_removed_on_the_node_is_sent_again(
    app: App, layout: Layout, steps: Path
) -> None:
    (steps / "2-second.sh").write_text("true\n")
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.deploy_async(node_id, app=app)
    await actions.exec_async(node_id, "echo exit 1 >ogc/1-first.sh; rm ogc/2-second.sh", app=app)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        result = await actions.deploy_async(node_id, rerun=True, app=app)
    assert result
    assert [event.files for event in events if isinstance(event, FilesPushed)] == [2]


async def test_what_passed_after_a_failure_is_not_run_again(app: App, layout: Layout, steps: Path) -> None:
    node_id = await actions.launch_async(changed(layout, on_failure="continue"), app=app)
    first = await actions.deploy_async(node_id, app=app)
    assert [step.ok for step in first.steps] == [True, False, True]
    second = await actions.deploy_async(node_id, app=app)
    assert [(step.ok, step.is_skipped) for step in second.steps] == [(True, True), (False, False), (True, True)]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_after_a_failure_on_3_of_200_nodes_a_deploy_works_on_those_3_only(
    kind: str, database: Engine, layout: Layout, steps: Path
) -> None:
    settings = Settings(_env_file=None)
    with openssh_fleet(200) as fleet:
        async with App(engine=database, settings=settings) as app:
            await actions.create_user_async("Adam", app=app)
            own = changed(layout, ssh_keys={"private": str(fleet.client_key)})
            node_ids = await enlist(database, fleet.hosts, own)
            for host in fleet.hosts[3:]:
                (host.home / "good").touch()
            first = await actions.deploy_async(node_ids, app=app)
            assert [result.node_id for result in first if not result] == node_ids[:3]
            before = await rows_by_node(database)
            assert before == dict.fromkeys(node_ids[:3], 2) | dict.fromkeys(node_ids[3:], 3)
            logins = [host.log.count("Accepted publickey") for host in fleet.hosts]
            for host in fleet.hosts[:3]:
                (host.home / "good").touch()
            second = await actions.deploy_async(node_ids, app=app)
            assert all(second)
            # Two rows more on each of the three: the step that had failed, and the one after it.
            assert await rows_by_node(database) == dict.fromkeys(node_ids[:3], 4) | dict.fromkeys(node_ids[3:], 3)
            more = [host.log.count("Accepted publickey") for host in fleet.hosts]
            assert [now > then for then, now in zip(logins, more, strict=True)] == [True] * 3 + [False] * 197


async def rows_by_node(engine: Engine) -> dict[int, int]:
    async with engine.reading() as connection:
        rows = await connection.execute(select(Action.node_id, func.count().label("steps")).group_by(Action.node_id))
        return {row.node_id: row.steps for row in rows}
