"""The verbs over real OpenSSH servers: readiness, secrets, broken connections, the way through a jump host."""

from __future__ import annotations

import fcntl
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ogc_async import actions
from ogc_async.db.models import Base
from ogc_async.deploy import ready
from ogc_async.errors import ConnectionLost, HostKeyChanged, NotReady, SettingsError, TransferFailed
from ogc_async.events import Event, FilesPushed, StepFinished, StepStarted
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import StepState
from tests.enlist import enlist
from tests.integration.actions.common import changed, recorded
from tests.openssh import Fleet, openssh_fleet
from tests.timing import HANGS_AFTER_S

SECRET = "canary-5eab21-planted"


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with openssh_fleet(2, options=["PermitUserEnvironment yes"]) as fleet:
        yield fleet


@pytest.fixture
def own(layout: Layout, fleet: Fleet) -> dict[str, Any]:
    """A layout whose nodes are the fleet's."""
    return changed(layout, ssh_keys={"private": str(fleet.client_key)})


def write(folder: Path, **scripts: str) -> None:
    for each in folder.iterdir():
        each.unlink()
    for name, text in scripts.items():
        (folder / f"{name.removeprefix('s')}.sh").write_text(text)


def on_path(fleet: Fleet, number: int, name: str, script: str) -> None:
    """Put a program before the system's own ones on one node."""
    home = fleet.hosts[number].home
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (home / "bin" / name).chmod(0o755)
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "environment").write_text(f"PATH={home}/bin:/usr/bin:/bin\n")


def process_lists() -> str:
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return b"\n".join(lines).decode("utf-8", "replace")


async def test_a_planted_secret_is_found_nowhere(
    cloudless: App,
    own: dict[str, Any],
    fleet: Fleet,
    scripts_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = cloudless
    for name in ("AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "APP_TOKEN"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    app.settings = Settings(_env_file=None)
    assert app.engine is not None
    write(
        scripts_folder,
        s1_env="env; until [ -e ~/go ]; do sleep 0.02; done",
        s2_pieces='printf "%s" "${APP_TOKEN%??????????}"; sleep 0.1; echo "${APP_TOKEN#?????????????????????}"',
        s3_fails='echo "login with $APP_TOKEN failed" >&2; exit 1',
    )
    caplog.set_level(logging.DEBUG)
    node_id, other = await enlist(app.engine, fleet.hosts, own | {"env": ["APP_TOKEN"]})
    events: list[Event] = []
    began = anyio.Event()
    results = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepStarted):
            began.set()

    async def deploy() -> None:
        results.append(await actions.deploy_async(node_id, app=app))

    with app.events.subscribed(watch):
        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            with anyio.fail_after(HANGS_AFTER_S):
                await began.wait()
            await actions.exec_async(node_id, "until [ -e ogc/1_env.sh ]; do sleep 0.02; done", claim=False, app=app)
            assert "1_env.sh" in process_lists()
            assert SECRET not in process_lists()
            (fleet.hosts[0].home / "go").touch()
        said = await actions.exec_async(other, f"echo {SECRET}-APP_TOKEN; cat {SECRET}-APP_TOKEN", app=app)
    (result,) = results
    assert [step.ok for step in result.steps] == [True, True, False]
    assert "APP_TOKEN=[redacted]\n" in result.steps[0].text
    assert "login with [redacted] failed" in result.output
    seen = [caplog.text, *map(repr, events), result.output, said.output, said.steps[0].script]
    seen += [event.result.text for event in events if isinstance(event, StepFinished)]
    async with app.engine.reading() as connection:
        for table in Base.metadata.sorted_tables:
            seen += [repr(row) for row in (await connection.execute(table.select())).all()]
    assert not [text for text in seen if SECRET in text]


async def test_output_is_on_record_while_a_step_goes_on(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cloudless
    monkeypatch.setattr("ogc_async.ssh.execute.GROWTH_S", 0.05)
    write(scripts_folder, s1_talk="echo so far; until [ -e ~/go ]; do sleep 0.02; done; echo the end")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: actions.deploy_async(node_id, app=app))
        with anyio.fail_after(HANGS_AFTER_S):
            while not [row for row in await recorded(app, node_id) if row.output]:
                await anyio.sleep(0.02)
        (row,) = await recorded(app, node_id)
        assert (row.state, row.output, row.output_bytes) == (StepState.RUNNING, b"so far\n", 7)
        (fleet.hosts[0].home / "go").touch()
    (row,) = await recorded(app, node_id)
    assert (row.state, row.output) == (StepState.PASSED, b"so far\nthe end\n")


@pytest.mark.parametrize(
    ("uptime", "state"), [("0.01 0.01", StepState.REBOOTED), ("9999999 1", StepState.DISCONNECTED)]
)
async def test_a_reboot_in_the_middle_is_told_from_a_killed_connection(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path, uptime: str, state: StepState
) -> None:
    app = cloudless
    on_path(fleet, 0, "cat", f'[ "$1" = /proc/uptime ] && echo {uptime} || exec /bin/cat "$@"')
    write(scripts_folder, s1_fine="true", s2_breaks="touch ~/begun; sleep 600", s3_never="true")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)
    caught: list[ConnectionLost] = []

    async def deploy() -> None:
        with pytest.raises(ConnectionLost) as broke:
            await actions.deploy_async(node_id, app=app)
        caught.append(broke.value)

    async with anyio.create_task_group() as group:
        group.start_soon(deploy)
        with anyio.fail_after(HANGS_AFTER_S):
            while not (fleet.hosts[0].home / "begun").exists():
                await anyio.sleep(0.02)
        fleet.cut(fleet.hosts[0])
    rows = await recorded(app, node_id)
    assert [(row.script, row.state) for row in rows] == [("1_fine.sh", StepState.PASSED), ("2_breaks.sh", state)]
    assert rows[1].error is not None
    assert ("rebooted" in rows[1].error) == (state is StepState.REBOOTED)
    assert rows[1].error in str(caught[0])


async def test_a_gate_that_opens_lets_the_scripts_run(
    cloudless: App, own: dict[str, Any], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cloudless
    monkeypatch.setattr(ready, "PAUSE_S", 0.02)
    on_path(fleet, 0, "cloud-init", 'echo "$@" >> ~/asked; until [ -e ~/init-done ]; do sleep 0.02; done')
    home = fleet.hosts[0].home
    assert app.engine is not None
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        gate = {"cloud-init": True, "port": later.getsockname()[1], "command": "touch ~/tried; test -e ~/open"}
        (node_id,) = await enlist(app.engine, fleet.hosts[:1], own | {"ready": gate})
        results = []

        async def deploy() -> None:
            results.append(await actions.deploy_async(node_id, app=app))

        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            with anyio.fail_after(HANGS_AFTER_S):
                while not (home / "asked").exists():
                    await anyio.sleep(0.01)
                assert not (home / "tried").exists()
                later.listen()
                (home / "init-done").touch()
                while not (home / "tried").exists():
                    await anyio.sleep(0.01)
                assert await recorded(app, node_id) == []
                (home / "open").touch()
    assert all(results)
    assert (home / "asked").read_text() == "status --wait\n"


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ({"command": "false"}, "'false' does not exit with 0"),
        ({"port": 1}, "nothing listens on TCP port 1"),
    ],
)
async def test_a_gate_that_stays_closed_is_told_with_what_was_waited_for(
    cloudless: App, own: dict[str, Any], fleet: Fleet, gate: object, says: str
) -> None:
    app = cloudless
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own | {"ready": gate, "timeouts": {"ready": 1}})
    with pytest.raises(NotReady, match=f"not ready after 1 s: {says}"):
        await actions.deploy_async(node_id, app=app)
    assert await recorded(app, node_id) == []


async def test_a_cloud_init_that_failed_is_told_with_what_it_said(
    cloudless: App, own: dict[str, Any], fleet: Fleet
) -> None:
    on_path(fleet, 0, "cloud-init", "echo status: error; exit 1")
    assert cloudless.engine is not None
    (node_id,) = await enlist(cloudless.engine, fleet.hosts[:1], own | {"ready": "cloud-init"})
    with pytest.raises(NotReady, match="cloud-init failed: status: error"):
        await actions.deploy_async(node_id, app=cloudless)
    assert await recorded(cloudless, node_id) == []


async def test_a_node_without_cloud_init_can_not_wait_for_it(cloudless: App, own: dict[str, Any], fleet: Fleet) -> None:
    assert cloudless.engine is not None
    (node_id,) = await enlist(cloudless.engine, fleet.hosts[:1], own | {"ready": "cloud-init"})
    with pytest.raises(NotReady, match="has no cloud-init"):
        await actions.deploy_async(node_id, app=cloudless)


async def test_a_package_manager_at_work_is_waited_for(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cloudless
    lock = fleet.hosts[0].home / "lock-frontend"
    lock.touch()
    monkeypatch.setattr(ready.lock_probe, "__defaults__", ((str(lock),),))
    write(scripts_folder, s1_probe=f"{ready.lock_probe()}; echo free")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)
    pushed = anyio.Event()
    results = []

    def watch(event: Event) -> None:
        if isinstance(event, FilesPushed):
            pushed.set()

    async def deploy() -> None:
        results.append(await actions.deploy_async(node_id, app=app))

    with lock.open("r+") as held, app.events.subscribed(watch):
        fcntl.lockf(held, fcntl.LOCK_EX)
        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            with anyio.fail_after(HANGS_AFTER_S):
                await pushed.wait()
            assert await recorded(app, node_id) == []
            fcntl.lockf(held, fcntl.LOCK_UN)
    assert [result.output for result in results] == ["free\n"]


async def test_a_package_manager_that_never_ends_is_not_waited_for_for_ever(
    cloudless: App, own: dict[str, Any], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fleet.hosts[0].home / "lock"
    lock.touch()
    monkeypatch.setattr(ready.lock_probe, "__defaults__", ((str(lock),),))
    assert cloudless.engine is not None
    (node_id,) = await enlist(cloudless.engine, fleet.hosts[:1], own | {"timeouts": {"ready": 1}})
    with lock.open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        with pytest.raises(NotReady, match="still held its lock after 1 s"):
            await actions.deploy_async(node_id, app=cloudless)


async def test_nodes_behind_a_jump_host_share_one_session_to_it(
    cloudless: App, own: dict[str, Any], fleet: Fleet, tmp_path: Path
) -> None:
    app = cloudless
    with openssh_fleet(3) as inner:
        jump = fleet.hosts[0]
        known = tmp_path / "known_hosts"
        known.write_text(fleet.known_hosts())
        app.settings = Settings(_env_file=None, ogc_known_hosts=known)
        way = {"jump-host": f"{jump.username}@{jump.address}:{jump.port}", "address": "private"}
        for host in inner.hosts:
            (host.folder / "authorized_keys").write_text(fleet.public_key)
        assert app.engine is not None
        node_ids = await enlist(app.engine, inner.hosts, own | way)
        results = await actions.deploy_async(node_ids, app=app)
        assert all(results)
        assert jump.log.count("Accepted publickey") == 1
        assert [host.log.count("Accepted publickey") for host in inner.hosts] == [1, 1, 1]
        known.write_text(fleet.known_hosts().splitlines()[1] + "\n")
        (result,) = await actions.exec_async(node_ids[:1], "true", app=app)
        assert isinstance(result.error, HostKeyChanged)
        known.unlink()
        (result,) = await actions.exec_async(node_ids[:1], "true", app=app)
        assert isinstance(result.error, SettingsError)


async def test_private_addresses_are_used_where_the_layout_says_so(
    cloudless: App, own: dict[str, Any], fleet: Fleet
) -> None:
    app = cloudless
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own | {"address": "private"}, public_ip="192.0.2.1")
    assert await actions.exec_async(node_id, "true", app=app)
    assert fleet.hosts[0].address in await actions.known_hosts_async(app=app)


async def test_a_machine_that_shows_another_key_than_before_is_refused_and_nothing_runs_there(
    cloudless: App, own: dict[str, Any], fleet: Fleet
) -> None:
    app = cloudless
    assert app.engine is not None
    node_ids = await enlist(app.engine, fleet.hosts, own)
    assert all(await actions.exec_async(node_ids, "true", app=app))
    fleet.rekey(fleet.hosts[0])
    changed_key, fine = await actions.exec_async(node_ids, "touch ~/ran", app=app)
    assert isinstance(changed_key.error, HostKeyChanged)
    assert fine
    assert [(host.home / "ran").exists() for host in fleet.hosts] == [False, True]


async def test_a_connection_cut_between_the_push_and_the_first_step_is_told_and_the_step_never_runs(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path
) -> None:
    app = cloudless
    write(scripts_folder, s1_first="touch ~/ran", s2_never="touch ~/ran")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)

    def cut(event: Event) -> None:
        if isinstance(event, FilesPushed):
            fleet.cut(fleet.hosts[0])

    with app.events.subscribed(cut), pytest.raises(ConnectionLost, match=r"the session broke .*\(1_first\.sh\)"):
        await actions.deploy_async(node_id, app=app)
    (row,) = await recorded(app, node_id)
    assert (row.script, row.state, row.exit_code) == ("1_first.sh", StepState.DISCONNECTED, None)
    assert not (fleet.hosts[0].home / "ran").exists()
    assert await actions.deploy_async(node_id, app=app)
    assert (fleet.hosts[0].home / "ran").exists()


async def test_a_push_that_fails_leaves_no_step_on_record(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path
) -> None:
    app = cloudless
    write(scripts_folder, s1_first="touch ~/ran")
    on_path(fleet, 0, "tar", "echo 'tar: no room' >&2; exit 2")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)
    with pytest.raises(TransferFailed, match="exit code 2: tar: no room"):
        await actions.deploy_async(node_id, app=app)
    assert await recorded(app, node_id) == []
    assert not (fleet.hosts[0].home / "ran").exists()


async def test_a_node_that_greets_whoever_comes_is_asked_for_its_locks_again_and_runs_its_steps(
    cloudless: App, own: dict[str, Any], fleet: Fleet, scripts_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cloudless
    write(scripts_folder, s1_first="echo one", s2_second="echo two")
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, fleet.hosts[:1], own)
    monkeypatch.setattr("ogc_async.actions.scripting.lock_probe", lambda: "echo hello")
    result = await actions.deploy_async(node_id, app=app)
    assert result.output == "one\ntwo\n"
