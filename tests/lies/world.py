"""A sandbox, a database and the program's verbs on one jumping clock, and what became of the machines there."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from sqlalchemy import URL

from ogc_async import actions, db
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user
from ogc_async.errors import OgcError
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.providers.aws.tags import resource_name as aws_name
from ogc_async.providers.base import Provider
from ogc_async.providers.google import limits as google_limits
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.providers.google.tags import resource_name as google_name
from ogc_async.providers.pool import ProviderPool
from ogc_async.sandbox import Sandbox, SandboxSettings
from ogc_async.sandbox.room import Machine, State
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import LIVE, NodeSnapshot, NodeState, TeardownResult, UserSnapshot
from tests.lies.jumping import LoopClock

SCALE = 2
DEADLINE_S = 300.0
"""What a verb may take on the loop's clock: its deadlines below, one after the other, several times."""
FULL = ("us-east-2b", "us-central1-b")
"""Zones without room for any machine."""
SETTINGS: dict[str, Any] = {
    "ogc_poll_s": 0.5,
    "ogc_api_timeout_s": 5,
    "ogc_api_retry_s": 5,
    "ogc_boot_timeout_s": 20,
    "ogc_terminate_timeout_s": 20,
    # By the database's clock, which is the real one: no process dies here, and what has just begun is visible.
    "ogc_lease_s": 3600,
    "ogc_settle_s": 0,
}
WEATHER = SandboxSettings(
    boot=(1.0, 2.0),
    shutdown=1.0,
    has_ssh=False,
    has_limits=False,
    enclosure="off",
    capacity=dict.fromkeys(FULL, 0),
    latency={"*": 0.02},
)


@dataclass(frozen=True)
class Ended:
    """A machine that a call has ended, and in which part of a cell."""

    machine: str
    during: str
    was_up: bool


@dataclass
class Sky:
    """The sandbox of many cells, and who has ended what in it."""

    sandbox: Sandbox
    during: str = ""
    ended: list[Ended] = field(default_factory=list)

    def plan(self, *faults: str) -> None:
        self.sandbox.add_faults(*faults)

    def calls(self, cloud: str) -> dict[str, int]:
        """How often each operation was called so far."""
        counts: Any = self.sandbox.state()["calls"]
        return {name: count["calls"] for name, count in counts[cloud].items()}

    def machines(self) -> list[dict[str, Any]]:
        """All that there ever were, of this customer's own account."""
        shown: Any = self.sandbox.state()["instances"]
        first = self.sandbox.accounts[0]
        return [
            each
            for each in (*shown["aws"], *shown["google"])
            if each.get("account", first.number) == first.number and each.get("project", first.project) == first.project
        ]

    def watch(self) -> None:
        """Note from now on what ends, before it does."""
        room = self.sandbox._room
        end = room.end

        def noted(machines: Iterable[Machine], *reason: Any) -> None:
            machines = list(machines)
            self.ended += [
                Ended(each.id, self.during, each.state is State.RUNNING) for each in machines if each.is_kept
            ]
            end(machines, *reason)

        room.end = noted  # type: ignore[method-assign]


@asynccontextmanager
async def open_sky() -> AsyncIterator[Sky]:
    sandbox = Sandbox(WEATHER)
    sandbox._clock = LoopClock()
    async with sandbox:
        sky = Sky(sandbox)
        sky.watch()
        yield sky


@dataclass
class World:
    """One cell's database and layout under the sky of all."""

    sky: Sky
    app: App
    user: UserSnapshot
    layout: Layout
    lie: str = ""
    """What is heard of one operation at present."""
    scale: int = SCALE
    wanted: int = SCALE
    """How many nodes are to run once all is mended: fewer than the scale where some have lived for as long as meant."""
    overdue: set[str] = field(default_factory=set)
    """Machines that stand although their time is over: any verb may end them."""
    problems: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    """What each verb said."""

    def spec(self, scale: int) -> Spec:
        return Spec(name="lies", ssh_keys=self.layout.ssh_keys, layouts=(self.scaled(scale),))

    def scaled(self, scale: int) -> Layout:
        return self.layout.model_copy(update={"scale": scale})

    async def rows(self) -> list[NodeSnapshot]:
        assert self.app.engine is not None
        return await find_nodes(self.app.engine, states=LIVE)

    async def all_rows(self) -> list[NodeSnapshot]:
        assert self.app.engine is not None
        return await find_nodes(self.app.engine)

    def mine(self) -> list[dict[str, Any]]:
        """This database's machines, gone or not."""
        return [
            each
            for each in self.sky.machines()
            if self.user.scope in (each["tags"].get("ogc:scope"), each["tags"].get("ogc-scope"))
        ]

    def living(self) -> list[dict[str, Any]]:
        return [each for each in self.mine() if each["state"] not in GONE]

    def left_behind(self) -> list[str]:
        """This customer's firewalls and key pairs of this layout."""
        ec2, compute = self.sky.sandbox._ec2, self.sky.sandbox._compute
        regions = [region for (place, _), region in ec2._regions.items() if place == 1]
        made = [
            *(name for region in regions for name in region.key_pairs),
            *(group.name for region in regions for group in region.groups.values()),
            *compute._projects[0].firewalls,
        ]
        own = tuple(name(self.user.slug, self.user.scope, self.layout.name) for name in (aws_name, google_name))
        return [name for name in made if name.startswith(own)]

    async def attempt(self, what: str, verb: Callable[[], Awaitable[Any]]) -> Any:
        """The verb's result or its error, as a process of its own would have it."""
        self.sky.during = what
        self.app.providers = pool(self.app.settings)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await verb()
        except OgcError as error:
            return error
        except TimeoutError:
            self.problems.append(f"{what}: has not ended after {DEADLINE_S:g} s")
            return None
        except Exception as error:
            self.problems.append(f"{what}: raises {named(error)}")
            return None
        finally:
            self.sky.during = ""
            await self.app.providers.aclose()

    async def remove_all(self, what: str) -> Any:
        """As ``ogc rm-all --force`` does."""
        rows = await self.rows()
        if rows:
            ids = [node.id for node in rows]
            return await self.attempt(what, lambda: actions.teardown_async(ids, force=True, app=self.app))
        left = await self.attempt(what, lambda: actions.release_async(app=self.app))
        return TeardownResult(leftovers=left) if isinstance(left, list) else left


def named(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


GONE = ("terminated", "shutting-down", "TERMINATED", "STOPPING", "STOPPED")


@asynccontextmanager
async def open_world(sky: Sky, cloud: str, folder: Path, name: str) -> AsyncIterator[World]:
    """A database of its own, from the folder's template, and a layout of that cloud's."""
    path = folder / f"{name}.db"
    shutil.copy(folder / "template.db", path)
    values = {key.lower(): value for key, value in sky.sandbox.env().items() if key.lower() in Settings.model_fields}
    settings = Settings(_env_file=None, **values, **SETTINGS)
    engine = db.connect(URL.create("sqlite+aiosqlite", database=str(path)), settings=settings)
    async with App(engine=engine, settings=settings) as app:
        user, _ = await create_user(engine, "Adam")
        yield World(sky, app, user, layout_of(cloud, folder))
    for each in folder.glob(f"{name}.db*"):
        each.unlink()


def layout_of(cloud: str, folder: Path) -> Layout:
    on = (
        {"runs-on": "ubuntu-2404", "instance-size": "t3.small", "zones": ["us-east-2a"]}
        if cloud == "aws"
        else {"runs-on": "debian-12", "instance-size": "e2-small", "zones": ["us-central1-a"]}
    )
    keys = {"private": str(folder / "id_ed25519")}
    given = {"name": "web", "provider": cloud, "ssh-keys": keys, "folder": str(folder), "ttl": "1h"}
    return Layout.from_dict(given | on)


def pool(settings: Settings) -> ProviderPool:
    """Providers that wait on the running loop's clock."""
    loop = asyncio.get_running_loop()

    def opened(name: str, settings: Settings, region: str) -> Provider:
        if name == "aws":
            return AwsProvider(settings, region, clock=loop.time, sleep=anyio.sleep)
        limits = google_limits.Limits(wall_clock=loop.time, sleep=anyio.sleep)
        return GoogleProvider(settings, region, limits=limits, clock=loop.time, sleep=anyio.sleep)

    return ProviderPool(settings, opener=opened)


async def running(world: World) -> list[NodeSnapshot]:
    """Nodes that run on record, and whose machines do."""
    up = {each["id"] for each in world.living() if each["state"] in ("running", "RUNNING")}
    return [node for node in await world.rows() if node.state is NodeState.RUNNING and node.instance_id in up]


def unmatched(machines: Iterable[dict[str, Any]], rows: Iterable[NodeSnapshot]) -> list[str]:
    """Machines that no row stands for, by its id, its name, or its launch's token."""
    rows = list(rows)
    ids = {node.instance_id for node in rows}
    names = {node.name for node in rows if node.instance_id is None}
    tokens = [node.token for node in rows if node.instance_id is None]
    orphans: list[str] = []
    for each in machines:
        if each["id"] in ids or each.get("name") in names:
            continue
        if each["token"] in tokens:
            tokens.remove(each["token"])
        else:
            orphans.append(each["id"])
    return orphans
