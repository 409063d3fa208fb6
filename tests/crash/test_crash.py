"""No machine is ever lost: the program is killed at any instant, and one ``sync`` mends what that left.

``make crash`` kills it at every boundary (see ``driver.py``) and at 1,000 random instants; ``make test`` at a sample.
``OGC_CRASH=full`` takes every boundary, ``OGC_CRASH_RANDOM=N`` adds random instants, drawn from ``OGC_CRASH_SEED``.
``OGC_CRASH_AT`` repeats one run: a boundary's number or name, or a random instant's number, as failures are listed.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import URL

from ogc_async import actions, db
from ogc_async.db import Engine
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user
from ogc_async.providers.aws.tags import resource_name as aws_name
from ogc_async.providers.google.tags import resource_name as google_name
from ogc_async.settings import Settings
from ogc_async.spec import Spec, SpecLoader
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App
from ogc_async.types import LIVE, NodeSnapshot, NodeState, UserSnapshot
from tests import programs
from tests.cloud import Cloud, bare_environment, running_sandbox
from tests.crash.driver import DONE, ERROR, Job
from tests.postgres import TEMPLATE, Postgres

SCENARIOS = ("verbs", "sync")
SAMPLE = 12
"""Boundaries of each scenario in a run that is not full."""
POSTGRES_EVERY = 10
"""Every tenth boundary is on PostgreSQL."""
AT_ONCE = 6
A_SANDBOX = 120
"""Runs a sandbox: its lists of what there ever was get long."""
CHILD_TIMEOUT_S = 120
MEND_TIMEOUT_S = 120
SETTINGS = {
    "ogc_lease_s": 0.5,
    "ogc_settle_s": 0.5,
    "ogc_poll_s": 0.05,
    "ogc_api_retry_s": 20,
    "ogc_ssh_timeout_s": 30,
    "ogc_database_timeout_s": 60,
}
GONE = ("terminated", "shutting-down", "TERMINATED", "STOPPING", "STOPPED")

SPEC = """\
name: crash
ssh-keys:
  private: id_ed25519
layouts:
  web:
    provider: aws
    runs-on: ubuntu-2404
    instance-size: t3.small
    scripts: scripts
    scale: 2
  worker:
    provider: google
    runs-on: debian-12
    instance-size: e2-small
    scripts: scripts
    scale: 2
"""


@dataclass(frozen=True)
class Kill:
    """One death: at a boundary, by name, or so many seconds after the start."""

    label: str
    scenario: str
    boundary: str = ""
    after_s: float | None = None
    on_postgres: bool = False

    def __str__(self) -> str:
        where = self.boundary or (f"after {self.after_s:.3f} s" if self.after_s is not None else "nowhere")
        return f"{self.label} ({where}{', PostgreSQL' if self.on_postgres else ''})"


@dataclass
class Story:
    """What a child told before it died."""

    boundaries: list[str] = field(default_factory=list)
    is_done: bool = False
    error: str = ""
    lasted_s: float = 0.0


@dataclass(frozen=True)
class Ground:
    """Where runs take place: the spec, a driver, and databases nobody has used yet."""

    spec: Path
    socket: Path
    folder: Path
    postgres: Postgres
    numbers: Iterator[int] = field(default_factory=count)

    def new_database(self, *, on_postgres: bool) -> URL:
        """A migrated, empty database. Not inside a running loop."""
        number = next(self.numbers)
        if on_postgres:
            self.postgres.run(f"CREATE DATABASE crash_{number} TEMPLATE {TEMPLATE}")
            return self.postgres.url(f"crash_{number}")
        path = self.folder / f"{number}.db"
        shutil.copy(self.folder / "template.db", path)
        return URL.create("sqlite+aiosqlite", database=str(path))

    def drop(self, url: URL) -> None:
        if url.get_backend_name() == "sqlite":
            for path in self.folder.glob(f"{Path(str(url.database)).name}*"):
                path.unlink()
        else:
            self.postgres.run(f"DROP DATABASE {url.database} WITH (FORCE)")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("crash")
    generate_key_pair(folder / "id_ed25519")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "1-hello.sh").write_text("#!/bin/sh\necho hello\n")
    (folder / "ogc.yml").write_text(SPEC)
    template = URL.create("sqlite+aiosqlite", database=str(folder / "template.db"))
    db.migrate(db.connect(template, settings=Settings(_env_file=None)))
    # A socket's path is short, or refused.
    with TemporaryDirectory() as short, running_driver(Path(short) / "driver"):
        yield Ground(folder / "ogc.yml", Path(short) / "driver", folder, postgres)


@contextmanager
def running_driver(path: Path) -> Iterator[None]:
    words = [sys.executable, "-m", "tests.crash.driver", str(path)]
    with programs.started(words, env=bare_environment(), stdin=subprocess.PIPE, errors=None) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the driver did not start"
        yield


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_sync_mends_whatever_a_kill_left(ground: Ground, scenario: str) -> None:
    whole, lasted_s = count_boundaries(ground, scenario)
    seed = int(os.environ.get("OGC_CRASH_SEED") or random.SystemRandom().randrange(10**6))
    kills = chosen(scenario, whole, lasted_s, random.Random(f"{seed} {scenario}"))
    print(f"\n{scenario}: {len(whole)} boundaries, {len(kills)} kills, OGC_CRASH_SEED={seed}")
    started = time.monotonic()
    wrong: dict[Kill, list[str]] = {}
    unkilled = 0
    for first in range(0, len(kills), A_SANDBOX):
        for kill, (story, problems) in perform(ground, kills[first : first + A_SANDBOX]).items():
            unkilled += story.is_done
            if problems:
                wrong[kill] = [*problems, f"the last it came to: {story.boundaries[-1:]}"]
    took_s = time.monotonic() - started
    print(f"{scenario}: {took_s:.0f} s, {unkilled} kills came too late, {len(wrong)} were not mended")
    listed = "\n".join(f"{kill}:\n    " + "\n    ".join(problems) for kill, problems in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(kills)} kills were not mended, OGC_CRASH_SEED={seed}:\n{listed}"


def count_boundaries(ground: Ground, scenario: str) -> tuple[list[str], float]:
    """All boundaries of a life that nobody cuts short, and how long it took."""
    kill = Kill("whole", scenario)
    story, problems = perform(ground, [kill])[kill]
    assert story.is_done, story.error
    assert not problems, problems
    return story.boundaries, story.lasted_s


def chosen(scenario: str, boundaries: Sequence[str], lasted_s: float, draw: random.Random) -> list[Kill]:
    """The kills of this run, as the environment asks for them."""
    is_full = os.environ.get("OGC_CRASH") == "full"
    at = os.environ.get("OGC_CRASH_AT")
    kills = [
        Kill(f"{scenario} {number}", scenario, boundary=name, on_postgres=number % POSTGRES_EVERY == 0)
        for number, name in enumerate(boundaries)
    ]
    every = 1 if is_full or at else max(len(kills) // SAMPLE, 1)
    # Boundaries come in pairs: an even step would only ever take the one half.
    sample = kills[:: every + (every % 2 == 0)]
    instants = int(os.environ.get("OGC_CRASH_RANDOM") or 0) // len(SCENARIOS)
    # Several at once take longer than the one that was alone; whole seconds make a seed mean the same another time.
    span_s = math.ceil(lasted_s * 1.5)
    sample += [
        Kill(
            f"{scenario} r{number}",
            scenario,
            after_s=draw.uniform(0, span_s),
            on_postgres=number % POSTGRES_EVERY == 0,
        )
        for number in range(instants)
    ]
    if at:
        sample = [kill for kill in sample if at in (kill.label, kill.boundary)]
    return sample


def perform(ground: Ground, kills: Sequence[Kill]) -> dict[Kill, tuple[Story, list[str]]]:
    """Each death and what one ``sync`` made of it, several side by side, in one sandbox."""
    with ExitStack() as stack:
        cloud = stack.enter_context(running_sandbox("--boot", "0.05:0.1", "--no-limits"))
        urls = {kill: ground.new_database(on_postgres=kill.on_postgres) for kill in kills}
        for url in urls.values():
            stack.callback(ground.drop, url)
        return asyncio.run(_perform(ground, cloud, urls))


async def _perform(ground: Ground, cloud: Cloud, urls: dict[Kill, URL]) -> dict[Kill, tuple[Story, list[str]]]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(kill: Kill, url: URL) -> tuple[Story, list[str]]:
        async with gate:
            return await die_and_mend(ground, cloud, kill, url)

    stories = await asyncio.gather(*(one(kill, url) for kill, url in urls.items()))
    return dict(zip(urls, stories, strict=True))


async def die_and_mend(ground: Ground, cloud: Cloud, kill: Kill, url: URL) -> tuple[Story, list[str]]:
    values = {name.lower(): value for name, value in cloud.environment.items() if name.lower() in Settings.model_fields}
    job = Job(
        scenario=kill.scenario,
        spec=str(ground.spec),
        database=url.render_as_string(hide_password=False),
        settings=values | SETTINGS,
        kill_at=kill.boundary,
    )
    async with job.open() as app:
        assert app.engine is not None
        user, _ = await create_user(app.engine, "Adam")
        story = await die(ground, job, kill.after_s)
        if story.error:
            return story, [story.error]
        try:
            async with asyncio.timeout(MEND_TIMEOUT_S):
                return story, await mend(app, cloud, user, SpecLoader.load(ground.spec))
        except Exception as error:
            return story, [f"{type(error).__name__}: {error}"]


async def die(ground: Ground, job: Job, after_s: float | None) -> Story:
    """Let a child live until it is killed, or done; it is dead when this returns."""
    reader, writer = await asyncio.open_unix_connection(str(ground.socket))
    story = Story()
    try:
        writer.write(job.as_line())
        pid = int(await reader.readline())
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(after_s if after_s is not None else CHILD_TIMEOUT_S, _kill, pid)
        async for line in reader:
            text = line.decode().strip()
            if text == DONE:
                story.is_done = True
                timer.cancel()
            elif text.startswith(ERROR):
                story.error = text
                timer.cancel()
            else:
                story.boundaries.append(text)
        timer.cancel()
        story.lasted_s = time.monotonic() - started
        if story.lasted_s >= CHILD_TIMEOUT_S:
            story.error = f"still there after {CHILD_TIMEOUT_S} s"
    finally:
        writer.close()
    return story


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def mend(app: App, cloud: Cloud, user: UserSnapshot, spec: Spec) -> list[str]:
    """One ``sync``, then one teardown: everything that is not as it should be after each."""
    assert app.engine is not None
    synced = await actions.sync_async(spec, app=app)
    problems = [] if synced.ok else [f"sync says {synced}"]
    problems += await disagreements(app.engine, cloud, user, spec)
    if problems:
        problems.append(f"the plan was: {[str(change) for change in synced.plan.changes]}, busy {synced.plan.busy}")
    rows = await find_nodes(app.engine, states=LIVE)
    gone = await actions.teardown_async([node.id for node in rows], app=app)
    if gone.failures or gone.leftovers:
        problems.append(f"teardown says {gone.failures} {gone.leftovers}")
    return problems + await leftovers(app.engine, cloud, user, spec)


async def disagreements(engine: Engine, cloud: Cloud, user: UserSnapshot, spec: Spec) -> list[str]:
    rows = await find_nodes(engine, states=LIVE)
    running = [node for node in rows if node.state is NodeState.RUNNING]
    problems = [f"{node.name} is left {node.state}" for node in rows if node not in running]
    stood_for = Counter(node.instance_id for node in running)
    machines = living(await asyncio.to_thread(cloud.state), user)
    problems += [f"orphan: no running row stands for {each}" for each in machines if each not in stood_for]
    problems += [f"{each} is {times} rows' machine" for each, times in stood_for.items() if times > 1]
    problems += [f"no machine: {node.name} has {node.instance_id}" for node in running if _lacks(node, machines)]
    counts = Counter(node.layout for node in running)
    problems += [
        f"{layout.name}: {counts[layout.name]} run, {layout.scale} wanted"
        for layout in spec.layouts
        if counts[layout.name] != layout.scale
    ]
    return problems


def _lacks(node: NodeSnapshot, machines: Sequence[str]) -> bool:
    return node.instance_id not in machines


async def leftovers(engine: Engine, cloud: Cloud, user: UserSnapshot, spec: Spec) -> list[str]:
    """What of this user's is still there, when nothing should be."""
    state = await asyncio.to_thread(cloud.state)
    problems = [f"left over: {node.name}, {node.state}" for node in await find_nodes(engine, states=LIVE)]
    problems += [f"left over: machine {each}" for each in living(state, user)]
    names = [name(user.slug, user.scope, layout.name) for layout in spec.layouts for name in (aws_name, google_name)]
    made = [*state["key_pairs"], *state["firewalls"]]
    return problems + [f"left over: {each}" for each in made if each.startswith(tuple(names))]


def living(state: dict[str, Any], user: UserSnapshot) -> list[str]:
    """Ids of the user's machines that are there, in any cloud."""
    return [
        each["id"]
        for machines in state["instances"].values()
        for each in machines
        if user.scope in (each["tags"].get("ogc:scope"), each["tags"].get("ogc-scope")) and each["state"] not in GONE
    ]
