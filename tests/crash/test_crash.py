"""No machine is ever lost: the program is killed at any instant, and one ``sync`` mends what that left.

``make crash`` kills it at every boundary (see ``driver.py``) and at 1,000 random instants; ``make test`` at a sample.
``OGC_CRASH=full`` takes every boundary, ``OGC_CRASH_RANDOM=N`` adds random instants, drawn from ``OGC_CRASH_SEED``.
At random instants the clouds are in trouble as well, before the kill and while ``sync`` mends: see ``weather.py``.
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
from itertools import count, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import URL

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user
from ogc_async.errors import InstanceDied, NoCapacity, OgcError
from ogc_async.providers.aws.tags import resource_name as aws_name
from ogc_async.providers.google.tags import resource_name as google_name
from ogc_async.settings import Settings
from ogc_async.spec import Spec, SpecLoader
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App
from ogc_async.types import LIVE, NodeFailure, NodeSnapshot, NodeState, SyncResult, UserSnapshot
from tests import programs
from tests.cloud import Cloud, bare_environment, running_sandbox
from tests.crash.driver import DONE, ERROR, Job
from tests.crash.weather import CALM, Weather
from tests.postgres import TEMPLATE, Postgres

SCENARIOS = ("verbs", "sync")
SAMPLE = 12
"""Boundaries of each scenario in a run that is not full."""
INSTANTS = 8
"""Random instants, in all, in a run that does not say how many."""
A_WEATHER = 10
"""Random instants that share a sandbox, and so its faults."""
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
STORMY_SETTINGS = {"ogc_settle_s": 1.5, "ogc_api_retry_s": 60}
"""Longer than a stormy cloud takes to show what it has, and than all its outages."""
EXCUSES = (NoCapacity, InstanceDied)
"""What no cloud in trouble owes: then a node is missing, and its failure says so."""
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
    zones: [us-east-2a, us-east-2b]
    ttl: 1h
  worker:
    provider: google
    runs-on: debian-12
    instance-size: e2-small
    scripts: scripts
    scale: 2
    zones: [us-central1-a, us-central1-b]
    ttl: {after: 1h, then: replace}
"""


@dataclass(frozen=True)
class Kill:
    """One death: at a boundary, by name, or so many seconds after the start."""

    label: str
    scenario: str
    boundary: str = ""
    after_s: float | None = None
    on_postgres: bool = False
    weather: Weather = CALM

    def __str__(self) -> str:
        where = self.boundary or (f"after {self.after_s:.3f} s" if self.after_s is not None else "nowhere")
        return f"{self.label} ({where}{', PostgreSQL' if self.on_postgres else ''}{self.weather})"


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
def ground(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, sqlite_template: Path) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("crash")
    generate_key_pair(folder / "id_ed25519")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "1-hello.sh").write_text("#!/bin/sh\necho hello\n")
    (folder / "ogc.yml").write_text(SPEC)
    shutil.copy(sqlite_template, folder / "template.db")
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
    kills = chosen(scenario, whole, lasted_s, seed)
    print(f"\n{scenario}: {len(whole)} boundaries, {len(kills)} kills, OGC_CRASH_SEED={seed}")
    started = time.monotonic()
    wrong: dict[Kill, list[str]] = {}
    unkilled = 0
    faults: Counter[str] = Counter()
    for group in in_groups(kills):
        stories, met = perform(ground, group)
        faults.update(met)
        for kill, (story, problems) in stories.items():
            unkilled += story.is_done
            if problems:
                wrong[kill] = [*problems, f"the last it came to: {story.boundaries[-1:]}"]
    took_s = time.monotonic() - started
    print(f"{scenario}: {took_s:.0f} s, {unkilled} kills came too late, {len(wrong)} were not mended")
    print(f"{scenario}: faults that calls met: {dict(faults)}")
    listed = "\n".join(f"{kill}:\n    " + "\n    ".join(problems) for kill, problems in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(kills)} kills were not mended, OGC_CRASH_SEED={seed}:\n{listed}"


def count_boundaries(ground: Ground, scenario: str) -> tuple[list[str], float]:
    """All boundaries of a life that nobody cuts short, and how long it took."""
    kill = Kill("whole", scenario)
    stories, _ = perform(ground, [kill])
    story, problems = stories[kill]
    assert story.is_done, story.error
    assert not problems, problems
    return story.boundaries, story.lasted_s


def chosen(scenario: str, boundaries: Sequence[str], lasted_s: float, seed: int) -> list[Kill]:
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
    instants = int(os.environ.get("OGC_CRASH_RANDOM") or INSTANTS) // len(SCENARIOS)
    # Several at once, in bad weather, take longer than the one that was alone in good; whole seconds make a seed mean
    # the same another time.
    draw, span_s = random.Random(f"{seed} {scenario}"), math.ceil(lasted_s * 2)
    sample += [
        Kill(
            f"{scenario} r{number}",
            scenario,
            after_s=draw.uniform(0, span_s),
            on_postgres=number % POSTGRES_EVERY == 0,
            weather=Weather.drawn(f"{seed} {scenario} {number // A_WEATHER}"),
        )
        for number in range(instants)
    ]
    if at:
        sample = [kill for kill in sample if at in (kill.label, kill.boundary)]
    return sample


def in_groups(kills: Sequence[Kill]) -> Iterator[Sequence[Kill]]:
    """Kills that share a sandbox: of one weather, and not too many."""
    for _, alike in groupby(kills, key=lambda kill: kill.weather):
        members = list(alike)
        yield from (members[first : first + A_SANDBOX] for first in range(0, len(members), A_SANDBOX))


Stories = dict[Kill, tuple[Story, list[str]]]


def perform(ground: Ground, kills: Sequence[Kill]) -> tuple[Stories, Counter[str]]:
    """Each death and what one ``sync`` made of it, several side by side, in one sandbox; and the faults met there."""
    with ExitStack() as stack:
        options = kills[0].weather.options
        cloud = stack.enter_context(running_sandbox("--boot", "0.05:0.1", "--no-limits", *options))
        urls = {kill: ground.new_database(on_postgres=kill.on_postgres) for kill in kills}
        for url in urls.values():
            stack.callback(ground.drop, url)
        stories = asyncio.run(_perform(ground, cloud, urls))
        met: Counter[str] = Counter()
        for faults in cloud.state()["faults"].values():
            met.update(faults)
        return stories, met


async def _perform(ground: Ground, cloud: Cloud, urls: dict[Kill, URL]) -> Stories:
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
        settings=values | SETTINGS | (STORMY_SETTINGS if kill.weather.options else {}),
        kill_at=kill.boundary,
        is_stormy=bool(kill.weather.options),
    )
    async with job.open() as app:
        assert app.engine is not None
        user, _ = await create_user(app.engine, "Adam")
        story = await die(ground, job, kill.after_s)
        if story.error:
            return story, [story.error]
        try:
            async with asyncio.timeout(MEND_TIMEOUT_S):
                return story, await mend(app, cloud, user, SpecLoader.load(ground.spec), kill.weather)
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


async def mend(app: App, cloud: Cloud, user: UserSnapshot, spec: Spec, weather: Weather) -> list[str]:
    """One ``sync``, then one teardown: everything that is not as it should be after each."""
    assert app.engine is not None
    synced = await actions.sync_async(spec, app=app)
    excused = missing(synced) if weather.options else Counter()
    problems = [] if synced.ok or excused.total() else [f"sync says {synced}"]
    problems += await disagreements(app.engine, cloud, user, spec, excused)
    if problems:
        problems += [f"sync failed at: {each}" for each in failures_of(synced)]
        problems.append(f"the plan was: {[str(change) for change in synced.plan.changes]}, busy {synced.plan.busy}")
    rows = await find_nodes(app.engine, states=LIVE)
    gone = await actions.teardown_async([node.id for node in rows], app=app)
    if gone.failures or gone.leftovers:
        problems.append(f"teardown says {gone.failures} {gone.leftovers}")
    return problems + await leftovers(app.engine, cloud, user, spec)


def missing(synced: SyncResult) -> Counter[str]:
    """Nodes of each layout that the cloud had no room for, where that is all that went wrong."""
    failures = failures_of(synced)
    if all(isinstance(each, NodeFailure) and isinstance(each.error, EXCUSES) for each in failures):
        return Counter(each.layout for each in failures if isinstance(each, NodeFailure))
    return Counter()


def failures_of(synced: SyncResult) -> list[NodeFailure | OgcError]:
    return [*synced.failures, *synced.launched.failures, *synced.torn_down.failures, *synced.torn_down.leftovers]


async def disagreements(
    engine: Engine, cloud: Cloud, user: UserSnapshot, spec: Spec, excused: Counter[str]
) -> list[str]:
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
        f"{layout.name}: {counts[layout.name]} run, {layout.scale} wanted, {excused[layout.name]} found no room"
        for layout in spec.layouts
        if counts[layout.name] + excused[layout.name] != layout.scale
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
