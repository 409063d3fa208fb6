"""Several processes at once on one database, as their users meet it: no step runs twice but one that was broken off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from subprocess import CompletedProcess
from typing import Any

import pytest
from sqlalchemy import func, select

from ogc_async import db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.clock import database_later
from ogc_async.db.models import Worker
from ogc_async.db.results import node_actions
from ogc_async.settings import Settings
from tests.acceptance.conftest import Ogc
from tests.timing import patiently
from tests.warm import Call, warm

SPEC = """\
name: two
ssh-keys: {private: keys/ogc_ed25519}
layouts:
  web:
    provider: aws
    runs-on: ubuntu-2404
    instance-size: t3.small
    scripts: scripts/gated
    scale: %d
"""
LEASE_S = 1.0
"""Of a process that is to be taken for dead."""
PAUSE_S = 0.05
AT_ONCE = 50

Start = Callable[..., AbstractContextManager[Call]]
Document = dict[str, Any]


@pytest.fixture
def start(ogc_environment: dict[str, str], work_folder: Path) -> Start:
    """Begins a call of ``ogc``, which goes on while the test does."""

    def begin(*words: str, **variables: str) -> AbstractContextManager[Call]:
        return warm().started(words, env=ogc_environment | variables, cwd=work_folder)

    return begin


@pytest.fixture
def record(ogc_environment: dict[str, str]) -> Iterator[Record]:
    values = {name.lower(): value for name, value in ogc_environment.items()}
    engine = db.connect(settings=Settings(_env_file=None, **values))
    yield Record(engine)
    blocking(engine.aclose)()


@dataclass(frozen=True)
class Record:
    """What the database says of the processes that work on its nodes."""

    engine: Engine

    def count_workers(self) -> int:
        return self._ask(select(func.count()).select_from(Worker))

    def wait_for_silence(self, seconds: float) -> None:
        """Until no process has given a sign of life for so long, by the database's clock."""
        heard = Worker.beat_until > database_later(-seconds)
        for _ in patiently(f"{seconds} s of silence", pause_s=PAUSE_S):
            if not self._ask(select(func.count()).select_from(Worker).where(heard)):
                return

    def wait_for_steps(self, node: int, *steps: tuple[str, str]) -> None:
        """Until just these steps, with these states, are on record of the node's deploys."""
        for _ in patiently(f"{steps} on {node}", pause_s=PAUSE_S):
            found = blocking(node_actions)(self.engine, node)
            if [(each.script[0], str(each.state)) for each in found if each.kind == "deploy"] == list(steps):
                return

    def _ask(self, statement: Any) -> int:
        async def ask_async() -> int:
            async with self.engine.reading() as connection:
                return int(await connection.scalar(statement))

        return blocking(ask_async)()


@dataclass(frozen=True)
class Fleet:
    """Running nodes whose scripts say on the node that they ran, and wait there where the test says so."""

    ogc: Ogc

    def answer(self, *words: str) -> Document:
        done = self.ogc(*words, "--json")
        document: Document = json.loads(done.stdout)
        return document

    def open(self, gates: str, *nodes: str) -> None:
        """Let scripts go on that wait for these files."""
        assert self.answer("exec", "--no-claim", f"touch {gates}", *(nodes or ["--all"]))["ok"]

    def ran(self, *nodes: str) -> list[list[str]]:
        """The steps that ran on each node, in order, as the node counted them."""
        said = self.answer("exec", "--no-claim", "touch ran; cat ran", *(nodes or ["--all"]))
        assert said["ok"], said
        return [each["steps"][0]["output"].split() for each in said["results"]]

    def wait_until_ran(self, *steps: str) -> None:
        """On record a step begins before the node hears of it."""
        for _ in patiently(f"{steps} on each node", pause_s=PAUSE_S):
            if all(each == list(steps) for each in self.ran()):
                return

    def steps(self, node: str) -> list[tuple[str, str]]:
        """A deploy's steps on record, with their states, oldest first."""
        shown = self.answer("inspect", node)["actions"]
        return [(each["script"][0], each["state"]) for each in shown if each["kind"] == "deploy"]


Launch = Callable[..., Fleet]


@pytest.fixture
def launch(ogc: Ogc, work_folder: Path) -> Iterator[Launch]:
    """Launches so many nodes with these steps; a step says on the node that it ran, and goes on as the shell says."""

    def launched(scale: int, *steps: str, teardown: str = "true") -> Fleet:
        (work_folder / "ogc.yml").write_text(SPEC % scale)
        folder = work_folder / "scripts/gated"
        folder.mkdir(parents=True)
        (folder / "teardown.sh").write_text(f"#!/bin/sh\n{teardown}\n")
        for number, text in enumerate(steps, 1):
            (folder / f"{number}.sh").write_text(f"#!/bin/sh\necho {number} >> ~/ran\n{text}\n")
        assert ogc("init", "--name", "Ada").returncode == 0
        done = ogc("launch", "--no-deploy")
        assert done.returncode == 0, done.stderr
        return Fleet(ogc)

    yield launched
    assert ogc("rm-all", "--yes", "--force").returncode == 0


def waits_for(gate: str, nodes: str = "*") -> str:
    return f"case $OGC_NODE_ID in {nodes}) until test -e ~/{gate}; do sleep 0.1; done;; esac"


def documents(done: CompletedProcess[str]) -> Document:
    document: Document = json.loads(done.stdout)
    return document


def errors(document: Document) -> list[str | None]:
    return [each["error"] and each["error"]["type"] for each in document["results"]]


def test_of_two_deploys_at_once_one_works_and_one_names_the_other_or_waits_for_it(
    launch: Launch, start: Start, record: Record
) -> None:
    fleet = launch(AT_ONCE, waits_for("go", "1"), "true")
    with ExitStack() as stack:
        both = [stack.enter_context(start("deploy", "--all", "--json")) for _ in range(2)]
        for _ in patiently("the end of one of them", pause_s=PAUSE_S):
            if any(call.is_over() for call in both):
                break
        winner, loser = sorted(both, key=lambda call: call.is_over())
        assert not winner.is_over()
        busy = loser.finish()
        assert busy.returncode == 1
        told = [each["error"] for each in documents(busy)["results"]]
        assert [each["type"] for each in told] == ["NodeBusy"] * AT_ONCE
        assert all(each["holder"].endswith(f"(process {winner.pid})") for each in told)
        assert {each["claimed_for"] for each in told} == {"deploy"}
        assert all(each["since"] for each in told)

        waiting = stack.enter_context(start("deploy", "--all", "--json", "--wait", "5m"))
        for _ in patiently("a second process that asks for the nodes", pause_s=PAUSE_S):
            if record.count_workers() == 2:
                break
        fleet.open("go", "1")
        first, second = documents(winner.finish()), documents(waiting.finish())
    assert (first["ok"], second["ok"]) == (True, True)
    assert {step["skipped"] for each in first["results"] for step in each["steps"]} == {False}
    assert {step["skipped"] for each in second["results"] for step in each["steps"]} == {True}
    assert fleet.ran() == [["1", "2"]] * AT_ONCE
    assert record.count_workers() == 0


def test_a_removal_in_the_middle_of_a_deploy_names_the_deploy_and_takes_over_only_where_told_to(
    launch: Launch, start: Start
) -> None:
    fleet = launch(3, waits_for("go"), "true", teardown=f"touch ~/go; {waits_for('end')}")
    with start("deploy", "--all", "--json") as deploying:
        fleet.wait_until_ran("1")
        for words in (["rm", "1-3", "--yes"], ["rm", "1-3", "--yes", "--force"], ["rm-all", "--yes", "--only-db"]):
            refused = fleet.answer(*words)
            assert (refused["exit_code"], refused["torn_down"]) == (1, [])
            told = [each["error"] for each in refused["failures"]]
            assert [each["type"] for each in told] == ["NodeBusy"] * 3
            assert all(each["holder"].endswith(f"(process {deploying.pid})") for each in told)
        assert fleet.answer("exec", "touch go", "2", "--take-over")["ok"]
        # Its teardown script lets the deploy's step end, and the machine lives until the deploy has seen that.
        with start("rm", "3", "--yes", "--take-over", "--json") as removing:
            fleet.open("go", "1")
            done = documents(deploying.finish())
            fleet.open("end", "3")
            assert documents(removing.finish())["torn_down"] == [3]
    assert done["exit_code"] == 1
    assert errors(done) == [None, "ClaimLost", "ClaimLost"]
    assert fleet.ran("1", "2") == [["1", "2"], ["1"]]
    assert [fleet.steps(node) for node in ("1", "2", "3")] == [
        [("1", "passed"), ("2", "passed")],
        [("1", "interrupted")],
        [("1", "interrupted")],
    ]


def test_a_process_that_was_stopped_and_taken_for_dead_begins_no_step_where_another_took_the_node(
    launch: Launch, start: Start, record: Record
) -> None:
    fleet = launch(3, "true", waits_for("go"), waits_for("end"))
    with start("deploy", "--all", "--json", OGC_LEASE_S=str(LEASE_S)) as stopped:
        fleet.wait_until_ran("1", "2")
        os.kill(stopped.pid, SIGSTOP)
        record.wait_for_silence(LEASE_S)
        # One node another process takes, works on and lets go of; one it still works on; the third one it leaves alone.
        fleet.open("go end", "2")
        assert fleet.answer("deploy", "2")["ok"]
        with start("deploy", "1", "--json") as successor:
            broken_off = ("1", "passed"), ("2", "interrupted")
            record.wait_for_steps(1, *broken_off, ("2", "running"))
            fleet.open("go", "1")
            record.wait_for_steps(1, *broken_off, ("2", "passed"), ("3", "running"))
            fleet.open("go end", "3")
            before = [fleet.answer("inspect", node)["actions"] for node in ("1", "2")]
            os.kill(stopped.pid, SIGCONT)
            woken = documents(stopped.finish())
            assert [fleet.answer("inspect", node)["actions"] for node in ("1", "2")] == before
            fleet.open("end", "1")
            assert documents(successor.finish())["ok"]
    assert woken["exit_code"] == 1
    assert errors(woken) == ["ClaimLost", "ClaimLost", None]
    assert fleet.ran() == [["1", "2", "2", "3"], ["1", "2", "2", "3"], ["1", "2", "3"]]
    taken = [("1", "passed"), ("2", "interrupted"), ("2", "passed"), ("3", "passed")]
    assert [fleet.steps(node) for node in ("1", "2")] == [taken, taken]
    assert fleet.steps("3") == [("1", "passed"), ("2", "passed"), ("3", "passed")]


def test_a_killed_process_s_step_reads_as_interrupted_and_the_next_deploy_goes_on_from_it(
    launch: Launch, start: Start, record: Record
) -> None:
    fleet = launch(2, "true", waits_for("go"), "true")
    with start("deploy", "--all", "--json", OGC_LEASE_S=str(LEASE_S)) as killed:
        fleet.wait_until_ran("1", "2")
        os.kill(killed.pid, SIGKILL)
        assert killed.finish().returncode == -SIGKILL
    record.wait_for_silence(0)
    assert [fleet.steps(node) for node in ("1", "2")] == [[("1", "passed"), ("2", "interrupted")]] * 2
    fleet.open("go")
    again = fleet.answer("deploy", "--all")
    assert again["ok"], again
    assert [[step["skipped"] for step in each["steps"]] for each in again["results"]] == [[True, False, False]] * 2
    assert fleet.ran() == [["1", "2", "2", "3"]] * 2
    assert fleet.steps("1") == [("1", "passed"), ("2", "interrupted"), ("2", "passed"), ("3", "passed")]
