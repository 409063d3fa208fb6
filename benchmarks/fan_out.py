"""What fan-out costs: one launch of 1, 10, 100 … nodes on EC2's published limits, in one table.

The sandbox is a process of its own, with the published buckets and quotas of each region, 1.5 s for a RunInstances call
and boots of 20 to 30 s, in real time: throttling, boots and the reader's own work keep the proportions that they have.
A region's resource bucket holds 1,000 machines and gains two a second, so that no tool on earth launches 5,000 of them
there within half an hour; beyond 1,000 the nodes are spread over regions, each with its own buckets. Each size is
measured in a process of its own, since peak memory never falls; CPU and memory are of that process alone. Beside the
launch runs a heartbeat: a task that sleeps 10 ms at a time, and notes how much later than that it woke.

    python -m benchmarks.fan_out --nodes 1 10 100 500 1000 5000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
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

SIZES = (1, 10, 100, 500, 1000, 5000)
REGIONS = ("us-east-2", "us-east-1", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1")
A_REGION = 1000
"""Machines that a region's resource bucket holds."""
BEAT_S = 0.01
IDLE_S = 3.0

COLUMNS = {
    "nodes": "nodes up",
    "regions": "regions",
    "RunInstances": "RunInstances calls",
    "refused": "calls refused",
    "describes/s": "DescribeInstances calls of the launch, a second and region",
    "slowest boot s": "the slowest boot",
    "launch s": "seconds of the launch",
    "after last s": "seconds from the moment when the last machine ran until the launch returned",
    "cpu s": "CPU seconds of the launch",
    "cpu ms/node": "the same, a node",
    "peak MB": "peak memory of the process",
    "kB/node": "the same above the first row's, a node",
    "beat p99 ms": "99th percentile of the heartbeat's delay",
    "beat max ms": "its longest",
    "idle p99 ms": "99th percentile before the launch: what the machine's other work alone delays it by",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and fail where a node did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, help="how many, a row each")
    parser.add_argument("--boot", default="20:30", help="seconds from the launch call until a machine runs (20:30)")
    parser.add_argument("--latency", default="1.5", help="seconds of RunInstances (1.5)")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    options = parser.parse_args(arguments)
    isolate_benchmark()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        rows = [processes.submit(run, count, options.boot, options.latency).result() for count in options.nodes]
    compare(rows)
    if options.json:
        print(json.dumps(rows))
    else:
        show(rows)
    return 0 if [row["nodes"] for row in rows] == list(options.nodes) else 1


def run(count: int, boot: str, latency: str) -> dict[str, Any]:
    """Measure one size, against a sandbox of its own."""
    with (
        TemporaryDirectory(prefix="ogc-fan-out-") as folder,
        sandbox_process("--boot", boot, "--latency", f"RunInstances={latency}") as environment,
    ):
        return asyncio.run(measure(count, Path(folder), environment))


async def measure(count: int, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Launch ``count`` nodes once, and look at what that cost. Their machines end with the sandbox."""
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in environment.items()})
    endpoint = environment["AWS_ENDPOINT_URL"]
    async with App(engine=db.connect(f"sqlite:///{folder / 'fan_out.db'}"), settings=settings) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)
        generate_key_pair(folder / "key")
        layouts = spread(count, folder / "key")
        await _warm(app, layouts)
        idle: list[float] = []
        async with _heartbeat(idle):
            await asyncio.sleep(IDLE_S)
        before = (await asyncio.to_thread(read_state, endpoint))["calls"]["aws"]
        delays: list[float] = []
        async with _heartbeat(delays):
            wall, cpu = time.perf_counter(), time.process_time()
            launched = await actions.launch_async(layouts, app=app)
            returned, wall, cpu = time.perf_counter(), time.perf_counter() - wall, time.process_time() - cpu
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        asked = time.perf_counter()
        state = await asyncio.to_thread(read_state, endpoint)
    machines, calls = state["instances"]["aws"], state["calls"]["aws"]
    describes = calls["DescribeInstances"]["calls"] - before["DescribeInstances"]["calls"]
    # The sandbox's clock is read somewhere between the question and its answer: the later end counts against us.
    last_ran_s_ago = state["now"] - max(each["running_at"] or state["now"] for each in machines)
    return {
        "nodes": len(launched),
        "regions": len(layouts),
        "RunInstances": calls["RunInstances"]["calls"],
        "refused": sum(each["refused"] for each in calls.values()),
        "describes/s": round(describes / wall / len(layouts), 2),
        "slowest boot s": round(max(each["boot_seconds"] for each in machines), 2),
        "launch s": round(wall, 2),
        "after last s": round(last_ran_s_ago - (asked - returned), 2),
        "cpu s": round(cpu, 2),
        "cpu ms/node": round(1000 * cpu / count, 1),
        "peak MB": round(peak_kb / 1024, 1),
        "beat p99 ms": _p99_ms(delays),
        "beat max ms": round(1000 * max(delays), 1),
        "idle p99 ms": _p99_ms(idle),
    }


def spread(count: int, key: Path) -> list[Layout]:
    """A layout a region, of as many nodes as the region's buckets let through at once."""
    full, rest = divmod(count, A_REGION)
    scales = [A_REGION] * full + [rest] * (rest > 0)
    return [_layout(f"fan-{region}", region, scale, key) for region, scale in zip(REGIONS, scales, strict=False)]


def compare(rows: Sequence[dict[str, Any]]) -> None:
    """Note in each row what a node costs in memory above the first row, which stands for the process itself."""
    first = rows[0]
    for row in rows:
        more_kb, more = 1024 * (row["peak MB"] - first["peak MB"]), row["nodes"] - first["nodes"]
        row["kB/node"] = round(more_kb / more, 1) if more > 0 else "-"


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table, and what its columns mean."""
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores shared with the sandbox and its SSH servers")
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in COLUMNS}
    print("  ".join(f"{name:>{width}}" for name, width in widths.items()))
    for row in rows:
        print("  ".join(f"{row[name]!s:>{width}}" for name, width in widths.items()))
    for name, meaning in COLUMNS.items():
        print(f"{name:>14}: {meaning}")


def _layout(name: str, region: str, scale: int, key: Path) -> Layout:
    return Layout.from_dict(
        {
            "name": name,
            "provider": "aws",
            "region": region,
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": str(key)},
            "scale": scale,
        }
    )


async def _warm(app: App, layouts: Sequence[Layout]) -> None:
    """Open each region's client, and the database: what a process pays once is not a node's share."""
    for layout in layouts:
        await app.providers.get("aws", layout.region).list_owned("nobody")
    await actions.nodes_async(app=app)


@asynccontextmanager
async def _heartbeat(delays: list[float]) -> AsyncIterator[None]:
    """Note in ``delays``, for the time of the block, how late a task wakes that sleeps for 10 ms at a time."""

    async def beat() -> None:
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            delays.append(time.perf_counter() - due)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _p99_ms(delays: list[float]) -> float:
    return round(1000 * sorted(delays)[int(len(delays) * 0.99)], 1)


if __name__ == "__main__":
    sys.exit(main())
