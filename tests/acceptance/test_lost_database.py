"""A budget that holds with the laptop closed: the controller is killed, its database deleted, and every machine ends.

``make test`` sabotages the machines of one small fleet, each in its own way; ``make ends`` takes 200 nodes for each
sabotage. Times are the sandbox's own, which run ahead of this computer's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import Cloud, running_sandbox
from tests.programs import run
from tests.timing import patiently

IS_FULL = os.environ.get("OGC_CRASH") == "full"
NODES = 200 if IS_FULL else 16
SCALE = 10 if IS_FULL else 20
"""How much faster the sandbox's clock is: a tick of 200 machines' timers takes this computer seconds."""
TTL_S = 1200.0 if IS_FULL else 600.0
SOON_S, LATE_S = 90.0, 180.0
"""How long after its time a machine may be there still: with a power-off that works, and with sabotage."""
PLANNED = ("clock-1970=*", "no-state=*", "broken-shutdown=*", "cancel-shutdown=*")
"""Sabotage of machines to come."""
STRUCK = ("reboot={}", "reboot-later={}", "clock={}:-3600", "broken-shutdown={}", "cancel-shutdown={}", "clock={}:60")
"""Sabotage of one machine that runs."""
SPEC = f"""\
name: budget
ssh-keys: {{private: keys/ogc_ed25519}}
layouts:
  mine: {{provider: aws, runs-on: ubuntu-2404, instance-size: t3.small, scale: {NODES // 2}, ttl: {TTL_S:.0f}s}}
  other: {{provider: google, runs-on: debian-12, instance-size: e2-small, scale: {NODES // 2}, ttl: {TTL_S:.0f}s}}
"""

Machine = dict[str, Any]


@pytest.fixture
def fast_cloud(tmp_path: Path) -> Iterator[Cloud]:
    home = tmp_path / "home"
    home.mkdir()
    with running_sandbox("--time-scale", str(SCALE), "--boot", "2:8", "--no-limits") as cloud:
        yield Cloud(cloud.environment | {"HOME": str(home)}, cloud.endpoint)


def ogc(folder: Path, environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "ogc_async", *words], env=environment, cwd=folder)


def machines_of(cloud: Cloud) -> list[Machine]:
    found = cloud.state()["instances"]
    return [*found["aws"], *found["google"]]


def launched_and_killed(cloud: Cloud, folder: Path, environment: Mapping[str, str]) -> list[Machine]:
    """Every machine is there; the process that asked for them was killed, and its database is gone."""
    data = Path(environment["OGC_DATA_DIR"])
    assert ogc(folder, environment, "init", "--name", "Ada").returncode == 0
    (folder / "ogc.yml").write_text(SPEC)
    words = [sys.executable, "-m", "ogc_async", "launch", "--no-deploy"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=environment, cwd=folder, **pipes) as launch:  # type: ignore[call-overload]  # pipes
        for _ in patiently(f"{NODES} machines", pause_s=0.1):
            machines = machines_of(cloud)
            if len(machines) == NODES or launch.poll() is not None:
                break
        launch.send_signal(signal.SIGKILL)
    shutil.rmtree(data)
    assert len(machines) == NODES
    return machines


def strike(cloud: Cloud, sabotage: str) -> dict[str, float]:
    """Sabotage EC2's machines once they run; how late each may end, by its id."""
    for _ in patiently("every machine to run", pause_s=0.1):
        machines = machines_of(cloud)
        if all(each["running_at"] is not None for each in machines):
            break
    own = sorted(each["id"] for each in machines if each["id"].startswith("i-"))
    late = {each["id"]: SOON_S for each in machines}
    if sabotage == "each its own":
        for instance_id, kind in zip(own, cycle(("", *STRUCK)), strict=False):
            if kind:
                cloud.plan(kind.format(instance_id))
                late[instance_id] = LATE_S
    elif sabotage:
        late |= dict.fromkeys(own, LATE_S)
        if sabotage in STRUCK:
            cloud.plan(*(sabotage.format(each) for each in own))
    return late


KINDS = ("", *PLANNED, *STRUCK) if IS_FULL else ("each its own",)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sabotage", KINDS)
def test_every_machine_ends_in_time_and_is_listed_by_a_database_that_knows_none(
    sabotage: str, fast_cloud: Cloud, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    environment = fast_cloud.environment | {"OGC_DATA_DIR": str(tmp_path / "data"), "OGC_POLL_S": "0.2"}
    if sabotage in PLANNED:
        fast_cloud.plan(sabotage)
    launched = {each["id"] for each in launched_and_killed(fast_cloud, folder, environment)}
    late = strike(fast_cloud, sabotage)

    assert ogc(folder, environment, "init", "--name", "Ada").returncode == 0
    listed = ogc(folder, environment, "reap", "--dry-run", "--json")
    assert listed.returncode == 0, listed.stderr
    finds = json.loads(listed.stdout)["finds"]
    assert {each["id"] for each in finds} == launched
    assert Counter(each["kind"] for each in finds) == {"stray": NODES}

    for _ in patiently("every machine to be gone", pause_s=0.5, seconds=2 * TTL_S):
        machines = machines_of(fast_cloud)
        if all(each["ended_at"] is not None for each in machines):
            break
    lives = {each["id"]: each["ended_at"] - each["running_at"] for each in machines}
    assert {key: life for key, life in lives.items() if life > TTL_S + late[key]} == {}
    clock_on = "clock={}:60" in (sabotage, *(STRUCK if sabotage == "each its own" else ()))
    assert {key: life for key, life in lives.items() if life < TTL_S - (61 if clock_on else 1)} == {}
