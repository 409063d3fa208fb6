"""Commands and folders of scripts on nodes that run: one or many, deployed to or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async import actions
from ogc_async.errors import NotRunning, ScriptsError, TransferFailed, Unreachable
from ogc_async.events import Event, NodeFinished
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepState
from tests.cloud import Cloud
from tests.integration.actions.common import changed, end_machine, recorded, step_time_over
from tests.timing import LoopTime


async def test_a_command_runs_in_the_login_home_and_knows_its_node(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    command = '[ "$(pwd)" = "$HOME" ] && printf \'%s|%s\' "$OGC_NODE_ID" "it\'s $OGC_LAYOUT"'
    result = await actions.exec_async(node_id, command, app=app)
    assert (result.ok, result.output) == (True, f"{node_id}|it's web")
    (row,) = await recorded(app, node_id)
    assert (row.kind, row.script, row.state) == ("exec", command, StepState.PASSED)


async def test_a_command_that_fails_is_a_result_and_not_an_error(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    result = await actions.exec_async(node_id, "echo out; echo err >&2; exit 42", app=app)
    assert not result
    assert result.error is None
    assert result.steps[0].exit_code == 42
    assert sorted(result.output.split()) == ["err", "out"]
    assert [row.exit_code for row in await recorded(app, node_id)] == [42]


async def test_a_command_gets_no_input_and_does_not_wait_for_any(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    assert (await actions.exec_async(node_id, "cat; echo done", app=app)).output == "done\n"


async def test_a_command_has_a_timeout_of_its_own(app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ogc_async.ssh.execute.TERM_GRACE_S", 0.2)
    node_id = await actions.launch_async(layout, app=app)
    with step_time_over(app, 30):
        result = await actions.exec_async(node_id, "echo begun; exec sleep 600", timeout_s=30, app=app)
    (step,) = result.steps
    assert (step.state, step.exit_code, step.text) == (StepState.TIMED_OUT, None, "begun\n")


async def test_many_nodes_answer_in_the_order_asked_and_one_that_is_gone_stops_no_other(
    app: App, layout: Layout, cloud: Cloud
) -> None:
    node_ids = await actions.launch_async([changed(layout, scale=3, timeouts={"ssh": 30})], app=app)
    nodes = await actions.nodes_async(app=app)
    await end_machine(cloud, nodes[1].instance_id)
    asked = list(reversed(node_ids))
    time = LoopTime()
    answered: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, NodeFinished):
            answered.append(event.node_id)
            if len(answered) == 2:
                time.forward(30)

    with app.events.subscribed(watch):
        results = await actions.exec_async(asked, "echo $OGC_NODE_ID", app=app)
    assert answered[2] == asked[1]
    assert [result.node_id for result in results] == asked
    assert [result.output for result in results] == [f"{asked[0]}\n", "", f"{asked[2]}\n"]
    assert [type(result.error) for result in results] == [type(None), Unreachable, type(None)]
    assert str(results[1].error).startswith(nodes[1].name)
    assert await recorded(app, asked[1]) == []


async def test_many_of_no_nodes_is_no_results(app: App) -> None:
    assert await actions.exec_async([], "true", app=app) == []


async def test_a_node_that_is_torn_down_is_a_result_beside_the_others(app: App, layout: Layout) -> None:
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    await actions.teardown_async(node_ids[0], force=True, app=app)
    first, second = await actions.exec_async(node_ids, "echo here", app=app)
    assert isinstance(first.error, NotRunning)
    assert second.output == "here\n"


async def test_another_folder_is_pushed_and_run_like_a_layouts_own(app: App, layout: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "word.mako").write_text("${node.name}")
    (folder / "functions.mako").write_text('<%def name="all()">${",".join(str(each.id) for each in nodes)}</%def>')
    (folder / "10-late.sh").write_text("exit 4")
    (folder / "11-never.sh").write_text("echo never")
    (folder / "9-early.sh.mako").write_text(
        '<%namespace name="f" file="functions.mako"/>echo "$(cat lib/word) ${f.all()}"'
    )
    (folder / "teardown.sh").write_text("echo never")
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    results = await actions.exec_scripts_async(node_ids, folder, app=app)
    nodes = await actions.nodes_async(app=app)
    for node, result in zip(nodes, results, strict=True):
        assert [(step.script, step.exit_code) for step in result.steps] == [("9-early.sh.mako", 0), ("10-late.sh", 4)]
        assert result.output == f"{node.name} {node_ids[0]},{node_ids[1]}\n"
    assert [(row.kind, row.script) for row in await recorded(app, node_ids[0])] == [
        ("exec", "9-early.sh.mako"),
        ("exec", "10-late.sh"),
    ]


async def test_another_folder_that_is_not_there_is_told_before_any_node_is_asked(
    app: App, layout: Layout, tmp_path: Path
) -> None:
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(ScriptsError, match="none"):
        await actions.exec_scripts_async(node_id, tmp_path / "none", app=app)
    assert await recorded(app, node_id) == []


async def test_files_that_do_not_arrive_are_told_and_nothing_runs(app: App, layout: Layout, tmp_path: Path) -> None:
    node_id = await actions.launch_async(layout, app=app)
    await actions.exec_async(node_id, "echo in the way > ogc", app=app)
    with pytest.raises(TransferFailed, match="ogc"):
        await actions.deploy_async(node_id, app=app)
    assert [row.kind for row in await recorded(app, node_id)] == ["exec"]


@pytest.mark.parametrize("command", ["echo \0", "echo \ud800"])
async def test_a_command_that_no_shell_takes_is_refused_and_nothing_is_recorded(
    command: str, app: App, layout: Layout
) -> None:
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(ScriptsError, match="the command holds"):
        await actions.exec_async(node_id, command, app=app)
    assert await recorded(app, node_id) == []
