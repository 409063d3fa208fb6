"""What a cell of the matrix does while the cloud lies: each verb, from each state that it meets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from ogc_async import actions
from ogc_async.db.models import Node
from ogc_async.types import LIVE, LaunchResult, SyncPlan, SyncResult
from tests.lies.world import SCALE, World, running

UNHEARD = {
    "aws": ("RunInstances=error-after", "DescribeInstances=unavailable"),
    "google": ("instances.bulkInsert=error-after", "instances.list=unavailable"),
}
FIREWALL_CALL = {"aws": "DeleteSecurityGroup", "google": "firewalls.delete"}
OPEN_ZONES = {"aws": ("us-east-2b", "us-east-2a"), "google": ("us-central1-b", "us-central1-a")}
"""The first one is full."""
UNHEARD_LAUNCH = "sync of an unheard launch"
DENIALS = ("missing", "empty", "other-account")
"""Lies by which there is no such firewall or key pair: no cloud can be asked a second way."""


@dataclass(frozen=True)
class Scenario:
    """A state to begin from, a verb, and what may not be said of the verb's result."""

    name: str
    prepare: Callable[[World], Awaitable[Any]]
    act: Callable[[World], Awaitable[Any]]
    judge: Callable[[World, Any], Awaitable[list[str]]]


async def nothing(_: World) -> None:
    pass


async def a_fleet(world: World, scale: int = SCALE) -> None:
    launched = await world.attempt("setup", lambda: actions.launch_async([world.scaled(scale)], app=world.app))
    assert launched.ok, launched.failures


async def one_node(world: World) -> None:
    await a_fleet(world, 1)


async def an_unheard_launch(world: World) -> None:
    """Machines run of whose launch call nothing was heard."""
    world.sky.plan(*(f"{each}:lasting" for each in UNHEARD[world.layout.provider]))
    await world.attempt("setup", lambda: actions.launch_async([world.scaled(SCALE)], app=world.app))
    world.sky.plan("*=well")
    assert [node.instance_id for node in await world.rows()] == [None] * SCALE


async def an_abandoned_launch(world: World) -> None:
    """A launch was broken off while its machines booted."""
    kept = world.app.settings
    world.app.settings = kept.model_copy(update={"ogc_on_cancel": "keep"})

    async def broken_off() -> None:
        launching = asyncio.ensure_future(actions.launch_async([world.scaled(SCALE)], app=world.app))
        while not all(node.instance_id for node in await world.rows()) or not world.living():
            await asyncio.sleep(0.05)
        launching.cancel()
        await asyncio.gather(launching, return_exceptions=True)

    await world.attempt("setup", broken_off)
    world.app.settings = kept
    assert len(await world.rows()) == SCALE


async def an_emptied_layout(world: World) -> None:
    """Its firewall and key pair could not be removed."""
    await a_fleet(world)
    call = FIREWALL_CALL[world.layout.provider]
    world.sky.plan(f"{call}=denied:lasting")
    await world.remove_all("setup")
    world.sky.plan(f"{call}=well")
    assert world.left_behind()
    assert not world.living()


async def a_fleet_that_ends(world: World) -> None:
    """One node's time is over and its machine gone, one has an hour to live, and one of EC2's stands past its end."""
    is_kept_by_machine = world.layout.provider == "aws"
    world.scale, world.wanted = (3, 1) if is_kept_by_machine else (2, 1)
    await a_fleet(world, world.scale)
    gone, _, *late = await world.rows()
    assert world.app.engine is not None
    async with world.app.engine.transaction() as connection:
        over = update(Node).where(Node.id.in_([gone.id, *(node.id for node in late)]))
        await connection.execute(over.values(ends_at=datetime.now(UTC) - timedelta(minutes=10)))
    world.overdue = {str(node.instance_id) for node in late}
    room = world.sky.sandbox._room
    (number,) = (each.get("number", each["id"]) for each in world.mine() if each["id"] == gone.instance_id)
    machine = room.get(number)
    assert machine is not None
    room.end([machine])
    await machine.gone.wait()


async def launch(world: World) -> Any:
    return await world.attempt("launch", lambda: actions.launch_async([world.scaled(SCALE)], app=world.app))


async def launch_in_zones(world: World) -> Any:
    world.layout = world.layout.model_copy(update={"zones": OPEN_ZONES[world.layout.provider]})
    return await launch(world)


async def plan(world: World) -> Any:
    return await world.attempt("plan", lambda: actions.plan_async(world.spec(world.scale), app=world.app))


async def sync(world: World, what: str = "sync") -> Any:
    return await world.attempt(what, lambda: actions.sync_async(world.spec(world.scale), app=world.app))


async def remove_all(world: World) -> Any:
    return await world.remove_all("rm-all under the lie")


async def release(world: World) -> Any:
    return await world.attempt("release", lambda: actions.release_async(app=world.app))


async def judge_launch(world: World, result: Any) -> list[str]:
    if not isinstance(result, LaunchResult):
        return []
    up = {node.id for node in await running(world)}
    problems = [f"launch says that node {each} is up" for each in result if each not in up]
    return problems + (["launch says ok"] if result.ok and len(result) != SCALE else [])


async def judge_sync(world: World, result: Any) -> list[str]:
    if not isinstance(result, SyncResult) or not result.ok:
        return []
    up = len(await running(world))
    return [] if up == world.wanted == len(world.living()) else [f"sync says ok, {up} run"]


async def judge_plan(_: World, result: Any) -> list[str]:
    return [f"plan says {each}" for each in result.changes] if isinstance(result, SyncPlan) else []


async def judge_removal(world: World, result: Any) -> list[str]:
    """What is left is named, or the error says that nothing was done."""
    living, left = world.living(), world.left_behind()
    if isinstance(result, list) and hasattr(result, "leftovers"):
        if result.ok and not result.leftovers:
            hidden = [*(each["id"] for each in living), *([] if world.lie in DENIALS else left)]
            return [f"rm-all says ok, and leaves {each}" for each in hidden]
        named = {failure.node_id for failure in result.failures}
        rows = [node for node in await world.rows() if node.state in LIVE]
        return [f"rm-all does not name {node.name}" for node in rows if node.id not in named]
    return []


async def judge_release(world: World, result: Any) -> list[str]:
    left = world.left_behind()
    is_denied = world.lie in DENIALS
    return [f"release says that nothing is left of {left}"] if result == [] and left and not is_denied else []


SCENARIOS = (
    Scenario("launch", nothing, launch, judge_launch),
    Scenario("launch in zones", nothing, launch_in_zones, judge_launch),
    Scenario("plan of a fleet", a_fleet, plan, judge_plan),
    Scenario("sync of a fleet", a_fleet, sync, judge_sync),
    Scenario("sync up", one_node, sync, judge_sync),
    Scenario(UNHEARD_LAUNCH, an_unheard_launch, sync, judge_sync),
    Scenario("sync of an abandoned launch", an_abandoned_launch, sync, judge_sync),
    Scenario("rm-all", a_fleet, remove_all, judge_removal),
    Scenario("sync of a fleet that ends", a_fleet_that_ends, sync, judge_sync),
    Scenario("release", an_emptied_layout, release, judge_release),
)
