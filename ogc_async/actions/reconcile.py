"""Cloud, database and spec brought together, from whatever state a dead process left them in.

The cloud is listed first, the rows are read after that: a row is committed before the cloud hears of its machine, so
every machine in the list has had its row by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from ogc_async.actions.claims import Claim, claiming
from ogc_async.actions.context import PLACES_AT_ONCE, Context, failure, is_served
from ogc_async.actions.ending import end_machines
from ogc_async.actions.transitions import UNBOOTED, Ledger, adopt, arrive, move, resume
from ogc_async.actions.watch import BootJudge, watching
from ogc_async.actions.worker import worker_ids
from ogc_async.aio.gather import gather_all
from ogc_async.db.claims import find_workers, forget_workers
from ogc_async.db.moves import record_instances
from ogc_async.db.nodes import (
    find_ended,
    find_forgotten,
    find_lost,
    find_nodes,
    find_places,
    get_nodes,
)
from ogc_async.db.results import interrupt_forsaken
from ogc_async.errors import (
    DeadlineExceeded,
    InstanceStopped,
    OgcError,
    OutcomeUnknown,
    PlanOutdated,
    ProviderError,
)
from ogc_async.lazy import lazy_module
from ogc_async.plan import Found, Place, World, absent, by_place, doubtful, find_changes
from ogc_async.providers.base import Provider
from ogc_async.spec import Layout
from ogc_async.types import (
    LIVE,
    Change,
    ChangeKind,
    End,
    EndedBy,
    Instance,
    LaunchResult,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    SyncPlan,
    SyncResult,
    TeardownResult,
)
from ogc_async.types.launch import TAG_SCOPE

if TYPE_CHECKING:
    from ogc_async.actions import launch_nodes, tear_down
else:
    # Who only asks what would be done launches nothing and logs in nowhere.
    launch_nodes = lazy_module("ogc_async.actions.launch_nodes")
    tear_down = lazy_module("ogc_async.actions.tear_down")

log = logging.getLogger(__name__)


HAD_A_MACHINE = LIVE - {NodeState.PLANNED, NodeState.TERMINATING}


async def plan_sync(layouts: Sequence[Layout], context: Context) -> SyncPlan:
    """What :func:`sync_all` would do now; changes nothing, and waits for nothing."""
    return _diff(await _look(layouts, context), layouts, context)


async def sync_all(layouts: Sequence[Layout], context: Context, expected: SyncPlan | None) -> SyncResult:
    """Bring cloud, database and the layouts' scale together. Raises ``PlanOutdated`` where that is not ``expected``."""
    async with claiming(context, "sync") as claim:
        await _outwait_the_dead(context)
        world = await _settled_look(layouts, context)
        plan = _diff(world, layouts, context)
        if expected is not None and plan != expected:
            raise PlanOutdated(_difference(expected, plan))
        machines = world.instances()
        unsigned = _unsigned(world, machines)
        held = await claim.take([*unsigned, *(change.node_id for change in plan.changes if change.node_id)])
        ours = [each for each in plan.changes if not each.node_id or each.node_id in held]
        run = _Sync(context, claim, ours, world, machines)
        run.failures += [failure(doubt.node, doubt.error) for doubt in plan.doubts]
        await run.note(unsigned)
        await run.recover()
        launched, torn_down = await run.scale(layouts)
        await run.release()
        await interrupt_forsaken(context.engine)
        await forget_workers(context.engine)
    return SyncResult(plan, launched, torn_down, tuple(run.failures))


@dataclass(slots=True)
class _Sync:
    """One call of ``sync``: the changes that are ours to make, and what did not work.

    ``machines`` says which is which node's, by node id.
    """

    context: Context
    claim: Claim
    changes: list[Change]
    world: World
    machines: Mapping[int, Instance]
    failures: list[NodeFailure | OgcError] = field(default_factory=list)

    async def note(self, node_ids: Collection[int]) -> None:
        """Put on record what the cloud shows of these nodes' machines: addresses, and whose they are."""
        if node_ids:
            shown = {node_id: self.machines[node_id] for node_id in node_ids}
            await record_instances(self.context.engine, shown, self.claim.hold)

    async def recover(self) -> None:
        """Everything but the scale: first what costs no time, then what has to be waited for, side by side."""
        nodes = {node.id: node for node in (*self.world.nodes, *self.world.lost)}
        await self._move(nodes, ChangeKind.FAIL, NodeState.FAILED, UNBOOTED)
        await self._move(nodes, ChangeKind.EXPIRE, NodeState.TERMINATED, HAD_A_MACHINE)
        await self._move(nodes, ChangeKind.LOSE, NodeState.LOST, {NodeState.RUNNING, NodeState.STOPPED})
        await self._move(nodes, ChangeKind.HALT, NodeState.STOPPED, {NodeState.RUNNING, NodeState.LOST})
        resumed = {change.node_id: self.machines[change.node_id] for change in self._of(ChangeKind.RESUME)}
        await resume(self._ledger(), [nodes[node_id] for node_id in resumed], resumed)
        await self.note([change.node_id for change in self._of(ChangeKind.READDRESS)])
        async with anyio.create_task_group() as group:
            for place, changes in by_place(self._of(ChangeKind.REAP)).items():
                group.start_soon(self._guarded, self._reap, place, changes)
            for place, changes in by_place(self._of(ChangeKind.ADOPT)).items():
                group.start_soon(self._guarded, self._adopt, place, changes)
            overdue = await self._still_overdue([change.node_id for change in self._of(ChangeKind.OVERDUE)])
            if unfinished := [*(change.node_id for change in self._of(ChangeKind.FINISH)), *overdue]:
                group.start_soon(self._finish, unfinished, overdue)

    async def scale(self, layouts: Sequence[Layout]) -> tuple[LaunchResult, TeardownResult]:
        """Launch what is missing, tear down what is too much."""
        missing = [
            layout.model_copy(update={"scale": count})
            for layout in layouts
            if (count := sum(each.layout == layout.name for each in self._of(ChangeKind.ADD)))
        ]
        surplus = [change.node_id for change in self._of(ChangeKind.REMOVE)]
        launched = (
            await launch_nodes.launch_layouts(missing, self.context, keeps_scale=True) if missing else LaunchResult()
        )
        torn_down = (
            await tear_down.tear_down_nodes(surplus, self.context, force=False, only_db=False, claim=self.claim)
            if surplus
            else TeardownResult()
        )
        return launched, torn_down

    async def release(self) -> None:
        """Firewalls and key pairs of layouts that were emptied lately: whoever did that may not have come to it."""
        self.failures += await tear_down.release_emptied(self.context)

    def _of(self, *kinds: ChangeKind) -> list[Change]:
        return [change for change in self.changes if change.kind in kinds]

    async def _move(
        self,
        nodes: Mapping[int, NodeSnapshot],
        kind: ChangeKind,
        to: NodeState,
        came_from: Collection[NodeState],
    ) -> None:
        alike: dict[tuple[str, End | None], list[NodeSnapshot]] = {}
        for change in self._of(kind):
            alike.setdefault((change.reason, change.end), []).append(nodes[change.node_id])
        for (reason, end), members in alike.items():
            await move(self._ledger(), members, to, came_from=came_from, reason=reason, end=end)

    def _ledger(self) -> Ledger:
        return Ledger.of(self.context, self.claim.hold)

    async def _guarded(
        self, work: Callable[[Provider, list[Change]], Awaitable[None]], place: Place, changes: list[Change]
    ) -> None:
        """One cloud that does not answer keeps nobody else's changes from being made."""
        try:
            await work(self.context.providers.get(*place), changes)
        except OgcError as error:
            self.failures.append(error)

    async def _still_overdue(self, node_ids: list[int]) -> list[int]:
        """Those whose ends were not put off between the look at them and the claim on them."""
        before = {node.id: node.ends_at for node in self.world.nodes}
        told = {node_id: machine.ends_at for node_id, machine in self.machines.items()}
        return [
            node.id
            for node in await get_nodes(self.context.engine, node_ids)
            if node.ends_at in (before[node.id], told.get(node.id))
        ]

    async def _finish(self, node_ids: list[int], overdue: Collection[int]) -> None:
        # Of one that was marked, artifacts were fetched and teardown scripts have run; one that is overdue should be
        # gone, and none of that waits for it.
        result = await tear_down.tear_down_nodes(
            node_ids, self.context, force=True, only_db=False, claim=self.claim, overdue=overdue
        )
        self.failures += [*result.failures, *result.leftovers]

    async def _reap(self, provider: Provider, changes: list[Change]) -> None:
        """End machines that no node stands for, and wait until they are gone."""
        ids = [change.instance_id for change in changes]
        verdicts = await end_machines(ids, provider, self.context, scope=self.context.user.scope)
        self.failures += [each for each in verdicts.values() if each is not None]

    async def _adopt(self, provider: Provider, changes: list[Change]) -> None:
        """Go on where a launch broke off: note the machines, wait until they run."""
        found = {change.node_id: self.machines[change.node_id] for change in changes}
        adopted = await adopt(self._ledger(), [node for node in self.world.nodes if node.id in found], found)
        nodes = {node.id: node for node in adopted}

        async def settle(running: Mapping[int, Instance]) -> None:
            await arrive(self._ledger(), [nodes[node_id] for node_id in running], running)

        async with watching(self.context, provider, judge=BootJudge(provider), settle=settle) as watch:
            verdicts = await watch.wait(adopted, self.context.settings.ogc_boot_timeout_s)
        for node_id, verdict in verdicts.items():
            if isinstance(verdict, OgcError):
                await self._drop(provider, nodes[node_id], verdict)

    async def _drop(self, provider: Provider, node: NodeSnapshot, error: OgcError) -> None:
        """A machine that died, or did not come up in time, is not kept; one that is not seen is."""
        self.failures.append(failure(node, error))
        if isinstance(error, OutcomeUnknown):
            return
        is_there = isinstance(error, (DeadlineExceeded, InstanceStopped))
        to = NodeState.TERMINATING if is_there else NodeState.FAILED
        end = None if is_there else End(EndedBy.CLOUD)
        moved = await move(self._ledger(), [node], to, came_from={NodeState.LAUNCHING}, reason=str(error), end=end)
        if moved and to is NodeState.TERMINATING and node.instance_id:
            await provider.terminate([node.instance_id])


async def _outwait_the_dead(context: Context) -> None:
    """Wait, for a lease's length at most, until each process that holds nodes has shown that it lives, or let go."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + context.settings.ogc_lease_s
    ours = worker_ids(context.engine)
    silent = {worker: until for worker, until in (await find_workers(context.engine)).items() if worker not in ours}
    while silent and loop.time() < deadline:
        await anyio.sleep(min(context.settings.ogc_poll_s, max(deadline - loop.time(), 0)))
        renewed = await find_workers(context.engine)
        silent = {worker: until for worker, until in silent.items() if renewed.get(worker) == until}


async def _settled_look(layouts: Sequence[Layout], context: Context) -> World:
    """Look until no machine can be on its way that is not visible yet, which takes the settling time at most."""
    while True:
        world = await _look(layouts, context)
        doubts = doubtful(world)
        if not doubts:
            return world
        youngest = max(node.heard_of_at for node in doubts if node.heard_of_at is not None)
        left_s = (youngest + world.settle - world.now).total_seconds()
        await anyio.sleep(max(min(left_s, context.settings.ogc_poll_s), 0.01))


async def _look(layouts: Sequence[Layout], context: Context) -> World:
    places: set[Place] = {
        (layout.provider, context.providers.get(layout.provider, layout.region).region) for layout in layouts
    }
    places |= {(node.provider, node.region) for node in await find_nodes(context.engine, states=LIVE)}
    places |= {place for place in await find_places(context.engine) if is_served(place, context)}
    listed = await gather_all(lambda place: _list(place, context), sorted(places), limit=PLACES_AT_ONCE)
    machines: list[Found] = []
    strangers: list[Found] = []
    for each in (found for _, part in listed for found in part):
        is_ours = each.instance.tags.get(TAG_SCOPE) == context.user.scope
        (machines if is_ours else strangers).append(each)
    nodes = await find_nodes(context.engine, states=LIVE)
    names = [layout.name for layout in layouts]
    ended, launched_from = await find_ended(context.engine, names) if names else ([], {})
    shown = [each.instance.id for each in machines]
    world = World(
        now=nodes[0].read_at or datetime.now(UTC) if nodes else datetime.now(UTC),
        settle=timedelta(seconds=context.settings.ogc_settle_s),
        nodes=nodes,
        machines=machines,
        accounts={place: account for place, (account, _) in zip(sorted(places), listed, strict=True)},
        forgotten=await find_forgotten(context.engine, shown),
        lost=await find_lost(context.engine, shown),
        ended=ended,
        launched_from=launched_from,
        strangers=strangers,
    )
    return replace(world, looked_up=await _look_up(absent(world), context))


async def _look_up(nodes: Sequence[NodeSnapshot], context: Context) -> dict[str, Instance]:
    """Machines that no list shows, each by its own id: a list that is not whole shows as little as a machine's end."""
    found: dict[str, Instance] = {}
    for place, members in by_place(nodes).items():
        ids = [str(node.instance_id) for node in members]
        try:
            answers = await context.providers.get(*place).look_up(ids)
        except ProviderError as error:
            log.warning("%d machines that no list shows could not be looked up: %s", len(ids), error)
            continue
        found |= {key: each for key, each in answers.items() if isinstance(each, Instance)}
    return found


def _unsigned(world: World, machines: Mapping[int, Instance]) -> list[int]:
    """Nodes whose rows lack what a list tells: whose their machines are, what they are, when their cloud ends them.

    A release before this one left some of that out, and an end can be moved from outside.
    """
    return [
        node.id
        for node in world.nodes
        if node.id in machines
        and not node.is_foreign_to(world.account_of(node))
        and _tells_more(machines[node.id], node)
    ]


def _tells_more(machine: Instance, node: NodeSnapshot) -> bool:
    return (
        (node.account is None and bool(machine.account))
        or (bool(machine.size) and node.size != machine.size)
        or (machine.market is not None and node.market is None)
        or (machine.ends_at is not None and node.ends_at != machine.ends_at)
    )


async def _list(place: Place, context: Context) -> tuple[str | None, list[Found]]:
    """Whose list it is, as far as that can be learned, and this owner's machines that are there."""
    name, region = place
    provider = context.providers.get(name, region)
    owned = await provider.list_owned(context.user.slug)
    # After the list, which may have told.
    account = await provider.account()
    return account, [Found(provider=name, region=region, instance=each) for each in owned if not each.state.is_gone]


def _diff(world: World, layouts: Sequence[Layout], context: Context) -> SyncPlan:
    regions = {layout.name: context.providers.get(layout.provider, layout.region).region for layout in layouts}
    return find_changes(world, layouts, regions)


def _difference(expected: SyncPlan, found: SyncPlan) -> str:
    news = [str(change) for change in found.changes if change not in expected.changes]
    gone = [f"no longer: {change}" for change in expected.changes if change not in found.changes]
    return "; ".join([*news, *gone])
