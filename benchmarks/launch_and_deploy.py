"""What launching and deploying a fleet costs in each cloud: calls, seconds beyond the slowest boot, CPU, memory.

Each cloud is measured by a process of its own, against a sandbox that keeps the cloud's published request limits in
another one; the database is the embedded one. All figures but the calls are of the measuring process alone.

    python -m benchmarks.launch_and_deploy --nodes 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ogc_async import actions, db
from ogc_async.sandbox.process import sandbox_process
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App

LAYOUTS = {
    "aws": {"runs-on": "ubuntu-2404", "instance-size": "t3.small"},
    "google": {"runs-on": "debian-12", "instance-size": "e2-small"},
}
LAUNCH_CALLS = {"aws": "RunInstances", "google": "instances.bulkInsert"}


def main() -> int:
    """Measure, print, and fail where a node did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200, help="nodes in the one layout (default: 200)")
    parser.add_argument("--boot", default="5:10", help="seconds from the launch call until a machine runs (5:10)")
    parser.add_argument("--latency", default="1.5", help="seconds of the launch call (1.5)")
    parser.add_argument("--provider", choices=LAYOUTS, action="append", help="only this cloud")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    providers = options.provider or list(LAYOUTS)
    # A process each: peak memory is a process's, and never falls.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        runs = [processes.submit(run, each, options.nodes, options.boot, options.latency) for each in providers]
        figures = {provider: each.result() for provider, each in zip(providers, runs, strict=True)}
    show(figures, as_json=options.json)
    done = ("nodes up", "nodes deployed", "nodes torn down")
    return 0 if all(each[name] == options.nodes for each in figures.values() for name in done) else 1


def run(provider: str, count: int, boot: str, latency: str) -> dict[str, Any]:
    """Measure one cloud, against a sandbox of its own."""
    delay = f"{LAUNCH_CALLS[provider]}={latency}"
    with (
        TemporaryDirectory(prefix="ogc-bench-") as folder,
        sandbox_process("--boot", boot, "--latency", delay) as environment,
    ):
        return asyncio.run(measure(provider, count, Path(folder), environment))


async def measure(provider: str, count: int, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Launch, deploy and tear down ``count`` nodes once."""
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in environment.items()})
    endpoint = environment["AWS_ENDPOINT_URL"]
    async with App(engine=db.connect(f"sqlite:///{folder / 'bench.db'}"), settings=settings) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)
        layout = _layout(provider, count, folder)
        launch = await _timed(actions.launch_async([layout], app=app))
        state = await asyncio.to_thread(read_state, endpoint)
        machines = state["instances"][provider]
        slowest = max(each["boot_seconds"] for each in machines)
        since_last = state["now"] - max(each["running_at"] for each in machines)
        deploy = await _timed(actions.deploy_async(launch["answer"], app=app))
        calls = _calls(endpoint, provider)
        teardown = await _timed(actions.teardown_async(launch["answer"], app=app))
    return {
        "nodes up": len(launch["answer"]),
        "nodes deployed": sum(map(bool, deploy["answer"])),
        "nodes torn down": len(teardown["answer"]),
        "launch, seconds": launch["seconds"],
        "slowest boot, seconds": round(slowest, 2),
        "launch beyond the slowest boot, seconds": round(launch["seconds"] - slowest, 2),
        "launch returns after the last machine runs, seconds": round(since_last, 2),
        "deploy, seconds": deploy["seconds"],
        "teardown, seconds": teardown["seconds"],
        "CPU of launch, seconds": launch["cpu"],
        "CPU of deploy, seconds": deploy["cpu"],
        "CPU of deploy a node, milliseconds": round(1000 * deploy["cpu"] / max(count, 1), 1),
        "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **{f"calls of {name}": number for name, number in calls.items()},
    }


async def _timed(call: Any) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = await call
    return {
        "answer": answer,
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu": round(time.process_time() - cpu, 2),
    }


def _layout(provider: str, count: int, folder: Path) -> Layout:
    generate_key_pair(folder / "key")
    scripts = folder / "scripts"
    scripts.mkdir()
    (scripts / "1-hello.sh").write_text('#!/bin/sh\necho "hello from $OGC_NODE_NAME"\n')
    (scripts / "2-files.sh").write_text("#!/bin/sh\nls | wc -l\n")
    return Layout.from_dict(
        {
            "name": "bench",
            "provider": provider,
            **LAYOUTS[provider],
            "ssh-keys": {"private": str(folder / "key")},
            "scripts": str(scripts),
            "scale": count,
        }
    )


def read_state(endpoint: str) -> dict[str, Any]:
    """What the sandbox holds, and what it was asked."""
    with urllib.request.urlopen(f"{endpoint}/_sandbox/state", timeout=60) as reply:
        state: dict[str, Any] = json.load(reply)
    return state


def _calls(endpoint: str, provider: str) -> dict[str, int]:
    return {name: count["calls"] for name, count in sorted(read_state(endpoint)["calls"][provider].items())}


def show(figures: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    """Print the figures, a column a cloud."""
    if as_json:
        print(json.dumps(figures))
        return
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores shared with the sandbox and its SSH servers")
    names = dict.fromkeys(name for each in figures.values() for name in each)
    print(" " * 54 + "".join(f"{provider:>9}" for provider in figures))
    for name in names:
        print(f"{name:>52}  " + "".join(f"{each.get(name, '-')!s:>9}" for each in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
