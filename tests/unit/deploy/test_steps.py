"""From a script folder to one node's files, steps and environment, and from how a command ended to its result."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ogc_async.deploy.run import Limits, StepsInterrupted, run_steps, step_result
from ogc_async.deploy.scripts import read_scripts
from ogc_async.deploy.steps import NodePlan, Step, node_environment, plan_node
from ogc_async.deploy.template import Templates
from ogc_async.errors import ConnectionLost
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution
from ogc_async.ssh.shell import POSIX
from ogc_async.types import NodeSnapshot, NodeState, StepResult, StepState, UserSnapshot

USER = UserSnapshot(1, "Adam", "adam", "s" * 32)
NODE = NodeSnapshot(
    id=7,
    name="web-1",
    layout="web",
    provider="aws",
    region="us-east-2",
    zone=None,
    state=NodeState.RUNNING,
    token="t",
    launch_index=0,
    public_ip="192.0.2.1",
    tags=("a", "b"),
)


def plan(folder: Path, *, include: tuple[str, ...] = (), remote_path: str = "ogc") -> NodePlan:
    scripts = read_scripts(folder, base=folder.parent, include=include)
    return plan_node(scripts, Templates(folder), remote_path, {"node": NODE})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "1-plain.sh").write_bytes(b"echo ${node.name}\n")
    return folder


def test_templates_are_rendered_under_their_name_and_the_rest_is_left_as_it_is(folder: Path) -> None:
    (folder / "2-page.sh.mako").write_text("#!/bin/sh\necho ${node.name}\n")
    (folder / "lib").mkdir()
    (folder / "lib" / "app.conf.mako").write_text("name=${node.name}")
    (folder / "lib" / "_part.mako").write_text("${nobody}")
    (folder / "functions.mako").write_text("${nobody}")
    (folder.parent / "site.conf.mako").write_text("site ${node.name}")
    made = {each.path: each.data for each in plan(folder, include=("site.conf.mako",)).files}
    assert made == {
        "1-plain.sh": b"echo ${node.name}\n",
        "2-page.sh": b"#!/bin/sh\necho web-1\n",
        "lib/app.conf": b"name=web-1",
        "lib/_part.mako": b"${nobody}",
        "functions.mako": b"${nobody}",
        "site.conf": b"site web-1",
    }


def test_a_steps_digest_is_of_what_runs_on_that_node(folder: Path) -> None:
    (folder / "2-page.sh.mako").write_text("${node.name}")
    first, second = plan(folder).steps
    assert (first.script, second.script) == ("1-plain.sh", "2-page.sh.mako")
    assert second.sha256 == hashlib.sha256(b"web-1").hexdigest()


def test_what_runs_may_be_executed_and_nothing_may_be_written_by_others(folder: Path) -> None:
    (folder / "1-plain.sh").chmod(0o600)
    (folder / "teardown.sh").write_text("true")
    (folder / "lib").mkdir()
    (folder / "lib" / "data").write_text("x")
    (folder / "lib" / "data").chmod(0o666)
    made = plan(folder)
    assert {each.path: each.mode for each in made.files} == {
        "1-plain.sh": 0o755,
        "teardown.sh": 0o755,
        "lib/data": 0o644,
    }
    assert made.teardown is not None
    assert [step.script for step in made.steps] == ["1-plain.sh"]


@pytest.mark.parametrize(
    ("data", "runs"), [(b"#!/usr/bin/env python3\n", "exec './a b.py'"), (b"echo", "exec /bin/sh './a b.py'")]
)
def test_a_script_runs_by_its_shebang_or_else_by_the_shell(data: bytes, runs: str) -> None:
    assert POSIX.script("a b.py", data, "my folder") == f"cd 'my folder' && {runs}"


@pytest.mark.parametrize("name", ["a b.sh", "$HOME.sh", "`id`.sh", "it's.sh", "-n.sh", "semi;colon.sh"])
def test_any_file_name_reaches_the_shell_whole(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("echo ran")
    done = subprocess.run(["/bin/sh", "-c", POSIX.script(name, b"echo ran", str(tmp_path))], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")


def test_every_script_knows_its_node_and_what_is_unknown_is_empty() -> None:
    assert node_environment(NODE, USER) == {
        "OGC_NODE_ID": "7",
        "OGC_NODE_NAME": "web-1",
        "OGC_LAYOUT": "web",
        "OGC_PROVIDER": "aws",
        "OGC_REGION": "us-east-2",
        "OGC_ZONE": "",
        "OGC_INSTANCE_ID": "",
        "OGC_PUBLIC_IP": "192.0.2.1",
        "OGC_PRIVATE_IP": "",
        "OGC_TAGS": "a,b",
        "OGC_USER": "adam",
    }


STEP = Step("1.sh", "true", "digest")


@pytest.mark.parametrize(
    ("ended", "exit_code", "signal", "state"),
    [
        (Ended.EXITED, 0, None, StepState.PASSED),
        (Ended.EXITED, 3, None, StepState.FAILED),
        (Ended.KILLED, None, "KILL", StepState.KILLED),
        (Ended.TIMED_OUT, None, None, StepState.TIMED_OUT),
        (Ended.INTERRUPTED, None, None, StepState.DISCONNECTED),
    ],
)
def test_how_a_command_ended_is_how_its_step_ended(
    ended: Ended, exit_code: int | None, signal: str | None, state: StepState
) -> None:
    done = Execution(
        ended=ended, exit_code=exit_code, signal=signal, output=b"x", output_bytes=9, errors=b"", seconds=1.23456
    )
    result = step_result(STEP, done)
    assert (result.state, result.exit_code, result.signal, result.seconds) == (state, exit_code, signal, 1.235)
    assert (result.script, result.sha256, result.is_truncated) == ("1.sh", "digest", True)


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.output = b""

    async def started(self, script: str, sha256: str) -> int:
        self.lines.append((script, "started"))
        return len(self.lines)

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        self.lines.append((str(action_id), "grew"))

    def heard(self, data: bytes) -> None:
        self.output += data

    def finished(self, action_id: int, result: StepResult) -> None:
        self.lines.append((result.script, result.state))

    async def written(self) -> None:
        self.lines.append(("", "written"))


Runs = Callable[..., Awaitable[tuple[StepResult, ...]]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs three steps over a session on which each command exits as told, until it breaks."""
    exit_codes: list[int] = []

    async def execute(session: Session, command: str, **_: object) -> Execution:
        if not exit_codes:
            raise ConnectionLost(session.node, "broke")
        code, output = exit_codes.pop(0), command.encode()
        return Execution(
            ended=Ended.EXITED,
            exit_code=code,
            signal=None,
            output=output,
            output_bytes=len(output),
            errors=b"",
            seconds=0.1,
        )

    async def run_three(notes: Notes, *codes: int, is_stopping: bool = True) -> tuple[StepResult, ...]:
        exit_codes[:] = codes
        session = Session(cast("Any", None), "web-1", "key")
        steps = [Step(f"{number}.sh", f"run {number}", "") for number in (1, 2, 3)]
        limits = Limits(timeout_s=60, output_limit=1024)
        return await run_steps(session, steps, env={}, limits=limits, recorder=notes, is_stopping=is_stopping)

    monkeypatch.setattr("ogc_async.deploy.run.run", execute)
    return run_three


async def test_steps_run_one_after_the_other_each_on_record_before_the_next(runs: Runs) -> None:
    notes = Notes()
    results = await runs(notes, 0, 0, 0)
    assert [each.output for each in results] == [f"run {number}".encode() for number in (1, 2, 3)]
    told = [(f"{number}.sh", state) for number in (1, 2, 3) for state in ("started", StepState.PASSED)]
    assert notes.lines == [*told, ("", "written")]


async def test_the_first_failure_ends_the_run_unless_it_is_to_go_on(runs: Runs) -> None:
    assert [each.exit_code for each in await runs(Notes(), 0, 3, 0)] == [0, 3]
    assert [each.exit_code for each in await runs(Notes(), 0, 3, 0, is_stopping=False)] == [0, 3, 0]


async def test_a_session_that_breaks_between_two_steps_keeps_the_results_before_it(runs: Runs) -> None:
    notes = Notes()
    with pytest.raises(StepsInterrupted, match=r"broke before a step could start \(2\.sh\)") as caught:
        await runs(notes, 0)
    assert [(each.script, each.state) for each in caught.value.steps] == [
        ("1.sh", StepState.PASSED),
        ("2.sh", StepState.DISCONNECTED),
    ]
    assert notes.lines[-2:] == [("2.sh", StepState.DISCONNECTED), ("", "written")]
