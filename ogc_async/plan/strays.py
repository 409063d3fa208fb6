"""What an account holds beside the fleet that is at work, and which of it is to end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ogc_async.plan.diff import STILL, Found, find_instances
from ogc_async.plan.ends import end_of, is_overdue
from ogc_async.plan.places import Place
from ogc_async.types import Instance, NodeSnapshot, NodeState, Volume
from ogc_async.types.launch import TAG_LAYOUT, TAG_SCOPE
from ogc_async.types.reap import EndsWith, Find, FindKind
from ogc_async.types.span import lasting

ORDER = tuple(FindKind)
SCOPE_SHOWN = 8
"""Characters of a scope that tell one database from another to the eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVolume:
    """A volume of ours that no machine has, and where it was listed."""

    provider: str
    region: str
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at the accounts at hand: lists first, rows after, so that every machine on a list has had its row.

    ``machines`` and ``volumes`` have this owner's tag, whichever database made them; ``scope`` is this database's.
    ``live`` are its live nodes, ``lost`` those marked so whose machines are listed, ``let_go`` the rows of listed
    machines that were given up on purpose, by machine. ``layouts`` are the spec's; ``None`` where there is no spec.
    """

    now: datetime
    scope: str
    machines: Sequence[Found] = ()
    volumes: Sequence[FoundVolume] = ()
    accounts: Mapping[Place, str | None] = field(default_factory=dict)
    live: Sequence[NodeSnapshot] = ()
    lost: Sequence[NodeSnapshot] = ()
    let_go: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    layouts: Collection[str] | None = None

    def nodes_by_machine(self) -> dict[str, NodeSnapshot]:
        """Which node stands for which of this database's machines; a live one before one that was marked lost."""
        ours = {each.instance.id: each.instance for each in self.machines if self.is_ours(each.instance)}
        nodes = {node.id: node for node in (*self.lost, *self.live) if not self.is_elsewhere(node)}
        return {machine.id: nodes[node_id] for node_id, machine in find_instances(nodes.values(), ours).items()}

    def is_ours(self, machine: Instance) -> bool:
        """This database made it."""
        return machine.tags.get(TAG_SCOPE, "") == self.scope

    def is_elsewhere(self, node: NodeSnapshot) -> bool:
        """Another account than the one that was looked at launched its machine, for certain."""
        return node.is_foreign_to(self.accounts.get((node.provider, node.region)))


def find_strays(sight: Sight) -> list[Find]:
    """Everything but healthy machines on record, in the order of the kinds."""
    nodes = sight.nodes_by_machine()
    finds = [_of_machine(sight, each, nodes.get(each.instance.id)) for each in _each_once(sight.machines)]
    finds += [_of_volume(sight, each) for each in sight.volumes]
    return sorted(filter(None, finds), key=_place)


def to_end(finds: Iterable[Find], *, strays: bool, only: Collection[str] | None = None) -> list[Find]:
    """Those that a reap is to end: with ``strays`` also what is not this database's own; of ``only`` these ids."""
    meant = {EndsWith.YES, EndsWith.STRAYS} if strays else {EndsWith.YES}
    return [each for each in finds if each.ends_with in meant and (only is None or each.id in only)]


def _each_once(machines: Iterable[Found]) -> list[Found]:
    """Two places may be one to a cloud; what has ended is of no interest."""
    return list(
        {(each.provider, each.instance.id): each for each in machines if not each.instance.state.is_gone}.values()
    )


def _of_machine(sight: Sight, found: Found, node: NodeSnapshot | None) -> Find | None:
    machine = found.instance
    if not sight.is_ours(machine):
        return _stray(sight, found, f"of {_database(machine.tags.get(TAG_SCOPE, ''))}")
    if node is not None:
        return _on_record(sight, found, node)
    if machine.id in sight.let_go:
        row = sight.let_go[machine.id]
        since = row.terminated_at or row.updated_at
        reason = f"let go of{_ago(since, sight.now)}, {_state(machine)}"
        # The row stands for nothing any more: only its name is told.
        return replace(_find(FindKind.LET_GO, found, EndsWith.STRAYS, since, reason), node=row.name)
    return _stray(sight, found, "no node on record stands for it, `ogc sync` ends it")


def _on_record(sight: Sight, found: Found, node: NodeSnapshot) -> Find | None:
    machine = found.instance
    # Where row and cloud differ, somebody has put the end off, and one of the two has not heard of it yet. What stands
    # still costs its disk alone, and may be kept for what is on that.
    is_over = is_overdue(node, sight.now) and is_overdue(node, sight.now, machine)
    if is_over and machine.state not in STILL:
        ends_at = max(filter(None, (node.ends_at, machine.ends_at)), default=None)
        reason = f"its time was over{_ago(ends_at, sight.now)}, {_state(machine)}"
        return _find(FindKind.OVERDUE, found, EndsWith.YES, ends_at, reason, node)
    if node.state is NodeState.LOST:
        return _stray(sight, found, "marked lost and there after all, `ogc sync` takes it back", node)
    if machine.state in STILL:
        since = machine.ended_at or (node.updated_at if node.state is NodeState.STOPPED else None)
        reason = f"stands still{_for(since, sight.now)}, its disk is paid for"
        return _find(FindKind.STOPPED, found, EndsWith.RM, since, reason, node)
    if sight.layouts is not None and node.layout not in sight.layouts:
        reason = f"on record, and the spec has no layout {node.layout}"
        return _find(FindKind.NO_SPEC, found, EndsWith.STRAYS, node.running_at or node.created_at, reason, node)
    return None


def _stray(sight: Sight, found: Found, whose: str, node: NodeSnapshot | None = None) -> Find:
    machine = found.instance
    parts = [whose]
    if machine.launched_at is not None:
        parts.append(f"launched{_ago(machine.launched_at, sight.now)}")
    if machine.state in STILL:
        parts.append("stands still")
    ends_at = end_of(machine)
    if ends_at is not None:
        # Another database may have put its end off since: the tag is no more than a hint.
        is_over = ends_at <= sight.now
        parts.append(
            f"its time was over{_ago(ends_at, sight.now)}" if is_over else f"ends in {lasting(ends_at - sight.now)}"
        )
    return _find(FindKind.STRAY, found, EndsWith.STRAYS, machine.launched_at, ", ".join(parts), node)


def _of_volume(sight: Sight, found: FoundVolume) -> Find | None:
    volume = found.volume
    is_ours = volume.scope == sight.scope
    if is_ours and any(node.layout == volume.layout for node in sight.live):
        # The layout's last teardown deletes it.
        return None
    whose = "left by a machine that is gone" if is_ours else f"of {_database(volume.scope)}"
    return Find(
        kind=FindKind.VOLUME,
        id=volume.id,
        provider=found.provider,
        region=found.region,
        # A disk that somebody has detached to save what is on it looks the same.
        ends_with=EndsWith.STRAYS,
        layout=volume.layout,
        scope=volume.scope,
        reason=f"{volume.size_gib} GiB, {whose}",
    )


def _find(
    kind: FindKind,
    found: Found,
    ends_with: EndsWith,
    since: datetime | None,
    reason: str,
    node: NodeSnapshot | None = None,
) -> Find:
    machine = found.instance
    return Find(
        kind=kind,
        id=machine.id,
        provider=found.provider,
        region=found.region,
        ends_with=ends_with,
        layout=node.layout if node is not None else machine.tags.get(TAG_LAYOUT, ""),
        scope=machine.tags.get(TAG_SCOPE, ""),
        node_id=node.id if node is not None else 0,
        node=node.name if node is not None else "",
        since=since,
        reason=reason,
    )


def _database(scope: str) -> str:
    return f"another database (scope {scope[:SCOPE_SHOWN]})" if scope else "an unknown database"


def _state(machine: Instance) -> str:
    return "stands still" if machine.state in STILL else "still there"


def _ago(since: datetime | None, now: datetime) -> str:
    return f" {lasting(now - since)} ago" if since is not None else ""


def _for(since: datetime | None, now: datetime) -> str:
    return f" for {lasting(now - since)}" if since is not None else ""


def _place(find: Find) -> tuple[int, str, str, int, str]:
    return ORDER.index(find.kind), find.provider, find.region, find.node_id, find.id
