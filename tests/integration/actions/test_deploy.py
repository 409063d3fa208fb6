"""Deploying to real SSH hosts: what runs, in which order, what each node knows, and what is on record of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import anyio
import pytest

from ogc_async import actions
from ogc_async.db.models import Base
from ogc_async.errors import NotRunning, ScriptsError, SettingsError, TemplateError
from ogc_async.events import Event, FilesPushed, NodeConnected, NodeFinished, OutputArrived, StepFinished, StepStarted
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepState
from tests.cloud import Cloud
from tests.integration.actions.common import changed, recorded, step_time_over


def write(folder: Path, **scripts: str | bytes) -> None:
    """Only these scripts: the names' first letters stand for nothing, ``_`` for ``-`` and ``__`` for a dot."""
    for each in folder.iterdir():
        each.unlink()
    for name, text in scripts.items():
        path = folder / name.removeprefix("s").replace("__", ".").replace("_", "-")
        path.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is to end does so at once, instead of being asked twice for three seconds each."""
    monkeypatch.setattr("ogc_async.ssh.execute.TERM_GRACE_S", 0.2)


async def test_scripts_run_in_natural_order_by_their_shebang_and_each_step_is_on_record(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    write(
        scripts_folder,
        s10_last="echo last; ls",
        s2_page__txt__mako="#!/bin/cat\n${node.name} of ${layout.name} for ${user.name}, ${len(nodes)} in all\n",
        s1_first__sh='echo "$OGC_NODE_NAME/$OGC_LAYOUT/$OGC_PROVIDER/$OGC_USER/$OGC_TAGS"; echo aside >&2',
        teardown__sh="echo never",
    )
    node_id = await actions.launch_async(changed(layout, tags=["a", "b"]), app=app)
    (node,) = await actions.nodes_async(app=app)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        result = await actions.deploy_async(node_id, app=app)
    assert result == True  # noqa: E712  # a result is equal to True
    assert [step.script for step in result.steps] == ["1-first.sh", "2-page.txt.mako", "10-last"]
    first, second, third = (step.text for step in result.steps)
    assert sorted(first.splitlines()) == ["aside", f"{node.name}/web/aws/adam/a,b"]
    assert second == f"#!/bin/cat\n{node.name} of web for Adam, 1 in all\n"
    assert third == "last\n1-first.sh\n10-last\n2-page.txt\nteardown.sh\n"
    rows = await recorded(app, node_id)
    assert [(row.kind, row.script, row.state, row.exit_code) for row in rows] == [
        ("deploy", step.script, StepState.PASSED, 0) for step in result.steps
    ]
    assert [(row.output, row.sha256) for row in rows] == [(step.output, step.sha256) for step in result.steps]
    assert all(row.finished_at is not None and row.finished_at >= row.started_at for row in rows)
    heard = [event for event in events if isinstance(event, OutputArrived)]
    assert b"".join(event.data for event in heard) == b"".join(step.output for step in result.steps)
    assert [type(event) for event in events if event not in heard] == [
        NodeConnected,
        FilesPushed,
        *[StepStarted, StepFinished] * 3,
        NodeFinished,
    ]


async def test_the_first_failure_ends_the_run_and_on_failure_continue_goes_on(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    write(
        scripts_folder,
        s1_bad="echo before; exit 3",
        s2_killed="kill -9 $$",
        s3_binary=r"printf '\377\376\000ok'",
        s4_big="echo first; head -c 10000000 /dev/zero; echo last",
    )
    specs = [changed(layout, name="strict"), changed(layout, name="lax", on_failure="continue")]
    node_ids = await actions.launch_async(specs, app=app)
    strict, lax = await actions.deploy_async(node_ids, app=app)
    assert (strict.ok, strict.error) == (False, None)
    assert [(step.script, step.exit_code, step.text) for step in strict.steps] == [("1-bad", 3, "before\n")]
    assert not lax
    assert [(step.state, step.exit_code, step.signal) for step in lax.steps] == [
        (StepState.FAILED, 3, None),
        (StepState.KILLED, None, "KILL"),
        (StepState.PASSED, 0, None),
        (StepState.PASSED, 0, None),
    ]
    assert lax.steps[2].output == b"\xff\xfe\x00ok"
    big = lax.steps[3]
    assert (big.output_bytes, big.is_truncated) == (10_000_011, True)
    assert big.output.startswith(b"first\n\0")
    assert big.output.endswith(b"\0last\n")
    assert "bytes cut" in big.text
    rows = await recorded(app, lax.node_id)
    assert [(row.state, row.exit_code, row.signal, row.output, row.output_bytes) for row in rows] == [
        (step.state, step.exit_code, step.signal, step.output, step.output_bytes) for step in lax.steps
    ]
    assert len(await recorded(app, strict.node_id)) == 1


@pytest.mark.usefixtures("short_grace")
async def test_a_step_that_takes_longer_than_its_layout_allows_is_ended_on_the_node_too(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    write(scripts_folder, s1_slow="echo $$ > pid; echo begun; exec sleep 600", s2_never="true")
    node_id = await actions.launch_async(changed(layout, timeouts={"step": 30}), app=app)
    with step_time_over(app, 30):
        result = await actions.deploy_async(node_id, app=app)
    (step,) = result.steps
    assert (step.state, step.exit_code, step.text) == (StepState.TIMED_OUT, None, "begun\n")
    assert not await actions.exec_async(node_id, 'kill -0 "$(cat ogc/pid)"', app=app)
    assert (await recorded(app, node_id))[0].state == StepState.TIMED_OUT


async def test_a_step_is_on_record_while_it_runs(app: App, layout: Layout, scripts_folder: Path) -> None:
    write(scripts_folder, s1_wait="until [ -e go ]; do sleep 0.02; done")
    node_id = await actions.launch_async(layout, app=app)
    began = anyio.Event()

    def watch(event: Event) -> None:
        if isinstance(event, StepStarted):
            began.set()

    with app.events.subscribed(watch):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: actions.deploy_async(node_id, app=app))
            await began.wait()
            (row,) = await recorded(app, node_id)
            assert (row.script, row.state, row.finished_at) == ("1-wait", StepState.RUNNING, None)
            await actions.exec_async(node_id, "touch ogc/go", claim=False, app=app)
    assert [row.state for row in await recorded(app, node_id)] == [StepState.PASSED] * 2


@pytest.mark.usefixtures("short_grace")
async def test_a_deploy_that_is_cancelled_ends_its_step_on_the_node_and_on_record(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    write(scripts_folder, s1_wait="echo $$ > pid; exec sleep 600")
    node_id = await actions.launch_async(layout, app=app)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: actions.deploy_async(node_id, app=app))
        await actions.exec_async(node_id, "until [ -s ogc/pid ]; do sleep 0.02; done", claim=False, app=app)
        group.cancel_scope.cancel()
    row = next(each for each in await recorded(app, node_id) if each.kind == "deploy")
    assert row.state == StepState.INTERRUPTED
    assert row.finished_at is not None
    assert not await actions.exec_async(node_id, 'kill -0 "$(cat ogc/pid)"', app=app)


async def test_a_node_that_fails_stops_no_other(app: App, layout: Layout, scripts_folder: Path) -> None:
    write(scripts_folder, s1_pick__sh__mako="exit ${9 if node.id == max(each.id for each in nodes) else 0}\n")
    node_ids = await actions.launch_async([changed(layout, scale=3)], app=app)
    results = await actions.deploy_async(node_ids, app=app)
    assert [(result.node_id, result.ok, result.steps[0].exit_code) for result in results] == [
        (node_ids[0], True, 0),
        (node_ids[1], True, 0),
        (node_ids[2], False, 9),
    ]


async def test_files_arrive_byte_for_byte(app: App, layout: Layout, scripts_folder: Path) -> None:
    data = bytes(range(256)) * 64 + b"\r\n${node.name}\r\n"
    write(scripts_folder, s1_show="cat lib/blob.bin")
    (scripts_folder / "lib").mkdir()
    (scripts_folder / "lib" / "blob.bin").write_bytes(data)
    node_id = await actions.launch_async(layout, app=app)
    assert (await actions.deploy_async(node_id, app=app)).steps[0].output == data


async def test_credentials_reach_no_node_no_row_no_event_and_no_log(
    app: App,
    layout: Layout,
    scripts_folder: Path,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "canary-0bd0e5"
    for name in (
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_PROJECT"),
        *("POSTGRES_PASSWORD", "POSTGRES_USER", "OGC_DATABASE_URL", "OTHER_TOKEN"),
    ):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("GREETING", 'it\'s $HOME & "more"')
    monkeypatch.setenv("OGC_EXTRA", "extra")
    write(
        scripts_folder,
        s1_env="env",
        s2_show='printf "%s|%s" "$GREETING" "$OGC_EXTRA"',
        s3_template__sh__mako="#!/bin/cat\n${env}\n${layout}\n${node}\n${nodes}\n${user}\n",
    )
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        node_id = await actions.launch_async(changed(layout, env=["GREETING"]), app=app)
        result = await actions.deploy_async(node_id, app=app)
        await actions.exec_async(node_id, "env; cat ogc/*", app=app)
    assert result
    assert result.steps[1].text == 'it\'s $HOME & "more"|extra'
    seen = [result.output, caplog.text, json.dumps(cloud.state()), *(repr(event) for event in events)]
    seen += [event.result.text for event in events if isinstance(event, StepFinished)]
    assert app.engine is not None
    async with app.engine.reading() as connection:
        for table in Base.metadata.sorted_tables:
            rows = (await connection.execute(table.select())).all()
            # A timeline is kept where somebody asks for it, as the command line does.
            assert rows or table.name in ("milestones", "workers")
            seen += [repr(row) for row in rows]
    assert app.settings.aws_secret_access_key is not None
    for text in seen:
        assert secret not in text
        assert app.settings.aws_secret_access_key.get_secret_value() not in text


@pytest.mark.parametrize(
    ("name", "says"), [("AWS_SECRET_ACCESS_KEY", "never leaves"), ("NOT_SET_ANYWHERE", "is not set")]
)
async def test_a_variable_that_may_not_be_shared_is_refused_before_anything_runs(
    name: str, says: str, app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    node_id = await actions.launch_async(changed(layout, env=[name]), app=app)
    with pytest.raises(SettingsError, match=f"{name}.*{says}"):
        await actions.deploy_async(node_id, app=app)
    assert await recorded(app, node_id) == []


async def test_a_template_that_does_not_render_is_told_with_its_line_and_nothing_runs(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    write(scripts_folder, s1_fine="true", s2_bad__sh__mako="#!/bin/sh\n\necho ${nobody}\n")
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(TemplateError, match=r"2-bad\.sh\.mako:3: 'nobody' is not defined"):
        await actions.deploy_async(node_id, app=app)
    assert await recorded(app, node_id) == []


async def test_a_folder_that_went_away_fails_its_own_layouts_nodes_only(
    app: App, layout: Layout, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "1.sh").write_text("true")
    bare = changed(layout, name="bare", scripts=None)
    specs = [changed(layout, name="gone", scripts=str(gone)), layout.as_dict(), bare]
    node_ids = await actions.launch_async(specs, app=app)
    (gone / "1.sh").unlink()
    results = await actions.deploy_async(node_ids, app=app)
    assert [type(result.error) for result in results] == [ScriptsError, type(None), type(None)]
    assert [len(result.steps) for result in results] == [0, 2, 0]
    assert [result.ok for result in results] == [False, True, True]
    with pytest.raises(ScriptsError):
        await actions.deploy_async(node_ids[0], app=app)


async def test_one_script_may_stand_for_the_folder(app: App, layout: Layout, scripts_folder: Path) -> None:
    node_id = await actions.launch_async(changed(layout, scripts=str(scripts_folder / "1-hello.sh")), app=app)
    result = await actions.deploy_async(node_id, app=app)
    assert [step.script for step in result.steps] == ["1-hello.sh"]


async def test_a_node_that_does_not_run_any_more_says_so(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    await actions.teardown_async(node_id, force=True, app=app)
    with pytest.raises(NotRunning, match="terminated"):
        await actions.deploy_async(node_id, app=app)
