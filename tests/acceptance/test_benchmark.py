"""The benchmarks run, on a few nodes, and measure what they say; of the competitors, those that the test group has."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import database, scale
from benchmarks.contest import Contestant, ContestantFailed, at_the_gate, race
from benchmarks.deploy import race as deploy
from benchmarks.environments import NoEnvironment
from benchmarks.launch import race as launch
from tests import programs
from tests.cloud import bare_environment
from tests.timing import HANGS_AFTER_S

ROOT = Path(__file__).parents[2]
HERE = "ogc_async"
"""The environment that runs the tests."""

SMALL = launch.Plan(counts=[3], runs=1, crash_count=0, boot=(4.0, 6.0), time_scale=12.0)
LAUNCHERS = [replace(each, environment=HERE) for each in launch.CONTESTANTS if each.environment != "ogc"]
DEPLOYERS = [replace(each, environment=HERE) for each in (deploy.OURS, deploy.FLOOR)]


def test_everybody_launches_the_same_fleet_and_is_measured_alike() -> None:
    result = launch.measure(replace(SMALL, contestants=LAUNCHERS))
    fleet = result["fleets"]["3"]
    assert len(fleet) == len(LAUNCHERS) == 4
    for each in fleet.values():
        assert each["nodes reachable"] == each["machines"] == 3
        assert each["seconds until all are reachable"] > each["seconds beyond the slowest boot"] > 0
        assert each["CPU seconds"] > 0
        assert each["peak MB"] > 10
        assert each["runs"] == 1
    assert fleet[launch.OURS.name]["calls of RunInstances"] == 1
    assert fleet["boto3, a call a node, 50 threads"]["calls of RunInstances"] == 3


def test_a_kill_in_the_middle_of_ours_leaves_no_machine_behind_and_of_a_script_all_of_them() -> None:
    crash = launch.measure(replace(SMALL, counts=[], crash_count=4, contestants=LAUNCHERS))["crash"]
    ours = crash.pop(launch.OURS.name)
    assert ours == {"machines at the kill": 4, "machines left behind": 0, "own cleanup": True}
    assert len(crash) == 2
    for each in crash.values():
        # A call that was on its way when its caller was killed takes effect all the same.
        assert 2 <= each["machines at the kill"] <= each["machines left behind"]


def test_everybody_deploys_the_same_job_to_real_openssh_servers() -> None:
    result = deploy.measure(deploy.Plan(laps={3: 1}, most={}, contestants=DEPLOYERS))
    assert [each["nodes deployed"] for each in result["fleets"]["3"].values()] == [3, 3]
    for each in result["fleets"]["3"].values():
        assert each["seconds"] > 0
        assert each["CPU milliseconds a node"] > 0


def test_a_fleet_of_ours_is_measured_with_its_database_time() -> None:
    result = scale.measure(scale.Plan(counts={"aws": [1, 3], "google": [2]}, runs=1, boot=(0.2, 0.4), latency_s=0.1))
    assert result["fleets"]["aws"]["3"]["nodes up"] == 3
    assert result["fleets"]["google"]["2"]["launch calls"] == 1
    assert result["fleets"]["google"]["2"]["database seconds"] > 0
    assert result["exponents"]["aws"]["calls"] < 1
    assert result["exponents"]["google"]["calls"] is None


def test_both_databases_are_measured() -> None:
    result = database.measure(runs=1, seconds=0.2)
    for each in result["databases"].values():
        assert each["state changes a second, in groups"] > each["state changes a second, a row a transaction"] > 0
        assert each["connections held at most"] > 0


@pytest.mark.parametrize(
    ("body", "said"),
    [("raise ValueError('no wheel')", "no wheel"), ("import os, signal\n    os.kill(os.getpid(), 9)", "said nothing")],
)
def test_a_contestant_that_breaks_off_is_told_with_its_own_words(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(ContestantFailed, match=said):
        race(_contestant(tmp_path, f"def race(job, _):\n    {body}\n"), {}, timeout_s=HANGS_AFTER_S)


def test_a_contestant_whose_packages_can_not_be_had_is_told_as_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> Path:
        raise NoEnvironment("no such wheel")

    monkeypatch.setattr("benchmarks.environments.python_of", refuse)
    lost = replace(launch.OURS, name="lost")
    result = launch.measure(replace(SMALL, contestants=[lost]))
    assert result["fleets"]["3"] == {"lost": {"failed": "no such wheel"}}


def test_a_contestant_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ContestantFailed, match="no report within 0 s"):
        race(_contestant(tmp_path, "import time\ndef race(job, _):\n    time.sleep(60)\n"), {}, timeout_s=0.3)


def test_work_of_children_counts_as_the_contestants_own(tmp_path: Path) -> None:
    work = "import time\\nend = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
    # The one is waited for; the other is left to run on by a parent that ends at once.
    text = (
        "import os, subprocess, sys, time\n"
        "def race(job, _):\n"
        f'    subprocess.run([sys.executable, "-c", "{work}"])\n'
        f"    left = \"import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])\"\n"
        f"    subprocess.run([sys.executable, \"-c\", left, \"{work}\\nopen('worked', 'w')\\ntime.sleep(600)\"])\n"
        "    while not os.path.exists('worked'): time.sleep(0.01)\n"
    )
    with at_the_gate(_contestant(tmp_path, text), {}) as running:
        running.go()
        lap = running.finish(HANGS_AFTER_S)
    assert lap.cpu_s >= 0.55


def test_processes_on_one_database_are_refused_nothing_and_without_it_they_are(tmp_path: Path) -> None:
    words = ("--processes", "3", "--nodes", "20", "--batch", "4", "--boot", "0.1", "--latency", "0.1", "--json")
    done = programs.run(
        [sys.executable, "-m", "benchmarks.throttling", *words, "--apart"],
        cwd=ROOT,
        env=bare_environment(HOME=str(tmp_path)),
        timeout_s=200,
    )
    many, alone, apart = json.loads(done.stdout)
    assert [each["nodes up"] for each in (many, alone, apart)] == [60, 60, 60], done.stderr
    assert many["calls refused a node"] <= 0.05
    assert many["launch calls"] - many["calls refused"] == alone["launch calls"] == 15
    # Three times five calls at once, where five are let through: throttled, and yet in their zone.
    assert apart["calls refused"] > many["calls refused"]
    assert {each["zones used"] for each in (many, alone, apart)} == {1}


def test_a_deploy_over_openssh_is_measured_and_stays_within_its_bounds(tmp_path: Path) -> None:
    environment = bare_environment(HOME=str(tmp_path))
    words = [sys.executable, "-m", "benchmarks.deploy_scale", "--nodes", "24", "--servers", "6", "--json"]
    done = programs.run(words, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["nodes deployed"] == figures["again, nothing left to do: steps skipped"] == 24
    assert figures["database connections at most"] <= 20
    assert figures["open files at most"] < 1024
    assert 10 < figures["peak memory, MB"] < 300


def test_fan_out_is_one_table_with_a_row_a_size() -> None:
    words = [sys.executable, "-m", "benchmarks.fan_out", "--nodes", "1", "3", "--boot", "0.2:0.4", "--json"]
    done = programs.run(words, env=bare_environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["nodes"] for row in rows] == [1, 3]
    for row in rows:
        assert (row["RunInstances"], row["refused"], row["regions"]) == (1, 0, 1)
        assert row["launch s"] > row["slowest boot s"] > 0
        assert row["beat p99 ms"] >= 0
    assert rows[0]["kB/node"] == "-"


def _contestant(folder: Path, text: str) -> Contestant:
    path = folder / "contestant_file.py"
    path.write_text(text)
    return Contestant(name="a test's own", file=str(path), environment=HERE, packages=())
