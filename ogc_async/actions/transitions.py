"""From state to state: the one writer of nodes' states, which tells of each once it is on record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ogc_async.actions.context import Context
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.moves import UNBOOTED, Move, Place, adopted, asked, move_nodes, renewed, resumed, running
from ogc_async.db.nodes import NodeDraft, plan_nodes
from ogc_async.events import Events, NodeMoved
from ogc_async.plan.ends import ends_by, life_of, life_s
from ogc_async.types import End, Instance, NodeSnapshot, NodeState, Then

__all__ = ["UNBOOTED", "Ledger", "adopt", "arrive", "begin_launch", "move", "plan", "renew", "resume"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where moves are written, who holds the nodes, and who hears of each, by its name."""

    engine: Engine
    hold: Hold
    events_of: Callable[[str], Events]

    @classmethod
    def of(cls, context: Context, hold: Hold) -> Ledger:
        """One verb's: all who hear of the verb hear of its nodes."""
        return cls(context.engine, hold, lambda _name: context.events)


async def plan(ledger: Ledger, user_id: int, drafts: Sequence[NodeDraft]) -> list[NodeSnapshot]:
    """Put every draft on record as ``planned``; the nodes, in the order of the drafts."""
    nodes = await plan_nodes(ledger.engine, user_id, drafts)
    _tell(ledger, nodes)
    return nodes


async def move(
    ledger: Ledger,
    nodes: Iterable[NodeSnapshot],
    to: NodeState,
    *,
    came_from: Collection[NodeState],
    reason: str | None = None,
    end: End | None = None,
) -> list[NodeSnapshot]:
    """Move the nodes that are still in a state of ``came_from``; those that moved, as they are on record now.

    ``end`` says how their machines ended, where they had any and have none now.
    """
    return await _write(ledger, nodes, Move(to=to, came_from=came_from, reason=reason, end=end))


async def begin_launch(
    ledger: Ledger, nodes: Iterable[NodeSnapshot], host_key: str | None, account: str | None
) -> list[NodeSnapshot]:
    """Move nodes to ``launching`` before any cloud hears of them.

    ``host_key`` is the one that their machines are given, ``account`` the one that is asked for them, where known.
    """
    begun = [replace(node, host_key=host_key or node.host_key, account=account or node.account) for node in nodes]
    return await _write(ledger, begun, asked(host_key, account))


async def renew(
    ledger: Ledger, nodes: Iterable[NodeSnapshot], ends_in_s: Mapping[int, float | None]
) -> list[NodeSnapshot]:
    """Plan nodes anew, in the batches and zones that they are given with, without a machine or a host key.

    ``ends_in_s`` says when their machines' lives are over at the latest, by node id.
    """
    nodes = [replace(node, instance_id=None, host_key=None) for node in nodes]
    places = {node.id: Place(node.token, node.launch_index, node.zone, ends_in_s.get(node.id)) for node in nodes}
    return await _write(ledger, nodes, renewed(places))


async def adopt(ledger: Ledger, nodes: Iterable[NodeSnapshot], machines: Mapping[int, Instance]) -> list[NodeSnapshot]:
    """Move nodes whose launch broke off to ``launching``, with the machines that came of it, by node id."""
    return await _write(ledger, [_with_machine(node, machines[node.id]) for node in nodes], adopted(machines))


async def resume(ledger: Ledger, nodes: Iterable[NodeSnapshot], machines: Mapping[int, Instance]) -> list[NodeSnapshot]:
    """Move stopped or lost nodes to ``running``, with the addresses that their machines came back with, by node id.

    A machine that stops at its end begins another life with each start.
    """
    nodes = list(nodes)
    back = {node.id: _living_again(node, machines[node.id]) for node in nodes}
    return await _write(ledger, [_with_machine(node, back[node.id]) for node in nodes], resumed(back))


async def arrive(ledger: Ledger, nodes: Iterable[NodeSnapshot], machines: Mapping[int, Instance]) -> list[NodeSnapshot]:
    """Move nodes from ``launching`` to ``running``, with their machines, by node id; those that moved, by id."""
    nodes = list(nodes)
    # A life that the cloud keeps is not worked out here.
    lives_s = {node.id: life_s(node) for node in nodes if machines[node.id].ends_at is None}
    there = {node.id: replace(machines[node.id], ends_at=ends_by(node, machines[node.id])) for node in nodes}
    return await _write(ledger, [_with_machine(node, there[node.id]) for node in nodes], running(there, lives_s))


async def _write(ledger: Ledger, nodes: Iterable[NodeSnapshot], change: Move) -> list[NodeSnapshot]:
    nodes = sorted(nodes, key=lambda node: node.id)
    if not nodes:
        return []
    moved = await move_nodes(ledger.engine, [node.id for node in nodes], change, ledger.hold)
    there = [replace(node, state=change.to, reason=change.reason) for node in nodes if node.id in moved]
    _tell(ledger, there)
    return there


def _tell(ledger: Ledger, nodes: Iterable[NodeSnapshot]) -> None:
    """One event a node, with the reason that its row holds."""
    for node in nodes:
        address = node.public_ip or node.private_ip if node.state is NodeState.RUNNING else None
        moved = NodeMoved(node.id, node.name, node.layout, node.state, address=address, reason=node.reason)
        ledger.events_of(node.name).publish(moved)


def _living_again(node: NodeSnapshot, machine: Instance) -> Instance:
    life = life_of(node)
    if node.state is not NodeState.STOPPED or life is None or life.then is not Then.STOP:
        return machine
    return replace(machine, ends_at=machine.ends_at or (node.read_at and node.read_at + life))


def _with_machine(node: NodeSnapshot, machine: Instance) -> NodeSnapshot:
    return replace(
        node,
        instance_id=machine.id,
        account=node.account or machine.account or None,
        zone=machine.zone or None,
        public_ip=machine.public_ip,
        private_ip=machine.private_ip,
        size=machine.size or node.size,
        market=machine.market or node.market,
        ends_at=machine.ends_at or node.ends_at,
    )
