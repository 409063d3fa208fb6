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
