"""The matrix: every operation that a verb calls, every lie about it, and what has to hold afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogc_async import actions
from ogc_async.sandbox.traffic import KINDS
from ogc_async.types import SyncResult
from ogc_async.types.result import NodeIds
from tests.lies.verbs import SCENARIOS, UNHEARD_LAUNCH, Scenario, judge_removal, judge_sync, sync
from tests.lies.world import Sky, World, named, open_sky, open_world, running, unmatched

CLOUDS = ("aws", "google")
BELIEVED = frozenset(
    (operation, lie)
    for operation in ("DescribeInstances", "instances.aggregatedList")
    for lie in ("empty", "other-account")
)
"""Of a machine whose id was never heard there is one list to tell; an empty one is the cloud's word once the machine
should be visible. What is concluded from it is mended by one ``sync``."""
A_SKY = 100
"""Cells a sandbox: its lists of what there ever was get long."""


@dataclass(frozen=True)
class Cell:
    """One lie about one operation, for as long as a verb and what follows it under the lie take."""

    cloud: str
    scenario: Scenario
    operation: str
    lie: str
    follow: str
    """What follows the verb under the lie: ``rm-all`` or ``sync``."""

    @property
    def is_believed(self) -> bool:
        """No evidence against the lie can be had; only what one ``sync`` makes of it in good weather counts."""
        return self.scenario.name == UNHEARD_LAUNCH and (self.operation, self.lie) in BELIEVED

    def __str__(self) -> str:
        return f"{self.cloud} {self.scenario.name}, then {self.follow}: {self.operation}={self.lie}"


async def called_by(cloud: str, scenario: Scenario, sky: Sky, folder: Path) -> list[str]:
    """The operations that the verb calls in good weather, where all goes well."""
    async with open_world(sky, cloud, folder, "whole") as world:
        await scenario.prepare(world)
        before = sky.calls(cloud)
        result = await scenario.act(world)
        problems = [*world.problems, *await scenario.judge(world, result)]
        assert not problems, problems
        assert getattr(result, "ok", result == []) or scenario.name.startswith("plan"), result
        return [name for name, calls in sky.calls(cloud).items() if calls > before.get(name, 0)]


def cells_of(cloud: str, scenario: Scenario, operations: Iterable[str]) -> list[Cell]:
    return [
        Cell(cloud, scenario, operation, lie, follow)
        for operation in operations
        for lie in sorted(KINDS)
        for follow in ("rm-all", "sync")
    ]


async def perform(cell: Cell, sky: Sky, folder: Path, name: str) -> list[str]:
    """What does not hold."""
    sky.plan("*=well")
    async with open_world(sky, cell.cloud, folder, name) as world:
        await cell.scenario.prepare(world)
        lie = f"{cell.operation}={cell.lie}:lasting"
        sky.plan(lie)
        world.lie = cell.lie
        await step(world, cell.scenario.act, cell.scenario.judge, is_ending=cell.scenario.name == "rm-all")
        if cell.follow == "rm-all":
            await step(world, remove_all, judge_removal, is_ending=True)
        else:
            await step(world, sync, judge_sync)
        if cell.is_believed:
            world.problems = [each for each in world.problems if ": ended " in each]
        sky.plan("*=well")
        world.lie = ""
        if cell.follow == "sync" or cell.is_believed:
            await step(world, sync, judge_mended)
        await step(world, remove_all, judge_end, is_ending=True)
        await step(world, sync_of_nothing, judge_end)
        return [*world.problems, *world.story] if world.problems else []


Act = Callable[[World], Awaitable[Any]]
Judge = Callable[[World, Any], Awaitable[list[str]]]


async def step(world: World, act: Act, judge: Judge, *, is_ending: bool = False) -> None:
    """One verb; and then no machine without a row, and none ended that ran and was to stay."""
    up = {node.instance_id for node in await running(world)} - world.overdue
    first = len(world.sky.ended)
    result = await act(world)
    what = act.__name__
    world.story.append(f"({what}: {said(result)[:600]})")
    ended = {each.machine for each in world.sky.ended[first:] if each.was_up}
    problems = [
        f"ended {each['id']}, which ran"
        for each in world.mine()
        if not is_ending and each["id"] in up and each.get("number", each["id"]) in ended
    ]
    problems += [f"no live row for {each}" for each in unmatched(world.living(), await world.rows())]
    problems += await judge(world, result)
    world.problems += [f"{what}: {each}" for each in problems]


async def remove_all(world: World) -> Any:
    return await world.remove_all("rm-all")


async def sync_of_nothing(world: World) -> Any:
    return await world.attempt("sync", lambda: actions.sync_async(app=world.app))


async def judge_mended(world: World, result: Any) -> list[str]:
    """In good weather one ``sync`` brings all together."""
    problems = [] if getattr(result, "ok", False) else ["sync in good weather fails"]
    rows, living, up = await world.rows(), world.living(), await running(world)
    if not len(rows) == len(living) == len(up) == world.wanted:
        states = [str(node.state) for node in rows]
        problems.append(f"after sync in good weather: {len(living)} machines, {states}")
    return problems


async def judge_end(world: World, result: Any) -> list[str]:
    """In good weather all is gone."""
    ok = getattr(result, "ok", False) and not getattr(result, "leftovers", ())
    problems = [] if ok else ["fails in good weather"]
    problems += [f"left over: row {node.name}, {node.state}" for node in await world.rows()]
    return problems + [
        f"left over: {each}" for each in (*(each["id"] for each in world.living()), *world.left_behind())
    ]


def said(result: Any) -> str:
    """In few words: a story is told by a handful of them."""
    if isinstance(result, BaseException):
        return named(result)
    if isinstance(result, SyncResult):
        parts = (result, result.launched, result.torn_down)
        failed = [str(each) for part in parts for each in (*part.failures, *getattr(part, "leftovers", ()))]
        return f"{[str(each) for each in result.plan.changes]}, launched {list(result.launched)}, failed {failed}"
    if isinstance(result, NodeIds):
        failed = [str(each) for each in (*result.failures, *getattr(result, "leftovers", ()))]
        return f"{list(result)}, failed {failed}"
    return str(result)


async def all_cells(cloud: str, folder: Path) -> list[Cell]:
    """Every cell of one cloud, by what its verbs call."""
    async with open_sky() as sky:
        return [
            cell
            for scenario in SCENARIOS
            for cell in cells_of(cloud, scenario, await called_by(cloud, scenario, sky, folder))
        ]


def sample(cells: Sequence[Cell], seed: int) -> list[Cell]:
    """Few cells, among them every operation, every lie, every verb and what follows it."""
    shuffled = list(cells)
    random.Random(seed).shuffle(shuffled)
    seen: set[object] = set()
    some: list[Cell] = []
    # Those that bring two new parts come first; what is missing then is taken as it comes.
    for least in (2, 1):
        for cell in shuffled:
            parts = {cell.operation, ("lie", cell.lie), cell.scenario, ("then", cell.follow)}
            if len(parts - seen) >= least:
                seen |= parts
                some.append(cell)
    return some


def table(cells: Sequence[Cell], wrong: Collection[Cell]) -> str:
    """Operations by lies: how many cells, and how many of them are wrong."""
    counts = Counter((cell.operation, cell.lie) for cell in cells)
    bad = Counter((cell.operation, cell.lie) for cell in wrong)
    lies = sorted({cell.lie for cell in cells})
    operations = sorted({cell.operation for cell in cells})
    width = max(map(len, operations))
    lines = [f"{'':{width}}  {'  '.join(lies)}"]
    for operation in operations:
        told = (
            (f"{counts[operation, lie] or '·'}" + (f"!{bad[operation, lie]}" if bad[operation, lie] else ""), lie)
            for lie in lies
        )
        lines.append(f"{operation:{width}}  {'  '.join(f'{text:>{len(lie)}}' for text, lie in told)}")
    return "\n".join(lines)


async def perform_all(cells: Sequence[Cell], folder: Path) -> dict[Cell, list[str]]:
    wrong: dict[Cell, list[str]] = {}
    for first in range(0, len(cells), A_SKY):
        async with open_sky() as sky:
            for number, cell in enumerate(cells[first : first + A_SKY]):
                try:
                    problems = await perform(cell, sky, folder, f"cell{first + number}")
                except Exception as error:
                    problems = [f"the cell broke: {named(error)}"]
                if problems:
                    wrong[cell] = problems
    return wrong
