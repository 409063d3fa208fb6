"""What the verbs ask of the database and of the cloud: statements, transactions and calls, in all and a node.

Launch, deploy, deploy again with nothing left to do, exec and teardown of 1, 10 and 100 nodes, on SQLite and on
PostgreSQL, against a sandbox in a process of its own: EC2 and two scripts a node over SSH. Each transaction costs
PostgreSQL two round trips more than its statements: BEGIN and COMMIT where it writes, BEGIN and ROLLBACK where it only
reads. A statement with many sets of parameters counts as one. How many notes of steps go together, and how often the
cloud is asked, depends on how fast the machine is: figures are medians.

    python -m benchmarks.counts --nodes 1 10 100 --laps 3
    python -m benchmarks.counts --json > before.json; …; python -m benchmarks.counts --before before.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event

from benchmarks.environments import isolate_benchmark
from benchmarks.postgres import postgres
from ogc_async import actions, db
from ogc_async.sandbox.process import read_state, sandbox_process
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App

SIZES = (1, 10, 100)
SCRIPTS = ("1-greet.sh", "2-page.sh")
COLUMNS = ("statements", "writing transactions", "reading transactions", "cloud calls")
KIND = re.compile(r"^\s*(?:WITH .*?\) )?(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b", re.DOTALL)
TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\(?(\w+)")

Row = dict[str, Any]


@dataclass(slots=True)
class Tally:
    """What was asked while one verb ran."""

    statements: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def totals(self) -> dict[str, int]:
        """By column."""
        figures = (self.statements.total(), self.ends["commit"], self.ends["rollback"], self.calls.total())
        return dict(zip(COLUMNS, figures, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and print; fail where a node did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, help="how many, a fleet each (1 10 100)")
    parser.add_argument("--laps", type=int, default=3, help="laps that the medians are of (3)")
    parser.add_argument("--kinds", action="store_true", help="also print which statements and calls they were")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    parser.add_argument("--before", type=Path, metavar="FILE", help="an earlier --json, to print before and after")
    options = parser.parse_args(arguments)
    isolate_benchmark()
    with sandbox_process("--boot", "1:1") as environment:
        rows = [
            row
            for name, opened in {"SQLite": _sqlite, "PostgreSQL": postgres}.items()
            for row in count_on(name, opened, environment, options.nodes, options.laps)
        ]
    if options.json:
        print(json.dumps(rows))
    else:
        before = json.loads(options.before.read_text()) if options.before else None
        print("\n".join(table(rows, before)))
        if options.kinds:
            print("\n".join(kinds(rows)))
    return 0


def count_on(
    name: str, opened: Callable[[], Any], environment: dict[str, str], sizes: Sequence[int], laps: int
) -> list[Row]:
    """One database's rows: a verb and a size each."""
    with opened() as variables, TemporaryDirectory(prefix="ogc-counts-") as folder:
        values = {key.lower(): value for key, value in (environment | variables).items()}
        if "PGHOST" in variables:
            values["postgres_host"] = variables["PGHOST"]
        seen = asyncio.run(_count(Settings(_env_file=None, **values), environment, Path(folder), sizes, laps))
    return [
        {"database": name, "verb": verb, "nodes": size, **_medians(tallies)} for (verb, size), tallies in seen.items()
    ]


def table(rows: Sequence[Row], before: Sequence[Row] | None = None) -> Iterator[str]:
    """Markdown: each figure in all and, behind the stroke, a node; with those from before in front of an arrow."""
    earlier = {_key(row): row for row in before or ()}
    yield "| database | verb | nodes | " + " | ".join(COLUMNS) + " |"
    yield "| --- | --- | ---: |" + " ---: |" * len(COLUMNS)
    for row in rows:
        old = earlier.get(_key(row))
        cells = [_cell(row, name) if old is None else f"{_cell(old, name)} → {_cell(row, name)}" for name in COLUMNS]
        yield f"| {row['database']} | {row['verb']} | {row['nodes']} | " + " | ".join(cells) + " |"


def kinds(rows: Sequence[Row]) -> Iterator[str]:
    """What the statements and calls of each row's last lap were."""
    for row in rows:
        yield f"{row['database']}, {row['verb']}, {row['nodes']} nodes:"
        for name, count in row["kinds"].items():
            yield f"{count:>8}  {name}"


async def _count(
    settings: Settings, environment: dict[str, str], folder: Path, sizes: Sequence[int], laps: int
) -> dict[tuple[str, int], list[Tally]]:
    generate_key_pair(folder / "key")
    (folder / "scripts").mkdir()
    for name in SCRIPTS:
        (folder / "scripts" / name).write_text("#!/bin/sh\necho hello\n")
    seen: dict[tuple[str, int], list[Tally]] = {}
    async with App(engine=db.connect(settings=settings), settings=settings) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)
        for size in sizes:
            for _ in range(laps):
                async for verb, tally in _live(app, environment, folder, size):
                    seen.setdefault((verb, size), []).append(tally)
    return seen


async def _live(app: App, environment: dict[str, str], folder: Path, size: int) -> AsyncIterator[tuple[str, Tally]]:
    """A fleet's life, a tally a verb."""
    made: list[int] = []

    async def launch() -> bool:
        launched = await actions.launch_async([_layout(folder, size)], app=app)
        made.extend(launched)
        return len(made) == size

    async def deploy() -> bool:
        return all(await actions.deploy_async(made, app=app))

    async def execute() -> bool:
        return all(await actions.exec_async(made, "true", app=app))

    async def tear_down() -> bool:
        return len(await actions.teardown_async(made, app=app)) == size

    for verb, work in (
        ("launch", launch),
        ("deploy", deploy),
        ("deploy again", deploy),
        ("exec", execute),
        ("teardown", tear_down),
    ):
        yield verb, await _counted(app, environment, work)


async def _counted(app: App, environment: dict[str, str], work: Callable[[], Awaitable[bool]]) -> Tally:
    assert app.engine is not None
    before = await _calls(environment)
    with _listening(app.engine.connection_engine().sync_engine) as tally:
        if not await work():
            raise SystemExit("a node failed: nothing was counted")
    tally.calls = await _calls(environment) - before
    return tally


async def _calls(environment: dict[str, str]) -> Counter[str]:
    state = await asyncio.to_thread(read_state, environment["AWS_ENDPOINT_URL"])
    return Counter({name: each["calls"] for name, each in state["calls"]["aws"].items()})


@contextmanager
def _listening(engine: Any) -> Iterator[Tally]:
    tally = Tally()

    def stated(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        tally.statements[_kind(statement)] += 1

    def committed(_connection: Any) -> None:
        tally.ends["commit"] += 1

    def rolled_back(_connection: Any) -> None:
        tally.ends["rollback"] += 1

    listeners = {"before_cursor_execute": stated, "commit": committed, "rollback": rolled_back}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    try:
        yield tally
    finally:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)


def _kind(statement: str) -> str:
    kind, tables = KIND.search(statement), TABLE.findall(statement)
    return f"{kind[1] if kind else statement.split()[0]} {tables[0] if tables else ''}".strip()


def _medians(tallies: Sequence[Tally]) -> Row:
    totals = [tally.totals() for tally in tallies]
    last = tallies[-1]
    return {name: median(each[name] for each in totals) for name in COLUMNS} | {
        "kinds": dict((last.statements + last.calls).most_common())
    }


def _key(row: Row) -> tuple[str, str, int]:
    return row["database"], row["verb"], row["nodes"]


def _cell(row: Row, name: str) -> str:
    return f"{row[name]:g} / {row[name] / row['nodes']:.3g}"


def _layout(folder: Path, scale: int) -> Layout:
    return Layout.from_dict(
        {
            "name": f"counts-{scale}",
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": str(folder / "key")},
            "scripts": str(folder / "scripts"),
            "scale": scale,
        }
    )


@contextmanager
def _sqlite() -> Iterator[dict[str, str]]:
    with TemporaryDirectory(prefix="ogc-bench-") as folder:
        yield {"OGC_DATA_DIR": folder}


if __name__ == "__main__":
    sys.exit(main())
