"""The deploy race: 20 files of 200 kB in all and a 2 kB script to every server, run, its output collected.

The servers are Debian's OpenSSH, a process and an address each, on this very machine: wall clock includes their CPU,
which is the same for everybody. Each contestant finds empty homes, and its outputs are compared with what every server
has to answer.
"""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine
from benchmarks.contest import Contestant, ContestantFailed, race, tell
from benchmarks.figures import medians
from tests.openssh import Fleet, openssh_fleet

OURS = Contestant(name="ogc_async", file="deploy/ours.py", environment="ogc_async", packages=("ogc-async", "asyncssh"))
FLOOR = Contestant(
    name="floor: bare asyncssh", file="deploy/asyncssh_bare.py", environment="asyncssh", packages=("asyncssh",)
)
CONTESTANTS = (
    OURS,
    Contestant(
        name="parallel-ssh, one archive",
        file="deploy/parallel_ssh.py",
        environment="parallel-ssh",
        packages=("parallel-ssh",),
        remark="no host key verified",
    ),
    Contestant(
        name="ssh under xargs -P",
        file="deploy/openssh_xargs.py",
        environment="asyncssh",
        packages=(),
    ),
    Contestant(
        name="ssh under xargs -P, curve25519",
        file="deploy/openssh_xargs.py",
        environment="asyncssh",
        packages=(),
        options={"ssh_options": ["KexAlgorithms=curve25519-sha256"]},
    ),
    Contestant(
        name="Fabric, one archive",
        file="deploy/fabric_threads.py",
        environment="fabric",
        packages=("fabric", "paramiko"),
        remark="no host key verified",
    ),
    Contestant(
        name="pyinfra, one archive",
        file="deploy/pyinfra_api.py",
        environment="pyinfra",
        packages=("pyinfra", "paramiko"),
        options={"way": "archive"},
    ),
    Contestant(
        name="pyinfra, files.sync",
        file="deploy/pyinfra_api.py",
        environment="pyinfra",
        packages=("pyinfra", "paramiko"),
        options={"way": "sync"},
    ),
    Contestant(
        name="ansible-core, pipelining",
        file="deploy/ansible_playbook.py",
        environment="ansible",
        packages=("ansible-core",),
    ),
    FLOOR,
)
FILES = 20
FILE_BYTES = 10_000
SCRIPT_BYTES = 2_000
SCRIPT = """\
#!/bin/sh
cd "$(dirname "$0")" || exit 1
set -- data/*
echo "$# files, $(cat data/* | wc -c) bytes"
"""
ANSWER = f"{FILES} files, {FILES * FILE_BYTES} bytes"
NOT_MEASURED = [
    "a network: on loopback a round trip is free, which favours whoever makes many of them",
    (
        "nodes with a processor of their own: servers and contestant share this machine's, so that with many nodes the "
        "servers set the wall clock"
    ),
    (
        "the start of the Python interpreter and the imports, for anybody; `ssh` and ansible-core start processes "
        "within the race, as they do in use"
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is raced. ``laps`` is how many, by the fleet's size; ``most`` the largest fleet of a contestant, by name."""

    laps: Mapping[int, int]
    most: Mapping[str, int]
    contestants: Sequence[Contestant] = CONTESTANTS
    lap_s: float = 1800.0
    long_lap_s: float = 60.0
    """A contestant whose lap took longer than that runs once."""


def measure(plan: Plan) -> dict[str, Any]:
    """Race them all; the result is plain JSON."""
    result: dict[str, Any] = {
        "what": "deploy",
        "machine": machine.facts("ogc-async", "asyncssh"),
        "job": {"files": FILES, "bytes": FILES * FILE_BYTES, "script_bytes": SCRIPT_BYTES},
        "versions": {"ssh": {"ssh": machine.ssh_version()}},
        "remarks": {each.name: each.remark for each in plan.contestants if each.remark},
        "fleets": {},
        "not_measured": [],
    }
    for count in plan.laps:
        with openssh_fleet(count) as fleet, TemporaryDirectory(prefix="ogc-job-") as folder:
            job = _job(fleet, Path(folder))
            _race_all(count, fleet, job, plan, result)
    result["not_measured"] += NOT_MEASURED
    return result


def _race_all(count: int, fleet: Fleet, job: dict[str, Any], plan: Plan, result: dict[str, Any]) -> None:
    """Lap by lap, all of them in turn: a machine that grows faster or slower does so for everybody."""
    entrants = [each for each in plan.contestants if count <= plan.most.get(each.name, count)]
    absent = [each.name for each in plan.contestants if each not in entrants]
    result["not_measured"] += [f"{name} with {count} nodes: takes too long" for name in absent]
    laps: dict[str, list[dict[str, float]]] = {each.name: [] for each in entrants}
    failed: dict[str, str] = {}
    for _ in range(plan.laps[count]):
        for each in entrants:
            own = laps[each.name]
            if each.name in failed or (own and own[-1]["seconds"] > plan.long_lap_s):
                continue
            try:
                own.append(lap(each, fleet, job, result["versions"], timeout_s=plan.lap_s))
            except ContestantFailed as error:
                failed[each.name] = str(error).strip().splitlines()[-1][:200]
            tell(f"deploy {count:>4}  {each.name}: {failed.get(each.name) or own[-1]}")
    result["fleets"][str(count)] = {
        name: {"failed": failed[name]} if name in failed else medians(own) for name, own in laps.items()
    }


def lap(
    contestant: Contestant, fleet: Fleet, job: dict[str, Any], versions: dict[str, Any], *, timeout_s: float
) -> dict[str, float]:
    """One lap on empty homes."""
    for host in fleet.hosts:
        for each in host.home.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    gc.collect()
    done = race(contestant, job, timeout_s=timeout_s)
    versions.setdefault(contestant.name, done.versions)
    count = len(fleet.hosts)
    return {
        "nodes deployed": sum(output.strip() == ANSWER for output in done.answer.values()),
        "seconds": done.seconds,
        "CPU seconds": done.cpu_s,
        "CPU milliseconds a node": 1000 * done.cpu_s / count,
        "peak MB": done.peak_mb,
    }


def _job(fleet: Fleet, folder: Path) -> dict[str, Any]:
    """The folder to push, and where the servers are."""
    pushed = folder / "push"
    (pushed / "data").mkdir(parents=True)
    (pushed / "run.sh").write_text(SCRIPT + "#" * (SCRIPT_BYTES - len(SCRIPT) - 1) + "\n")
    numbers = random.Random(0)
    for number in range(FILES):
        # Letters and digits: like text, they shrink a little.
        text = "".join(numbers.choices("abcdefghijklmnopqrstuvwxyz0123456789\n", k=FILE_BYTES))
        (pushed / f"data/{number:02}.txt").write_text(text)
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(fleet.known_hosts())
    return {
        "hosts": [{"address": host.address, "port": host.port, "host_key": host.host_key} for host in fleet.hosts],
        "username": fleet.hosts[0].username,
        "key": str(fleet.client_key),
        "known_hosts": str(known_hosts),
        "folder_to_push": str(pushed),
    }
