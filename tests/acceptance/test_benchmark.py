"""The benchmark runs, on a few nodes, and prints what it says it measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests import programs
from tests.cloud import bare_environment

ROOT = Path(__file__).parents[2]


def test_a_small_fleet_in_each_cloud_is_measured(tmp_path: Path) -> None:
    words = ("--nodes", "12", "--boot", "0.1:0.3", "--latency", "0.1", "--json")
    done = programs.run(
        [sys.executable, "-m", "benchmarks.launch_and_deploy", *words],
        cwd=ROOT,
        env=bare_environment(HOME=str(tmp_path)),
        timeout_s=120,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {"aws", "google"}
    for each in figures.values():
        assert each["nodes up"] == each["nodes deployed"] == each["nodes torn down"] == 12
        assert each["peak memory, MB"] > 10
        assert each["launch, seconds"] >= each["slowest boot, seconds"]
    assert figures["aws"]["calls of RunInstances"] == figures["google"]["calls of instances.bulkInsert"] == 1


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
