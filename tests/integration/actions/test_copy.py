"""Files to and from nodes, launching that flows into deploying, and the host keys for other programs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ogc_async import actions
from ogc_async.errors import OgcError, ScriptsError, TransferFailed
from ogc_async.events import Event, FilesPushed, NodeFinished, NodeMoved
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import DescribeRequest, Instance, InstanceState, NodeState, StepState
from tests.enlist import enlist
from tests.integration.actions.common import changed, recorded
from tests.openssh import openssh_fleet
from tests.timing import HANGS_AFTER_S


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    (folder / "deep").mkdir(parents=True)
    (folder / "app.conf").write_text("a=1")
    (folder / "deep" / "blob").write_bytes(bytes(range(256)))
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")
    return tmp_path


async def test_files_folders_and_wildcards_go_to_every_node_and_only_what_changed_goes_again(
    app: App, layout: Layout, tree: Path
) -> None:
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        results = await actions.push_files_async(node_ids, [tree / "conf", f"{tree}/*.txt"], app=app)
        assert all(results)
        assert results[0].output == "conf/app.conf\nconf/deep/blob\none.txt\ntwo.txt\n"
        seen = await actions.exec_async(node_ids, "cd ogc; sha256sum conf/deep/blob; cat *.txt conf/app.conf", app=app)
        assert {result.output.split("  ", 1)[1] for result in seen} == {"conf/deep/blob\nonetwoa=1"}
        (tree / "one.txt").write_text("ONE")
        again = await actions.push_files_async(node_ids, [tree / "conf", f"{tree}/*.txt"], app=app)
    assert [result.output for result in again] == ["one.txt\n"] * 2
    assert [event.files for event in events if isinstance(event, FilesPushed)] == [4, 4, 1, 1]
    rows = [row for row in await recorded(app, node_ids[0]) if row.kind == "push"]
    assert [(row.state, row.exit_code) for row in rows] == [(StepState.PASSED, 0)] * 2
    assert rows[0].script == f"push {tree}/conf {tree}/*.txt to ogc"


async def test_one_kind_of_push_leaves_the_other_s_files_known(app: App, layout: Layout, tree: Path) -> None:
    node_id = await actions.launch_async(layout, app=app)
    assert await actions.deploy_async(node_id, app=app)
    assert await actions.push_files_async(node_id, tree / "one.txt", app=app)
    events: list[Event] = []
    with app.events.subscribed(events.append):
        assert await actions.deploy_async(node_id, rerun=True, app=app)
        assert await actions.push_files_async(node_id, tree / "one.txt", app=app)
    assert [event.files for event in events if isinstance(event, FilesPushed)] == [0, 0]


async def test_what_is_not_there_is_told_before_any_node_is_asked(app: App, layout: Layout, tree: Path) -> None:
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(ScriptsError, match=r"none\.txt: matches no file here"):
        await actions.push_files_async(node_id, tree / "none.txt", app=app)
    (tree / "conf" / "one.txt").write_text("another")
    with pytest.raises(ScriptsError, match=r"are both one\.txt on a node"):
        await actions.push_files_async(node_id, [tree / "one.txt", tree / "conf" / "one.txt"], app=app)
    assert await recorded(app, node_id) == []


async def test_a_push_that_fails_is_on_record_with_its_reason(app: App, layout: Layout, tree: Path) -> None:
    node_id = await actions.launch_async(layout, app=app)
    await actions.exec_async(node_id, "touch taken", app=app)
    with pytest.raises(TransferFailed, match="File exists"):
        await actions.push_files_async(node_id, tree / "one.txt", remote_path="taken", app=app)
    (row,) = [row for row in await recorded(app, node_id) if row.kind == "push"]
    assert (row.state, row.exit_code) == (StepState.FAILED, None)
    assert row.error is not None
    assert "File exists" in row.error


async def test_what_is_fetched_goes_to_a_folder_for_each_node(app: App, layout: Layout, tmp_path: Path) -> None:
    node_ids = await actions.launch_async([changed(layout, scale=2)], app=app)
    await actions.exec_async(
        node_ids, "mkdir -p logs/deep; echo $OGC_NODE_NAME > logs/deep/name; echo b > b.log", app=app
    )
    results = await actions.pull_files_async(node_ids, ["logs", "*.log", "none*"], tmp_path / "got", app=app)
    for result in results:
        folder = tmp_path / "got" / result.name
        assert (folder / "logs/deep/name").read_text() == f"{result.name}\n"
        assert sorted(result.files) == [folder / "b.log", folder / "logs/deep/name"]
    (row,) = [row for row in await recorded(app, node_ids[0]) if row.kind == "pull"]
    assert (row.script, row.state) == ("pull logs *.log none*", StepState.PASSED)


async def test_artifacts_are_what_the_layout_names_and_go_to_artifacts_of_the_node(
    app: App, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    specs = [changed(layout, artifacts=["out/*.txt"]), changed(layout, name="bare")]
    named, bare = await actions.launch_async(specs, app=app)
    await actions.exec_async(named, "mkdir out; echo 1 > out/a.txt; echo 2 > out/b.bin", app=app)
    results = await actions.pull_artifacts_async([named, bare], app=app)
    assert [len(result.files) for result in results] == [1, 0]
    assert Path("artifacts", results[0].name, "out", "a.txt").read_text() == "1\n"
    assert all(results)
    assert results[1].steps == ()


@pytest.fixture
def story(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Which node ran, and which was done, in order; each machine boots once the nodes before it are done."""
    told: list[tuple[str, int]] = []
    describe = AwsProvider.describe

    async def one_by_one(provider: AwsProvider, request: DescribeRequest) -> dict[str, Instance]:
        done = sum(what == "done" for what, _ in told)
        seen = await describe(provider, request)
        return {key: each if each.launch_index <= done else still_booting(each) for key, each in seen.items()}

    def watch(event: Event) -> None:
        if isinstance(event, NodeFinished):
            told.append(("done", event.node_id))
        elif isinstance(event, NodeMoved) and event.state == NodeState.RUNNING:
            told.append(("runs", event.node_id))

    monkeypatch.setattr(AwsProvider, "describe", one_by_one)
    with app.events.subscribed(watch):
        yield told


def still_booting(machine: Instance) -> Instance:
    return replace(machine, state=InstanceState.PENDING)


async def test_each_node_is_deployed_to_while_others_still_boot(
    app: App, layout: Layout, story: list[tuple[str, int]]
) -> None:
    app.settings = app.settings.model_copy(update={"ogc_boot_timeout_s": HANGS_AFTER_S})
    result = await actions.up_async([changed(layout, scale=4)], app=app)
    assert result.ok, result.failures
    assert [each.node_id for each in result.deployed] == list(result)
    assert all(len(each.steps) == 2 for each in result.deployed)
    assert story == [(what, node_id) for node_id in result for what in ("runs", "done")]


async def test_bringing_up_tells_who_did_not_come_up_and_who_failed_to_deploy(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    (scripts_folder / "1-hello.sh").write_text("exit 4")
    good = changed(layout)
    bad = changed(layout, name="bad", runs_on="ami-00000000000000000")
    result = await actions.up_async([good, bad], app=app)
    assert not result.ok
    assert [failure.layout for failure in result.failures] == ["bad"]
    assert [each.ok for each in result.deployed] == [False]
    with pytest.raises(OgcError):
        await actions.up_async(bad, app=app)
    single = await actions.up_async(good, app=app)
    assert [step.exit_code for step in single.steps] == [4]


async def test_host_keys_are_exported_for_openssh_and_an_address_used_again_is_no_alarm(
    layout: Layout, cloudless: App, tmp_path: Path
) -> None:
    app = cloudless
    assert app.engine is not None
    with openssh_fleet(2) as fleet:
        own = changed(layout, ssh_keys={"private": str(fleet.client_key)}, scripts=None)
        first, second = await enlist(app.engine, fleet.hosts, own)
        assert all(await actions.exec_async([first, second], "true", app=app))
        known = await actions.known_hosts_async(app=app)
        assert known == fleet.known_hosts()
        file = tmp_path / "known_hosts"
        file.write_text(known)
        host = fleet.hosts[0]
        words = [
            "ssh",
            "-F",
            "none",
            "-p",
            str(host.port),
            "-i",
            str(fleet.client_key),
            "-o",
            f"UserKnownHostsFile={file}",
        ]
        words += [
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            f"{host.username}@{host.address}",
            "echo in",
        ]
        done = await anyio.to_thread.run_sync(lambda: subprocess.run(words, capture_output=True, text=True, timeout=60))
        assert done.stdout == "in\n", done.stderr
        # The machine ends, and its address comes to another one, which has a host key of its own.
        await actions.teardown_async(first, only_db=True, app=app)
        fleet.rekey(host)
        (third,) = await enlist(app.engine, fleet.hosts[:1], own | {"name": "next"})
        assert await actions.exec_async(third, "true", app=app)
        assert await actions.known_hosts_async(app=app) == "".join(
            reversed(fleet.known_hosts().splitlines(keepends=True))
        )
