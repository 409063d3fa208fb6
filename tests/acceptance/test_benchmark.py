"""The benchmark runs, on a few nodes, and prints what it says it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

from tests.cloud import bare_environment

ROOT = Path(__file__).parents[2]


def test_a_small_fleet_in_each_cloud_is_measured(tmp_path: Path) -> None:
    words = ("--nodes", "12", "--boot", "0.1:0.3", "--latency", "0.1", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.launch_and_deploy", *words],
        cwd=ROOT,
        env=bare_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) == {"aws", "google"}
    for each in figures.values():
        assert each["nodes up"] == each["nodes deployed"] == each["nodes torn down"] == 12
        assert each["peak memory, MB"] > 10
        assert each["launch, seconds"] >= each["slowest boot, seconds"]
    assert figures["aws"]["calls of RunInstances"] == figures["google"]["calls of instances.bulkInsert"] == 1


def test_a_deploy_over_openssh_is_measured_and_stays_within_its_bounds(tmp_path: Path) -> None:
    # The OpenSSH server that was fetched once serves all runs.
    environment = bare_environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(user_cache_path("ogc-async").parent))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.deploy_scale", "--nodes", "24", "--servers", "6", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["nodes deployed"] == figures["again, nothing left to do: steps skipped"] == 24
    assert figures["database connections at most"] <= 20
    assert figures["open files at most"] < 1024
    assert 10 < figures["peak memory, MB"] < 300
