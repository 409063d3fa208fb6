"""Ours alone: state changes a second on PostgreSQL and on SQLite, and the connections that they hold.

Through the same functions that a launch uses: in groups, as it moves its nodes, and one row a transaction by many
tasks at once, which is the worst that a caller could do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks import machine
from benchmarks.contest import tell
from benchmarks.figures import medians
from benchmarks.postgres import postgres
from ogc_async import actions, db
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.moves import Move, move_nodes
from ogc_async.db.nodes import NodeDraft, plan_nodes
from ogc_async.settings import Settings
from ogc_async.state import App
from ogc_async.types import NodeState

WORKER = "bench"
NODES = 1000
GROUP = 100
TASKS = 50
NOT_MEASURED = [
    "a network between program and database: PostgreSQL is reached over a Unix socket",
    "PostgreSQL tuned for its machine: it runs with the settings that it ships, every commit on disk",
    "several programs on one database",
]


def measure(*, runs: int, seconds: float) -> dict[str, Any]:
    """Both databases; the result is plain JSON."""
    result: dict[str, Any] = {
        "what": "database",
        "machine": machine.facts("ogc-async", "sqlalchemy", "asyncpg", "aiosqlite"),
        "nodes": NODES,
        "group": GROUP,
        "tasks": TASKS,
        "databases": {},
        "not_measured": NOT_MEASURED,
    }
    for name, open_database in {"PostgreSQL": _postgres, "SQLite": _sqlite}.items():
        laps = []
        for _ in range(runs):
            with open_database() as settings:
                laps.append(asyncio.run(_lap(settings, seconds)))
        result["databases"][name] = medians(laps)
        tell(f"database {name}: {result['databases'][name]}")
    return result


async def _lap(settings: Settings, seconds: float) -> dict[str, float]:
    engine = db.connect(settings=settings)
    async with App(engine=engine, settings=settings) as app:
        await db.migrate_async(engine)
        user, _ = await actions.create_user_async("Bench", app=app)
        drafts = [
            NodeDraft(
                name=f"n{i}", layout="bench", provider="aws", region="here", token="t", launch_index=i, worker=WORKER
            )
            for i in range(NODES)
        ]
        begun = time.perf_counter()
        ids = [node.id for node in await plan_nodes(engine, user.id, drafts)]
        planned_s = time.perf_counter() - begun
        groups = [ids[first : first + GROUP] for first in range(0, NODES, GROUP)]
        in_groups, _ = await _rate(engine, groups, seconds, tasks=1)
        singly, connections = await _rate(engine, [[each] for each in ids], seconds, tasks=TASKS)
    return {
        "rows planned a second": NODES / planned_s,
        "state changes a second, in groups": in_groups,
        "state changes a second, a row a transaction": singly,
        "connections held at most": connections,
    }


async def _rate(engine: Engine, groups: Sequence[list[int]], seconds: float, *, tasks: int) -> tuple[float, int]:
    """Rows moved a second, to and fro, by that many tasks at once; and the connections that were seen."""
    ids = sorted(chain.from_iterable(groups))
    hold = Hold(WORKER, dict.fromkeys(ids, 1))
    await move_nodes(engine, ids, Move(to=NodeState.LAUNCHING, came_from=set(NodeState)), hold)
    moved = 0
    deadline = time.perf_counter() + seconds
    shares = [groups[first::tasks] for first in range(tasks)]

    async def work(share: Sequence[list[int]]) -> None:
        nonlocal moved
        state, other = NodeState.RUNNING, NodeState.LAUNCHING
        while True:
            for group in share:
                if time.perf_counter() > deadline:
                    return
                moved += len(await move_nodes(engine, group, Move(to=state, came_from={other}), hold))
            state, other = other, state

    seen: list[int] = []
    watch = asyncio.create_task(_watch(_counter(engine), seen))
    begun = time.perf_counter()
    await asyncio.gather(*map(work, shares))
    rate = moved / (time.perf_counter() - begun)
    watch.cancel()
    return rate, max(seen, default=0)


async def _watch(count: Callable[[], Awaitable[int]], seen: list[int]) -> None:
    while True:
        seen.append(await count())
        await asyncio.sleep(0.2)


def _counter(engine: Engine) -> Callable[[], Awaitable[int]]:
    """How many connections there are: by PostgreSQL's own list, or by this process's open files."""
    path = engine.url.database or ""

    async def by_list() -> int:
        query = engine.url.query
        host = query.get("host", engine.url.host)
        own = await asyncpg.connect(host=host, user="postgres", database=path)
        try:
            words = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
            return int(await own.fetchval(words, path))
        finally:
            await own.close()

    async def by_files() -> int:
        return _open_files(path)

    return by_files if engine.url.get_backend_name() == "sqlite" else by_list


def _open_files(path: str) -> int:
    return sum(str(each.readlink()) == path for each in Path("/proc/self/fd").iterdir() if each.is_symlink())


@contextmanager
def _postgres() -> Iterator[Settings]:
    with postgres() as variables:
        values = {name.lower(): value for name, value in variables.items()}
        yield Settings(_env_file=None, **values | {"postgres_host": variables["PGHOST"]})


@contextmanager
def _sqlite() -> Iterator[Settings]:
    with TemporaryDirectory(prefix="ogc-bench-") as folder:
        yield Settings(_env_file=None, ogc_data_dir=Path(folder))
