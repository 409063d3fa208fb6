"""Spec against nodes against machines: what has to be done so that the three agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ogc_async.spec import Layout
from ogc_async.types import Instance, NodeSnapshot, NodeState
from ogc_async.types.launch import TAG_LAYOUT
from ogc_async.types.sync import Change, ChangeKind, SyncPlan

ORDER = tuple(ChangeKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine of ours, and where it was listed."""

    provider: str
    region: str
    instance: Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One look at everything: the cloud's list is older than the rows, so that every machine in it has had its row.

    ``forgotten`` are ids of machines that were left alone on purpose; ``settle`` is how long a machine may not be
    visible after its launch.
    """

    now: datetime
    settle: timedelta
    nodes: Sequence[NodeSnapshot]
    machines: Sequence[Found]
    forgotten: Collection[str] = ()


def find_instances(nodes: Iterable[NodeSnapshot], seen: Mapping[str, Instance]) -> dict[int, Instance]:
    """Which of the machines seen is which node's, by node id: by its recorded id, else by its name or batch place."""
    by_name = {each.name: each for each in seen.values()}
    by_place = {(each.token, each.launch_index): each for each in seen.values()}
    matches = {
        node.id: seen.get(node.instance_id)
        if node.instance_id
        else by_name.get(node.name) or by_place.get((node.token, node.launch_index))
        for node in nodes
    }
    return {node_id: instance for node_id, instance in matches.items() if instance is not None}


def doubtful(world: World) -> list[NodeSnapshot]:
    """Nodes whose launch call is so recent that a machine of theirs may not be visible yet: look again later."""
    found = _found(world)
    return [
        node
        for node in world.nodes
        if (node.state is NodeState.LAUNCHING or (node.state is NodeState.TERMINATING and node.instance_id is None))
        and node.id not in found
        and not node.is_held(world.now)
        and node.heard_of_at is not None
        and world.now - node.heard_of_at < world.settle
    ]


def find_changes(world: World, layouts: Iterable[Layout] = (), regions: Mapping[str, str] | None = None) -> SyncPlan:
    """Everything that is to be done, scale included for ``layouts``; ``regions`` are those of layouts by name."""
    found = _found(world)
    busy = [node for node in world.nodes if node.is_held(world.now)]
    changes = [
        change
        for node in world.nodes
        if not node.is_held(world.now) and (change := _recovery(node, found.get(node.id))) is not None
    ]
    changes += _leaks(world, found)
    gone = {change.node_id for change in changes if change.kind is not ChangeKind.ADOPT}
    staying = [node for node in world.nodes if node.id not in gone and node.state is not NodeState.TERMINATING]
    for layout in layouts:
        changes += _scaling(layout, (regions or {}).get(layout.name, ""), staying, world.now)
    return SyncPlan(tuple(sorted(changes, key=_place)), tuple(busy))


def _recovery(node: NodeSnapshot, instance: Instance | None) -> Change | None:
    if node.state is NodeState.TERMINATING:
        return _change(ChangeKind.FINISH, node, instance)
    if instance is not None:
        return None if node.state is NodeState.RUNNING else _change(ChangeKind.ADOPT, node, instance)
    if node.state is NodeState.RUNNING:
        return _change(ChangeKind.LOSE, node, None, f"{node.instance_id} is not there any more")
    return _change(ChangeKind.FAIL, node, None, "no machine came of its launch, which broke off")


def _leaks(world: World, found: Mapping[int, Instance]) -> list[Change]:
    known = {each.id for each in found.values()} | set(world.forgotten)
    # A row that does not match by id stands for its machine all the same, while it is live.
    known |= {node.instance_id for node in world.nodes if node.instance_id}
    return [
        Change(
            kind=ChangeKind.REAP,
            layout=each.instance.tags.get(TAG_LAYOUT, ""),
            provider=each.provider,
            region=each.region,
            instance_id=each.instance.id,
            reason="no node on record stands for it",
        )
        for each in world.machines
        if each.instance.id not in known
    ]


def _scaling(layout: Layout, region: str, staying: Sequence[NodeSnapshot], now: datetime) -> list[Change]:
    mine = sorted((node for node in staying if node.layout == layout.name), key=lambda node: node.id)
    missing = layout.scale - len(mine)
    if missing >= 0:
        reason = f"scale {layout.scale}, {len(mine)} there"
        add = Change(kind=ChangeKind.ADD, layout=layout.name, provider=layout.provider, region=region, reason=reason)
        return [add] * missing
    # The youngest go first; what somebody works on stays.
    free = [node for node in mine if not node.is_held(now)]
    reason = f"scale {layout.scale}, {len(mine)} there"
    return [_change(ChangeKind.REMOVE, node, None, reason) for node in free[missing:]]


def _change(kind: ChangeKind, node: NodeSnapshot, instance: Instance | None, reason: str = "") -> Change:
    return Change(
        kind=kind,
        layout=node.layout,
        provider=node.provider,
        region=node.region,
        node_id=node.id,
        node=node.name,
        instance_id=instance.id if instance is not None else node.instance_id or "",
        reason=reason,
    )


def _found(world: World) -> dict[int, Instance]:
    return find_instances(world.nodes, {each.instance.id: each.instance for each in world.machines})


def _place(change: Change) -> tuple[int, str, int, str]:
    return ORDER.index(change.kind), change.layout, change.node_id, change.instance_id
