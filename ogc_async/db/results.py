"""The rows of actions: written in groups as steps begin and end, and looked up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.clock import database_now
from ogc_async.db.engine import Engine
from ogc_async.db.holds import Hold, still_held
from ogc_async.db.locking import update_in_order
from ogc_async.db.models import Action, Node, Worker
from ogc_async.db.nodes import UNTIL_LET_GO, chunks, pin_keys
from ogc_async.types import StepResult, StepState

CHUNK = 1000
DEPLOY = "deploy"
"""The kind of the steps that a later deploy goes on from."""
FORSAKEN = "its process ended before it"


@dataclass(frozen=True, slots=True)
class StepStart:
    """A step that begins. ``kind`` is ``deploy``, ``exec``, ``push``, ``pull`` or ``teardown``."""

    node_id: int
    kind: str
    script: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LastStep:
    """How a script went when a deploy last ran it; ``sha256`` is of what was run."""

    sha256: str
    state: StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSnapshot:
    """An action as it was on record at one moment."""

    id: int
    node_id: int
    kind: str
    script: str
    sha256: str
    state: StepState
    exit_code: int | None
    signal: str | None
    output: bytes = field(repr=False)
    output_bytes: int
    seconds: float | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step of a node ended."""

    node_id: int
    result: StepResult


@dataclass(frozen=True, slots=True)
class StepGrowth:
    """The output of a node's step so far, as much of it as is kept, and its size."""

    node_id: int
    output: bytes
    output_bytes: int


@dataclass(slots=True)
class Notes:
    """What is to be written of a fleet's steps, in one transaction: by action id, but for what begins."""

    starts: list[StepStart] = field(default_factory=list)
    growth: dict[int, StepGrowth] = field(default_factory=dict)
    ends: dict[int, StepEnd] = field(default_factory=dict)
    host_keys: dict[int, str] = field(default_factory=dict)
    """Of nodes, by their ids."""
    asked_after: set[int] = field(default_factory=set)
    """Nodes of which only is asked whether they are still held."""

    def node_ids(self) -> set[int]:
        """The nodes that have to be held still for this to be written."""
        told: list[StepStart | StepGrowth | StepEnd] = [*self.starts, *self.growth.values(), *self.ends.values()]
        return {each.node_id for each in told} | self.host_keys.keys() | self.asked_after


@dataclass(frozen=True, slots=True)
class Written:
    """The ids of the actions that began, in order, 0 for one that did not; and the nodes that are held no more."""

    started: list[int]
    lost: frozenset[int]


async def write_notes(engine: Engine, notes: Notes, hold: Hold) -> Written:
    """Write all of it, but for steps of nodes that ``hold`` holds no more: another process works on those.

    A hold that is not exclusive guards nothing.
    """
    async with engine.transaction() as connection:
        lost = await _lost(connection, notes, hold)
        starts = [start for start in notes.starts if start.node_id not in lost]
        began = iter(await _insert(connection, [_started(start, hold) for start in starts]))
        grown = [_grown(*each) for each in sorted(notes.growth.items()) if each[1].node_id not in lost]
        ended = [_ended(key, end.result) for key, end in sorted(notes.ends.items()) if end.node_id not in lost]
        for statement, rows in ((GROWS, grown), (ENDS, ended)):
            if rows:
                await connection.execute(statement, rows)
        await pin_keys(connection, {key: value for key, value in notes.host_keys.items() if key not in lost})
    return Written([0 if start.node_id in lost else next(began) for start in notes.starts], lost)


async def _lost(connection: AsyncConnection, notes: Notes, hold: Hold) -> frozenset[int]:
    node_ids = notes.node_ids()
    if not node_ids or not hold.is_exclusive:
        return frozenset()
    return frozenset(node_ids - await still_held(connection, hold, node_ids))


async def last_steps(engine: Engine, node_ids: Collection[int]) -> dict[int, dict[str, LastStep]]:
    """Of each node that was ever deployed to, every script's latest step, by node id and script."""
    found: dict[int, dict[str, LastStep]] = {}
    async with engine.reading() as connection:
        for chunk in chunks(node_ids):
            for node_id, script, sha256, state in await connection.execute(LAST, {"node_ids": chunk}):
                found.setdefault(node_id, {})[script] = LastStep(sha256, StepState(state))
    return found


async def interrupt_forsaken(engine: Engine) -> set[int]:
    """Write as interrupted what reads so: steps of processes that are dead. The actions' ids."""
    async with engine.transaction() as connection:
        return await interrupt_steps(connection)


async def interrupt_steps(connection: AsyncConnection, node_ids: Collection[int] | None = None) -> set[int]:
    """The same within a transaction, and of these nodes only, if any are given."""
    values = {"state": StepState.INTERRUPTED, "error": FORSAKEN, "finished_at": database_now()}
    interrupted: set[int] = set()
    for where in [()] if node_ids is None else [(Action.node_id.in_(chunk),) for chunk in chunks(node_ids)]:
        found = update_in_order(Action, *where, is_forsaken()).values(values).returning(Action.id)
        interrupted.update((await connection.scalars(found)).all())
    return interrupted


def is_forsaken() -> ColumnElement[bool]:
    """A step that runs on record, and whose process is dead or was robbed of the node.

    Steps of the release before are judged by a lease of their own.
    """
    lives = exists().where(Worker.id == Action.worker, Worker.beat_until > database_now())
    holds = exists().where(Node.id == Action.node_id, Node.worker == Action.worker, Node.fence == Action.fence)
    goes_on = or_(
        and_(Action.worker.is_not(None), lives, or_(Action.fence.is_(None), holds)),
        and_(Action.worker.is_(None), Action.lease_until > database_now()),
    )
    return and_(Action.state == StepState.RUNNING, not_(func.coalesce(goes_on, False)))


def action_columns() -> list[ColumnElement[Any]]:
    """What an :class:`ActionSnapshot` is made of; a step whose process is dead reads as interrupted."""
    told = {"state": StepState.INTERRUPTED.value, "error": FORSAKEN}
    return [
        case((is_forsaken(), told[name]), else_=getattr(Action, name)).label(name)
        if name in told
        else getattr(Action, name)
        for name in ActionSnapshot.__dataclass_fields__
    ]


async def node_actions(engine: Engine, node_id: int) -> list[ActionSnapshot]:
    """A node's actions, oldest first."""
    async with engine.reading() as connection:
        rows = await connection.execute(select(*action_columns()).where(Action.node_id == node_id).order_by(Action.id))
        return [snapshot_of(row) for row in rows.mappings()]


def snapshot_of(row: RowMapping) -> ActionSnapshot:
    """One row of :func:`action_columns`."""
    return ActionSnapshot(**dict(row) | {"state": StepState(row["state"])})


async def _insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    # SQLite counts ids up in the order of the rows, and asked for that order would take a statement for each row.
    statement = BEGINS if connection.dialect.name == "sqlite" else BEGINS_IN_ORDER
    ids: list[int] = []
    for first in range(0, len(rows), CHUNK):
        ids += sorted((await connection.scalars(statement, rows[first : first + CHUNK])).all())
    return ids


def _update(*names: str, **values: Any) -> Update:
    """Gives each action its own values, and all of them these: one prepared statement, many sets of parameters.

    What runs no more is left as it is: its end was written by another process, which claimed the node.
    """
    table = Action.__table__
    where = table.c.id == bindparam("action_id"), table.c.state == StepState.RUNNING
    found = update(table).where(*where)  # type: ignore[arg-type]  # a mapped class's table is a Table
    return found.values({name: bindparam(name) for name in names} | values)


# Said often, and so worth to be built once.
LAST = select(Action.node_id, Action.script, Action.sha256, Action.state).where(
    Action.id.in_(
        select(func.max(Action.id))
        .where(Action.kind == DEPLOY, Action.node_id.in_(bindparam("node_ids", expanding=True)))
        .group_by(Action.node_id, Action.script)
    )
)
_STARTS = insert(Action.__table__).values(started_at=database_now())  # type: ignore[arg-type]  # as above
BEGINS = _STARTS.returning(Action.id)
BEGINS_IN_ORDER = _STARTS.returning(Action.id, sort_by_parameter_order=True)
GROWS = _update("output", "output_bytes")
ENDS = _update("state", "exit_code", "signal", "output", "output_bytes", "seconds", "error", finished_at=database_now())


def _started(start: StepStart, hold: Hold) -> dict[str, Any]:
    return {
        "node_id": start.node_id,
        "kind": start.kind,
        "script": start.script,
        "sha256": start.sha256,
        "state": StepState.RUNNING,
        "output": b"",
        "output_bytes": 0,
        "worker": hold.worker,
        "fence": hold.fences.get(start.node_id),
        "lease_until": UNTIL_LET_GO,
    }


def _grown(action_id: int, growth: StepGrowth) -> dict[str, Any]:
    return {"action_id": action_id, "output": growth.output, "output_bytes": growth.output_bytes}


def _ended(action_id: int, end: StepResult) -> dict[str, Any]:
    return {
        "action_id": action_id,
        "state": end.state,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "output": end.output,
        "output_bytes": end.output_bytes,
        "seconds": end.seconds,
        "error": end.error,
    }
