"""What a deploy costs this process: seconds, CPU, memory, open files, database connections, and the loop's stalls.

Real OpenSSH servers on loopback stand for the nodes, several nodes to a server, each in a folder of its own. Every node
is given 20 files of 200 kB in all and a script of 2 kB, which runs; the record is in PostgreSQL. All figures are of the
measuring process, which is one of its own.

    python -m benchmarks.deploy_scale --nodes 1000 --servers 100
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks.environments import isolate_benchmark
from benchmarks.postgres import throwaway_server
from ogc_async import actions, db
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from tests.enlist import enlist
from tests.openssh import Host, openssh_fleet

BEAT_S = 0.005
LOOK_S = 0.1
COUNT_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def main() -> int:
    """Measure, print, and fail where a node did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--servers", type=int, default=100, help="OpenSSH servers that the nodes share")
    parser.add_argument("--files", type=int, default=1024, help="open files that the process may have")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    isolate_benchmark()
    mine, theirs = _shares()
    # What is started from here on inherits it.
    os.sched_setaffinity(0, theirs)
    with (
        openssh_fleet(options.servers, options=["MaxStartups 100"]) as fleet,
        # A process of its own: peak memory is a process's, and never falls.
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes,
    ):
        figures = processes.submit(measure, fleet.hosts, fleet.client_key, options.nodes, options.files, mine).result()
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, one to itself; {options.servers} OpenSSH servers"
        )
        for name, value in figures.items():
            print(f"{name:>48}  {value}")
    return 0 if figures["nodes deployed"] == options.nodes else 1


def _shares() -> tuple[set[int], set[int]]:
    """Processors for the measuring process, and for all that stands for other machines.

    On loopback every packet that is sent would hand the processor over to its receiver, which real nodes do not do.
    """
    first, *rest = sorted(os.sched_getaffinity(0))
    return {first}, set(rest) or {first}


def measure(hosts: Sequence[Host], key: Path, nodes: int, files: int, processors: set[int]) -> dict[str, Any]:
    """Deploy once, under the limit of open files, and again with nothing left to do."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with TemporaryDirectory(prefix="ogc-bench-") as made:
        folder = Path(made)
        server = throwaway_server(str(folder / "postgres"))
        try:
            os.sched_setaffinity(0, processors)
            return asyncio.run(_measure(Path(server.pgdata), folder, hosts, key, nodes))
        finally:
            server.cleanup()


async def _measure(socket: Path, folder: Path, hosts: Sequence[Host], key: Path, count: int) -> dict[str, Any]:
    settings = Settings(_env_file=None)
    url = f"postgresql://postgres@/postgres?host={socket}"
    async with App(engine=db.connect(url, settings=settings), settings=settings) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)
        node_ids: list[int] = []
        for place in range(math.ceil(count / len(hosts))):
            members = hosts[: count - len(node_ids)]
            node_ids += await enlist(app.engine, members, _layout(folder, key, place))
        async with _watched(socket) as watch:
            wall, cpu = time.perf_counter(), time.process_time()
            results = await actions.deploy_async(node_ids, app=app)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        again = time.perf_counter()
        skipped = await actions.deploy_async(node_ids, app=app)
        again = time.perf_counter() - again
    for result in results:
        if result.error:
            print(result.error, file=sys.stderr)
    return {
        "nodes deployed": sum(map(bool, results)),
        "seconds": round(wall, 2),
        "CPU, milliseconds a node": round(1000 * cpu / count, 2),
        "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "open files at most": watch.files,
        "database connections at most": watch.connections,
        "heartbeat late by, p50 milliseconds": watch.late(0.5),
        "heartbeat late by, p99 milliseconds": watch.late(0.99),
        "heartbeat late by, longest, milliseconds": watch.late(1),
        "loop busy between two beats, p99 milliseconds": watch.late(0.99, busy=True),
        "again, nothing left to do: seconds": round(again, 2),
        "again, nothing left to do: steps skipped": sum(step.is_skipped for each in skipped for step in each.steps),
    }


@dataclass
class Watch:
    """What was seen meanwhile."""

    files: int = 0
    connections: int = 0
    delays: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def late(self, share: float, *, busy: bool = False) -> float:
        """Milliseconds that the heartbeat was late by, or less, in that share of the beats.

        ``busy``: that this process itself was at work between two beats, whatever others did with the processors.
        """
        ranked = sorted(self.busy if busy else self.delays)
        return round(1000 * ranked[min(len(ranked) - 1, int(share * len(ranked)))], 1)

    async def beat(self) -> None:
        """Sleep a little, again and again, and note by how much it took longer."""
        while True:
            began, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT_S)
            self.delays.append(time.perf_counter() - began - BEAT_S)
            self.busy.append(time.thread_time() - worked)

    async def look(self, connection: asyncpg.Connection) -> None:
        """Count what is open."""
        while True:
            self.files = max(self.files, open_files())
            self.connections = max(self.connections, await connection.fetchval(COUNT_OTHERS))
            await asyncio.sleep(LOOK_S)


def open_files() -> int:
    """File descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@asynccontextmanager
async def _watched(socket: Path) -> AsyncIterator[Watch]:
    watch = Watch()
    connection = await asyncpg.connect(host=str(socket), user="postgres", database="postgres")
    tasks = [asyncio.create_task(watch.beat()), asyncio.create_task(watch.look(connection))]
    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()


def _layout(folder: Path, key: Path, place: int) -> Layout:
    scripts = folder / "scripts"
    if not scripts.exists():
        (scripts / "lib").mkdir(parents=True)
        words = random.Random(7)
        for number in range(20):
            text = "".join(words.choices("abcdefghij klmnopqrs tuvwxyz\n", k=10_000))
            (scripts / "lib" / f"{number}.txt").write_text(text)
        (scripts / "1-job.sh").write_text("#!/bin/sh\n" + "# filling\n" * 195 + "wc -c lib/* | tail -1\n")
    return Layout.from_dict(
        {
            "name": f"bench-{place}",
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": str(key)},
            "scripts": str(scripts),
            "remote-path": f"ogc-{place}",
        }
    )


if __name__ == "__main__":
    sys.exit(main())
