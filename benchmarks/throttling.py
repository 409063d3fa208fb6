"""What several processes on one account cost each other: calls refused, and seconds beside one process's.

So many processes launch so many nodes each, all at the same moment, on one database; then one process launches them
all. Each time a sandbox of its own keeps EC2's published buckets: five launch calls and two a second, a thousand
machines and two a second. Time runs as it does: the buckets of the two sides only fit each other so. ``--apart`` goes
on to give each process a database of its own, to show what the sharing is good for.

    python -m benchmarks.throttling --processes 5 --nodes 250
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.environments import isolate_benchmark
from ogc_async import actions, db
from ogc_async.sandbox.process import read_state, sandbox_process
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App

ZONES = ["us-east-2a", "us-east-2b", "us-east-2c"]
START_TIMEOUT_S = 120.0
MOST_REFUSED_A_NODE = 0.05
NETWORK = "127.61.0.0/16"
"""Where nobody else's machines are: a thousand of them would be in the way of a thousand others."""
POLL_S = 1.0
"""A machine is seen to run that much later than it does: no difference below this one means anything."""


@dataclass(frozen=True, slots=True)
class Trial:
    """So many processes, which launch so many nodes each in calls of so many; each on a database of its own, or not."""

    processes: int
    nodes: int
    batch: int
    boot: str
    latency: str
    is_apart: bool = False


def main() -> int:
    """Measure both, print, and fail where a node did, or where the processes were in each other's way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=5, help="processes that launch at once (5)")
    parser.add_argument("--nodes", type=int, default=250, help="nodes a process (250)")
    parser.add_argument("--batch", type=int, default=100, help="machines a launch call (100)")
    parser.add_argument("--boot", default="5:5", help="seconds from the launch call until a machine runs (5:5)")
    parser.add_argument("--latency", default="1.5", help="seconds of the launch call (1.5)")
    parser.add_argument("--apart", action="store_true", help="then with a database of its own for each process")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    isolate_benchmark()
    count = options.processes * options.nodes
    many = Trial(options.processes, options.nodes, options.batch, options.boot, options.latency)
    trials = [many, replace(many, processes=1, nodes=count)]
    if options.apart:
        trials.append(replace(many, is_apart=True))
    figures = [run(trial) for trial in trials]
    show(figures, as_json=options.json)
    return 0 if is_fine(*figures[:2], count=count) else 1


def run(trial: Trial) -> dict[str, Any]:
    """Launch once, against a sandbox of its own."""
    context = get_context("spawn")
    together = context.Barrier(trial.processes)
    with (
        TemporaryDirectory(prefix="ogc-bench-") as folder,
        sandbox_process(*sandbox_options(trial)) as environment,
        ProcessPoolExecutor(trial.processes, mp_context=context, initializer=meet, initargs=(together,)) as pool,
    ):
        generate_key_pair(Path(folder) / "key")
        names = [f"party-{number}" for number in range(trial.processes)]
        databases = [f"sqlite:///{folder}/{name if trial.is_apart else 'all'}.db" for name in names]
        for url in dict.fromkeys(databases):
            asyncio.run(_prepare(url))
        jobs = [
            pool.submit(launch, trial, name, url, folder, environment)
            for name, url in zip(names, databases, strict=True)
        ]
        stories = [job.result() for job in jobs]
        return _figures(trial, stories, read_state(environment["AWS_ENDPOINT_URL"]))


def sandbox_options(trial: Trial) -> tuple[str, ...]:
    """The sandbox's."""
    return ("--boot", trial.boot, "--latency", f"RunInstances={trial.latency}", "--network", NETWORK)


def meet(barrier: Any) -> None:
    """Hand the barrier, which only comes with a process's start, to what it runs later."""
    globals()["_together"] = barrier


def launch(trial: Trial, name: str, url: str, folder: str, environment: dict[str, str]) -> dict[str, Any]:
    """One process's part: wait for the others, launch a layout of its own, say when that was."""
    values = {name.lower(): value for name, value in environment.items()}
    settings = Settings(_env_file=None, ogc_launch_batch=trial.batch, ogc_poll_s=POLL_S, **values)
    return asyncio.run(_launch(trial, name, App(engine=db.connect(url), settings=settings), folder))


async def _launch(trial: Trial, name: str, app: App, folder: str) -> dict[str, Any]:
    document = {
        "name": name,
        "provider": "aws",
        "runs-on": "ubuntu-2404",
        "instance-size": "t3.small",
        "scale": trial.nodes,
        "zones": ZONES,
    }
    layout = Layout.from_dict(document | {"ssh-keys": {"private": f"{folder}/key"}})
    async with app:
        # The cloud's client is imported before the start: five processes do that more slowly than one.
        app.providers.get("aws")
        await asyncio.to_thread(globals()["_together"].wait, START_TIMEOUT_S)
        began = time.time()
        result = await actions.launch_async([layout], app=app)
        return {
            "up": len(result),
            "failures": [str(each) for each in result.failures[:3]],
            "began": began,
            "ended": time.time(),
        }


async def _prepare(url: str) -> None:
    async with App(engine=db.connect(url)) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)


def _figures(trial: Trial, stories: list[dict[str, Any]], state: dict[str, Any]) -> dict[str, Any]:
    calls = state["calls"]["aws"]
    nodes = trial.processes * trial.nodes
    refused = sum(each["refused"] for each in calls.values())
    began = min(each["began"] for each in stories)
    return {
        "processes": f"{trial.processes} apart" if trial.is_apart else trial.processes,
        "nodes a process": trial.nodes,
        "nodes up": sum(each["up"] for each in stories),
        "seconds until the last node was up": round(max(each["ended"] for each in stories) - began, 2),
        "seconds until the first process was done": round(min(each["ended"] for each in stories) - began, 2),
        "launch calls": calls["RunInstances"]["calls"],
        "calls in all": sum(each["calls"] for each in calls.values()),
        "calls refused": refused,
        "calls refused a node": round(refused / nodes, 4),
        "zones used": len({each["zone"] for each in state["instances"]["aws"]}),
        "failures": [text for each in stories for text in each["failures"]],
    }


def is_fine(many: dict[str, Any], alone: dict[str, Any], *, count: int) -> bool:
    """Every node came up in the first zone, hardly a call was refused, and company cost no time."""
    seconds = "seconds until the last node was up"
    return (
        all(each["nodes up"] == count and each["zones used"] == 1 for each in (many, alone))
        and many["calls refused a node"] <= MOST_REFUSED_A_NODE
        and many[seconds] <= alone[seconds] + POLL_S
    )


def show(figures: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print the figures, a column a trial."""
    if as_json:
        print(json.dumps(figures))
        return
    for name in figures[0]:
        print(f"{name:>44}  " + "".join(f"{each[name]!s:>12}" for each in figures))


if __name__ == "__main__":
    sys.exit(main())
