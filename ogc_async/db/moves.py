"""The one place that writes a node's state: a guarded update of many rows, in one short transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.clock import database_now
from ogc_async.db.engine import Engine
from ogc_async.db.holds import Hold, still_held, update_held
from ogc_async.db.models import Node
from ogc_async.db.nodes import machine_values, update_each
from ogc_async.types import End, Instance, NodeState

MOMENTS = {NodeState.RUNNING: "running_at", NodeState.TERMINATED: "terminated_at"}

NO_LIVES: Mapping[int, float | None] = MappingProxyType({})

ENDED = frozenset({NodeState.TERMINATED, NodeState.FAILED, NodeState.LOST})
"""States without a machine."""

UNBOOTED = frozenset({NodeState.PLANNED, NodeState.LAUNCHING})

Along = Callable[[AsyncConnection, Collection[int]], Awaitable[None]]
"""Writes what belongs to a move into the same transaction, given the ids of the nodes that moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What rows enter together: a state, from any of these states, and why.

    ``end`` says how their machines ended, where they had any and have none now. ``shared`` are further columns of all
    rows, ``own`` those of single rows, by node id.
    """

    to: NodeState
    came_from: Collection[NodeState]
    reason: str | None = None
    end: End | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in a batch: the batch's token, the node's number in it, the zone that is asked for.

    ``ends_in_s`` is how many seconds from now its machine's time to live is over at the latest, if it has any.
    """

    token: str
    launch_index: int
    zone: str | None
    ends_in_s: float | None = None


def asked(host_key: str | None = None, account: str | None = None) -> Move:
    """From ``planned`` to ``launching``, before a cloud hears of it: with the host key that machines are given, and
    the account that is asked.
    """
    known = {"host_key": host_key, "account": account}
    shared = {name: value for name, value in known.items() if value is not None}
    return Move(to=NodeState.LAUNCHING, came_from={NodeState.PLANNED}, shared=shared)


def adopted(machines: Mapping[int, Instance]) -> Move:
    """To ``launching``, with the machines that came of a launch that broke off, by node id."""
    return Move(to=NodeState.LAUNCHING, came_from=UNBOOTED, own=_machines(machines))


def running(machines: Mapping[int, Instance], lives_s: Mapping[int, float | None] = NO_LIVES) -> Move:
    """From ``launching`` to ``running``, with the machines, their addresses and what they have to live, by node id."""
    return Move(to=NodeState.RUNNING, came_from={NodeState.LAUNCHING}, own=_begun(machines, lives_s))


def resumed(machines: Mapping[int, Instance]) -> Move:
    """From ``stopped`` or ``lost`` to ``running``, with the addresses that the machines came back with, by node id."""
    return Move(to=NodeState.RUNNING, came_from={NodeState.STOPPED, NodeState.LOST}, own=_machines(machines))


def renewed(batches: Mapping[int, Place]) -> Move:
    """Planned anew in another batch, without a machine or what was known of one."""
    own = {node_id: asdict(place) | {"instance_id": None, "host_key": None} for node_id, place in batches.items()}
    return Move(to=NodeState.PLANNED, came_from=UNBOOTED, own=own)


async def move_nodes(
    engine: Engine, node_ids: Iterable[int], move: Move, hold: Hold, along: Sequence[Along] = ()
) -> set[int]:
    """Move the nodes that ``hold`` still holds, and that are in a state of ``move.came_from``; the ids that moved.

    What ``along`` writes is committed with the move, or not at all.
    """
    async with engine.transaction() as connection:
        moved = await _move(connection, node_ids, move, hold)
        await update_each(connection, {node_id: move.own[node_id] for node_id in moved if node_id in move.own})
        for write in along:
            await write(connection, moved)
    return moved


async def _move(connection: AsyncConnection, node_ids: Iterable[int], move: Move, hold: Hold) -> set[int]:
    values: dict[str, Any] = {"state": move.to, "updated_at": database_now(), "reason": move.reason, **move.shared}
    if move.to in MOMENTS:
        values[MOMENTS[move.to]] = database_now()
    if move.to in ENDED and move.end is not None:
        values |= {"ended_by": move.end.by, "ended_at": move.end.at or database_now()}
    elif move.to not in ENDED:
        values |= {"ended_by": None, "ended_at": None}
    return await update_held(connection, hold, node_ids, values, Node.state.in_(sorted(move.came_from)))


async def record_instances(engine: Engine, instances: Mapping[int, Instance], hold: Hold) -> set[int]:
    """Note which machine is which node's, by node id, where ``hold`` still holds it; the ids noted."""
    async with engine.transaction() as connection:
        held = await still_held(connection, hold, instances)
        await update_each(connection, {node_id: machine_values(instances[node_id]) for node_id in held})
    return held


async def move_ends(engine: Engine, ends: Mapping[int, datetime], hold: Hold) -> set[int]:
    """Write when nodes' lives are over, by node id, where ``hold`` still holds them; the ids written."""
    async with engine.transaction() as connection:
        held = await still_held(connection, hold, ends)
        await update_each(connection, {node_id: {"ends_at": ends[node_id]} for node_id in held})
    return held


async def find_held(engine: Engine, node_ids: Iterable[int], hold: Hold) -> set[int]:
    """Those of these nodes that are still held."""
    async with engine.transaction() as connection:
        return await still_held(connection, hold, node_ids)


def _machines(machines: Mapping[int, Instance]) -> dict[int, dict[str, Any]]:
    return {node_id: machine_values(machine) for node_id, machine in machines.items()}


def _begun(machines: Mapping[int, Instance], lives_s: Mapping[int, float | None]) -> dict[int, dict[str, Any]]:
    """A life that the cloud itself keeps ends when the cloud says; any other begins now, or began before."""
    own = _machines(machines)
    for node_id, values in own.items():
        values["ends_in_s"] = lives_s.get(node_id)
    return own
