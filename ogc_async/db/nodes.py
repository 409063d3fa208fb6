"""The rows of nodes: planned, completed, looked up; one short transaction a call."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Double,
    RowMapping,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from ogc_async.db.clock import database_later, database_now, statement_now
from ogc_async.db.engine import Engine
from ogc_async.db.models import Moment, Node, Worker
from ogc_async.errors import UnknownNode
from ogc_async.types import LIVE, EndedBy, Instance, Market, NodeSnapshot, NodeState

T = TypeVar("T")

CHUNK = 1000
"""Rows or ids a statement: 30 columns of so many rows stay below the 32,766 variables that both databases take."""

FORGOTTEN = "only the row was to go; the machine was left alone"

UNTIL_LET_GO = datetime(9000, 1, 1, tzinfo=UTC)
"""The lease of a node that a worker holds: no process of the release before takes it for run out."""

HELD_UNTIL: ColumnElement[datetime | None] = type_coerce(
    func.coalesce(Worker.beat_until, case((Node.lease_until < UNTIL_LET_GO, Node.lease_until))), Moment()
)
"""Until when a node's holder is believed to live, with workers joined."""
_READ_AS: dict[str, ColumnElement[Any]] = {
    # As it is written: `_snapshots` parses it.
    "spec": cast(Node.spec, Text),
    "lease_until": HELD_UNTIL,
    "read_at": statement_now(),
}
NODES = select(
    *(
        _READ_AS[each.name].label(each.name) if each.name in _READ_AS else getattr(Node, each.name)
        for each in fields(NodeSnapshot)
    )
).outerjoin_from(Node, Worker, Worker.id == Node.worker)
NODES_IN_ORDER = NODES.order_by(Node.id)
NODES_BY_ID = NODES.where(Node.id.in_(bindparam("ids", expanding=True)))
UNPINNED = Node.host_key.is_(None)
# Many sets of parameters for one statement: thousands of rows written out as VALUES take seconds to compile.
ENDS_IN_S = "ends_in_s"
"""Instead of a moment, a row may be given how many seconds from now that is, by the database's clock."""
_LATER = database_later(bindparam(ENDS_IN_S, type_=Double()))
PLANS = (
    insert(Node.__table__)  # type: ignore[arg-type]  # a mapped class's table is a Table
    .values(dict.fromkeys(("created_at", "updated_at", "claimed_at"), statement_now()) | {"ends_at": _LATER})
    .returning(Node.name, Node.id, Node.created_at, Node.ends_at)
)
KEPT = ("account",)
"""What is on record stays: a machine has one owner for all of its life."""
FILLED = ("size", "market", "ends_at")
"""What is not known now is no reason to forget it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDraft:
    """A node that is to be: everything known before its launch. ``worker``, if any, holds it for ``claimed_for``."""

    name: str
    layout: str
    provider: str
    region: str
    token: str
    launch_index: int
    zone: str | None = None
    username: str = ""
    ssh_port: int = 22
    tags: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    worker: str | None = None
    claimed_for: str | None = None
    launch_id: str | None = None
    ends_in_s: float | None = None
    """How many seconds from now its machine's time to live is over at the latest, if it has any."""

    @property
    def fence(self) -> int:
        """A row begins with its first claim, or with none."""
        return 0 if self.worker is None else 1


async def plan_nodes(engine: Engine, user_id: int, drafts: Sequence[NodeDraft]) -> list[NodeSnapshot]:
    """Put every draft on record as ``planned``, in one transaction; the nodes, in the order of the drafts."""
    shared = {"user_id": user_id, "state": NodeState.PLANNED}
    rows = [_plain(draft) | shared for draft in drafts]
    made: dict[str, tuple[int, datetime, datetime | None]] = {}
    async with engine.transaction() as connection:
        for chunk in chunks(rows):
            made |= {name: (node_id, at, ends) for name, node_id, at, ends in await connection.execute(PLANS, chunk)}
    # All but the ids is known: to read thousands of rows again takes as long as to write them.
    return [_planned(draft, *made[draft.name]) for draft in drafts]


async def pin_host_keys(engine: Engine, keys: Mapping[int, str]) -> None:
    """Keep the host keys that nodes showed at first contact; a key on record stays."""
    async with engine.transaction() as connection:
        await pin_keys(connection, keys)


async def pin_keys(connection: AsyncConnection, keys: Mapping[int, str]) -> None:
    """The same, within a transaction."""
    values = {node_id: {"host_key": key} for node_id, key in keys.items()}
    await update_each(connection, values, UNPINNED)


async def set_usernames(engine: Engine, names: Mapping[int, str]) -> None:
    """Note the login users, known once the image is."""
    async with engine.transaction() as connection:
        await update_each(connection, {node_id: {"username": name} for node_id, name in names.items()})


async def find_nodes(
    engine: Engine,
    *,
    layout: str | None = None,
    tag: str | None = None,
    states: Collection[NodeState] | None = None,
) -> list[NodeSnapshot]:
    """The nodes that meet all that is given, oldest first."""
    statement = NODES_IN_ORDER
    if layout is not None:
        statement = statement.where(Node.layout == layout)
    if states is not None:
        statement = statement.where(Node.state.in_(sorted(states)))
    async with engine.reading() as connection:
        found = list(_snapshots((await connection.execute(statement)).mappings()))
    # JSON lists are searched in as many ways as there are databases; a fleet's rows are few enough to look through.
    return found if tag is None else [node for node in found if tag in node.tags]


async def find_named(engine: Engine, names: Collection[str]) -> list[NodeSnapshot]:
    """The nodes with these names, oldest first; a name that no node has is left out."""
    found: list[NodeSnapshot] = []
    async with engine.reading() as connection:
        for chunk in chunks(sorted(names)):
            found += _snapshots((await connection.execute(NODES.where(Node.name.in_(chunk)))).mappings())
    return sorted(found, key=lambda node: node.id)


async def known_ids(engine: Engine, node_ids: Collection[int]) -> set[int]:
    """Those of these ids that nodes have."""
    known: set[int] = set()
    async with engine.reading() as connection:
        for chunk in chunks(sorted(node_ids)):
            known.update((await connection.scalars(select(Node.id).where(Node.id.in_(chunk)))).all())
    return known


async def find_places(engine: Engine) -> set[tuple[str, str]]:
    """Every provider and region that a node was ever planned in."""
    async with engine.reading() as connection:
        rows = await connection.execute(select(Node.provider, Node.region).distinct())
        return {(provider, region) for provider, region in rows}


async def find_emptied(engine: Engine, since: datetime) -> set[tuple[str, str, str]]:
    """Provider, region and layout of layouts whose last live node went after ``since``."""
    place = Node.provider, Node.region, Node.layout
    live = func.count(case((Node.state.in_(sorted(LIVE)), 1)))
    statement = select(*place).group_by(*place).having(func.max(Node.updated_at) > since, live == 0)
    async with engine.reading() as connection:
        return {(provider, region, layout) for provider, region, layout in await connection.execute(statement)}


async def find_forgotten(engine: Engine, instance_ids: Collection[str]) -> set[str]:
    """Those of these machines whose rows were given up on purpose, while they live."""
    found: set[str] = set()
    async with engine.reading() as connection:
        for chunk in chunks(sorted(instance_ids)):
            of_these = Node.instance_id.in_(chunk), Node.state == NodeState.TERMINATED, Node.reason == FORGOTTEN
            found.update(filter(None, (await connection.scalars(select(Node.instance_id).where(*of_these))).all()))
    return found


async def find_standing(engine: Engine, instance_ids: Collection[str]) -> set[str]:
    """Those of these machines that a row stands for, or once stood for and may again."""
    found: set[str] = set()
    standing = Node.state.in_(sorted(LIVE | {NodeState.LOST}))
    async with engine.reading() as connection:
        for chunk in chunks(sorted(instance_ids)):
            of_these = select(Node.instance_id).where(Node.instance_id.in_(chunk), standing)
            found.update(filter(None, (await connection.scalars(of_these)).all()))
    return found


async def find_lost(engine: Engine, instance_ids: Collection[str]) -> list[NodeSnapshot]:
    """The nodes that were marked lost, and whose machines these are."""
    found: list[NodeSnapshot] = []
    async with engine.reading() as connection:
        for chunk in chunks(sorted(instance_ids)):
            of_these = NODES_IN_ORDER.where(Node.instance_id.in_(chunk), Node.state == NodeState.LOST)
            found += _snapshots((await connection.execute(of_these)).mappings())
    return found


async def find_ended(engine: Engine, layouts: Collection[str]) -> tuple[list[NodeSnapshot], dict[str, int]]:
    """Nodes of these layouts that their time to live ended, of each one's latest launch; and that one's first id."""
    newest, member = aliased(Node), aliased(Node)
    latest = select(func.max(newest.id)).where(newest.launch_id.is_not(None)).group_by(newest.layout)
    of_one = and_(newest.layout == member.layout, newest.launch_id == member.launch_id)
    first = select(member.layout, func.min(member.id)).join(newest, of_one).group_by(member.layout)
    by_ttl = NODES_IN_ORDER.where(Node.layout.in_(sorted(layouts)), Node.ended_by == EndedBy.TTL)
    async with engine.reading() as connection:
        rows = await connection.execute(first.where(newest.id.in_(latest.where(newest.layout.in_(sorted(layouts))))))
        began = {layout: int(node_id) for layout, node_id in rows}
        # Nodes of former launches can be many.
        since = min((began.get(layout, 0) for layout in layouts), default=0)
        ended = list(_snapshots((await connection.execute(by_ttl.where(Node.id >= since))).mappings()))
    return [node for node in ended if node.id >= began.get(node.layout, 0)], began


async def find_of_machines(engine: Engine, instance_ids: Collection[str]) -> list[NodeSnapshot]:
    """Every node, in whatever state, whose machine is or was one of these; oldest first."""
    found: list[NodeSnapshot] = []
    async with engine.reading() as connection:
        for chunk in chunks(sorted(instance_ids)):
            of_these = NODES.where(Node.instance_id.in_(chunk))
            found += _snapshots((await connection.execute(of_these)).mappings())
    return sorted(found, key=lambda node: node.id)


async def get_nodes(engine: Engine, node_ids: Sequence[int]) -> list[NodeSnapshot]:
    """The nodes with these ids, in the order asked. Raises ``UnknownNode`` with all ids that no node has."""
    found: dict[int, NodeSnapshot] = {}
    async with engine.reading() as connection:
        for chunk in chunks(node_ids):
            rows = await connection.execute(NODES_BY_ID, {"ids": chunk})
            found |= {node.id: node for node in _snapshots(rows.mappings())}
    missing = [node_id for node_id in node_ids if node_id not in found]
    if missing:
        raise UnknownNode(missing)
    return [found[node_id] for node_id in node_ids]


async def update_each(
    connection: AsyncConnection, values: Mapping[int, Mapping[str, Any]], *where: ColumnElement[bool]
) -> None:
    """Give each row its own values: one prepared statement, many sets of parameters, in the same order as moves."""
    rows = [{"node_id": node_id, **values[node_id]} for node_id in sorted(values)]
    if rows:
        table = Node.__table__
        sets = {name: _value_of(name) for name in rows[0] if name not in ("node_id", ENDS_IN_S)}
        if ENDS_IN_S in rows[0]:
            sets["ends_at"] = _sooner(_LATER, sets["ends_at"]) if "ends_at" in sets else _LATER
        sets["updated_at"] = database_now()
        found = update(table).where(table.c.id == bindparam("node_id"), *where)  # type: ignore[arg-type]  # a mapped class's table is a Table
        await connection.execute(found.values(sets), rows)


def _sooner(later: ColumnElement[Any], latest: ColumnElement[Any]) -> ColumnElement[Any]:
    """A machine that is found long after its launch began its life then: it ends by ``latest``, where that is known."""
    return case((or_(later.is_(None), later > latest), latest), else_=later)


def _value_of(name: str) -> ColumnElement[Any]:
    column: ColumnElement[Any] = Node.__table__.c[name]
    # Typed as the column is: a moment is kept as all moments are.
    given: ColumnElement[Any] = bindparam(name, type_=column.type)
    if name in KEPT:
        return func.coalesce(column, given)
    return func.coalesce(given, column) if name in FILLED else given


def machine_values(instance: Instance) -> dict[str, Any]:
    """What a row holds of its machine."""
    return {
        "instance_id": instance.id,
        "zone": instance.zone or None,
        "public_ip": instance.public_ip,
        "private_ip": instance.private_ip,
        "launched_at": instance.launched_at,
        "account": instance.account or None,
        "size": instance.size or None,
        "market": instance.market,
        "ends_at": instance.ends_at,
    }


def _plain(draft: NodeDraft) -> dict[str, Any]:
    values = {each.name: getattr(draft, each.name) for each in fields(draft)}
    held = {"fence": draft.fence, "lease_until": UNTIL_LET_GO if draft.worker else None}
    return values | held | {"tags": list(draft.tags), "labels": dict(draft.labels), "spec": dict(draft.spec)}


def _planned(draft: NodeDraft, node_id: int, at: datetime, ends_at: datetime | None) -> NodeSnapshot:
    values = {each.name: getattr(draft, each.name) for each in fields(draft) if each.name != ENDS_IN_S}
    values |= {"tags": tuple(draft.tags), "ends_at": ends_at}
    values |= dict.fromkeys(("created_at", "updated_at", "claimed_at", "read_at"), at)
    return NodeSnapshot(**values, id=node_id, state=NodeState.PLANNED, fence=draft.fence)


WORDS: Mapping[str, type[StrEnum]] = {"market": Market, "ended_by": EndedBy}


def _snapshots(rows: Iterable[RowMapping]) -> Iterator[NodeSnapshot]:
    """Equal specs, as all nodes of a layout have, are parsed once and shared: they are most of a row."""
    specs: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        values = dict(row)
        written = values["spec"]
        if written not in specs:
            specs[written] = json.loads(written)
        values |= {"state": NodeState(values["state"]), "tags": tuple(values["tags"]), "spec": specs[written]}
        values |= {name: kind(values[name]) for name, kind in WORDS.items() if values[name] is not None}
        yield NodeSnapshot(**values)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """As many at a time as one statement takes."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
