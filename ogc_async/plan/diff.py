"""Spec against nodes against machines: what has to be done so that the three agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ogc_async.plan.ends import farewell, is_overdue, is_replaced, judge
from ogc_async.plan.notes import find_notes
from ogc_async.plan.places import Place
from ogc_async.spec import Layout
from ogc_async.types import End, EndedBy, Instance, InstanceState, NodeSnapshot, NodeState
from ogc_async.types.launch import TAG_LAYOUT
from ogc_async.types.sync import Change, ChangeKind, Doubt, SyncPlan

ORDER = tuple(ChangeKind)
OVER = frozenset({ChangeKind.EXPIRE, ChangeKind.OVERDUE})
ENDING = OVER | {ChangeKind.LOSE, ChangeKind.FAIL, ChangeKind.FINISH}
"""Changes after which a node counts for no scale."""
STILL = frozenset({InstanceState.STOPPING, InstanceState.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine of ours, and where it was listed."""

    provider: str
    region: str
    instance: Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One look at everything: the cloud's list is older than the rows, so that every machine in it has had its row.

    ``accounts`` are those that were listed, by place (``None``: it could not be learned which). ``looked_up`` are
    machines that no list shows, asked for by their own ids; one that is absent there could not be asked for.
    ``forgotten`` are ids of machines that were left alone on purpose; ``lost`` are nodes that were marked so although
    a list shows their machines; ``settle`` is how long a machine may not be visible after its launch. ``ended`` are
    nodes whose time to live was over, of each layout's latest launch, which began with the node of the id that
    ``launched_from`` has for it. ``strangers`` are this owner's machines that other databases launched.
    """

    now: datetime
    settle: timedelta
    nodes: Sequence[NodeSnapshot]
    machines: Sequence[Found]
    accounts: Mapping[Place, str | None] = field(default_factory=dict)
    looked_up: Mapping[str, Instance] = field(default_factory=dict)
    forgotten: Collection[str] = ()
    lost: Sequence[NodeSnapshot] = ()
    ended: Sequence[NodeSnapshot] = ()
    launched_from: Mapping[str, int] = field(default_factory=dict)
    strangers: Sequence[Found] = ()

    def account_of(self, node: NodeSnapshot) -> str | None:
        """The account that was asked about the node's place."""
        return self.accounts.get((node.provider, node.region))

    def instances(self) -> dict[int, Instance]:
        """Which machine is which node's. One that no list shows is there where it is when asked for by itself."""
        seen = {key: each for key, each in self.looked_up.items() if not each.state.is_gone}
        seen |= {each.instance.id: each.instance for each in self.machines}
        return find_instances((*self.nodes, *self.lost), seen)


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
    found = world.instances()
    return [
        node
        for node in world.nodes
        if (node.state is NodeState.LAUNCHING or (node.state is NodeState.TERMINATING and node.instance_id is None))
        and node.id not in found
        and not node.is_held(world.now)
        and not node.is_foreign_to(world.account_of(node))
        and node.heard_of_at is not None
        and world.now - node.heard_of_at < world.settle
    ]


def absent(world: World) -> list[NodeSnapshot]:
    """Nodes whose machines the list of their own account should show, and does not: to be asked for one by one."""
    found = world.instances()
    return [
        node
        for node in world.nodes
        if node.instance_id
        and node.id not in found
        and node.state is not NodeState.TERMINATING
        and not node.is_held(world.now)
        and node.is_of(world.account_of(node))
    ]


def find_changes(world: World, layouts: Iterable[Layout] = (), regions: Mapping[str, str] | None = None) -> SyncPlan:
    """Everything that is to be done, scale included for ``layouts``; ``regions`` are those of layouts by name."""
    layouts = list(layouts)
    found = world.instances()
    busy = [node for node in world.nodes if node.is_held(world.now)]
    verdicts = [_recovery(world, node, found.get(node.id)) for node in world.nodes if not node.is_held(world.now)]
    revived = [(node, found[node.id]) for node in world.lost if node.id in found]
    again = {node.layout for node, _ in revived}
    changes = [each for each in verdicts if isinstance(each, Change)]
    changes += filter(None, (_revival(node, machine) for node, machine in revived))
    changes += _leaks(world, found)
    doubts = [each for each in verdicts if isinstance(each, Doubt)]
    gone = {change.node_id for change in changes if change.kind in ENDING}
    staying = [
        node
        for node in (*world.nodes, *(node for node, _ in revived))
        if node.id not in gone and node.state is not NodeState.TERMINATING
    ]
    # How many a layout has cannot be told where some are another account's.
    elsewhere = {node.layout for node in world.nodes if node.is_foreign_to(world.account_of(node))}
    doubtful_ids = {doubt.node.id for doubt in doubts}
    satisfied = _satisfied(world, changes)
    for layout in layouts:
        if layout.name not in elsewhere:
            region = (regions or {}).get(layout.name, "")
            # Where lost nodes are back, whether others are too many is for the next look to say.
            changes += [
                change
                for change in _scaling(layout, region, staying, world.now, doubtful_ids, satisfied[layout.name])
                if change.kind is not ChangeKind.REMOVE or layout.name not in again
            ]
    notes = find_notes(layouts, staying, satisfied, len(world.strangers))
    return SyncPlan(tuple(sorted(changes, key=_place)), tuple(busy), tuple(doubts), notes)


def _recovery(world: World, node: NodeSnapshot, instance: Instance | None) -> Change | Doubt | None:
    account = world.account_of(node)
    if node.is_foreign_to(account):
        return Doubt(node, account, "another account's")
    if node.state is NodeState.TERMINATING:
        return _change(ChangeKind.FINISH, node, instance)
    if instance is not None:
        return _as_shown(node, instance, world.now)
    if node.state is NodeState.PLANNED:
        return _change(ChangeKind.FAIL, node, None, "no machine came of its launch, which broke off")
    return _as_absent(world, node, account)


def _as_shown(node: NodeSnapshot, instance: Instance, now: datetime) -> Change | None:
    # One that stands still costs its disk alone, and may be kept for what is on that: a reap ends it.
    if instance.state not in STILL and is_overdue(node, now, instance):
        return _change(ChangeKind.OVERDUE, node, instance, f"its time to live is over, and {instance.id} still stands")
    match node.state:
        case NodeState.RUNNING if instance.state in STILL:
            why = "its time to live was over" if node.is_over(now) else f"{instance.id} was stopped"
            return _change(ChangeKind.HALT, node, instance, why)
        case NodeState.RUNNING if instance.state is InstanceState.RUNNING and _has_moved(node, instance):
            return _change(ChangeKind.READDRESS, node, instance, f"now {instance.public_ip or instance.private_ip}")
        case NodeState.STOPPED if instance.state is InstanceState.RUNNING:
            return _change(ChangeKind.RESUME, node, instance, f"{instance.id} was started again")
        case NodeState.RUNNING | NodeState.STOPPED:
            return None
        case _:
            return _change(ChangeKind.ADOPT, node, instance)


def _revival(node: NodeSnapshot, instance: Instance) -> Change | None:
    """A lost node's machine is there after all: it ran once, and is not waited for as one that boots."""
    if instance.state in STILL:
        return _change(ChangeKind.HALT, node, instance, f"{instance.id} is there after all, and was stopped")
    if instance.state is InstanceState.RUNNING:
        return _change(ChangeKind.RESUME, node, instance, f"{instance.id} is there after all")
    return None


def _as_absent(world: World, node: NodeSnapshot, account: str | None) -> Change | Doubt:
    """No list shows its machine, which means something only where its own account was asked, twice."""
    if not node.is_of(account):
        whose = (
            "it is not on record whose it is" if node.account is None else "whose list that was could not be learned"
        )
        return Doubt(node, account, f"no list shows its machine, and {whose}; {way_out(node)}")
    if node.instance_id is None:
        return _change(ChangeKind.FAIL, node, None, "no machine came of its launch, which broke off")
    looked_up = world.looked_up.get(node.instance_id)
    if looked_up is None:
        return Doubt(node, account, f"no list shows {node.instance_id}, and it could not be asked for by itself")
    end = judge(node, looked_up, world.now)
    if end.by is EndedBy.TTL:
        return _change(ChangeKind.EXPIRE, node, None, farewell(node), end)
    if node.state in (NodeState.RUNNING, NodeState.STOPPED):
        return _change(ChangeKind.LOSE, node, None, f"{node.instance_id} is not there any more", end)
    reason = f"{node.instance_id}, which its launch made, is not there any more"
    return _change(ChangeKind.FAIL, node, None, reason, end)


def _has_moved(node: NodeSnapshot, instance: Instance) -> bool:
    return (node.public_ip, node.private_ip) != (instance.public_ip, instance.private_ip)


def way_out(node: NodeSnapshot) -> str:
    """What is left to do about a node whose machine nobody can say anything of."""
    return f"`ogc rm {node.name} --only-db` forgets the row once you have seen that it is gone"


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


def _satisfied(world: World, changes: Iterable[Change]) -> Counter[str]:
    """By layout: how many nodes did what they were launched for until their time was over, and are not replaced."""
    over = {change.node_id for change in changes if change.kind in OVER}
    # One of which a teardown broke off after that counts, too, as it will be on record.
    over |= {each.id for each in world.nodes if each.state is NodeState.TERMINATING and is_overdue(each, world.now)}
    done = [*world.ended, *(node for node in world.nodes if node.id in over)]
    return Counter(
        node.layout for node in done if node.id >= world.launched_from.get(node.layout, 0) and not is_replaced(node)
    )


def _scaling(
    layout: Layout,
    region: str,
    staying: Sequence[NodeSnapshot],
    now: datetime,
    doubtful_ids: Set[int],
    satisfied: int,
) -> list[Change]:
    mine = sorted((node for node in staying if node.layout == layout.name), key=lambda node: node.id)
    missing = layout.scale - len(mine) - satisfied
    reason = f"scale {layout.scale}, {len(mine)} there" + (f", {satisfied} ended by ttl" if satisfied else "")
    if len(mine) <= layout.scale:
        add = Change(kind=ChangeKind.ADD, layout=layout.name, provider=layout.provider, region=region, reason=reason)
        return [add] * max(missing, 0)
    # The youngest go first; what somebody works on stays. What nothing is known of neither goes nor makes others go.
    free = [node for node in mine if not node.is_held(now) and node.id not in doubtful_ids]
    surplus = len(mine) - len(doubtful_ids & {node.id for node in mine}) - layout.scale
    return [_change(ChangeKind.REMOVE, node, None, reason) for node in free[max(len(free) - surplus, 0) :]]


def _change(
    kind: ChangeKind, node: NodeSnapshot, instance: Instance | None, reason: str = "", end: End | None = None
) -> Change:
    return Change(
        kind=kind,
        layout=node.layout,
        provider=node.provider,
        region=node.region,
        node_id=node.id,
        node=node.name,
        instance_id=instance.id if instance is not None else node.instance_id or "",
        reason=reason,
        end=end,
    )


def _place(change: Change) -> tuple[int, str, int, str]:
    return ORDER.index(change.kind), change.layout, change.node_id, change.instance_id
