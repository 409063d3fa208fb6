"""The rows of actions: written in groups as steps begin and end, and looked up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Update, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.engine import Engine
from ogc_async.db.locking import update_in_order
from ogc_async.db.models import Action, now
from ogc_async.db.nodes import pin_keys
from ogc_async.types import StepResult, StepState

CHUNK = 1000
DEPLOY = "deploy"
"""The kind of the steps that a later deploy goes on from."""


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


@dataclass(slots=True)
class Notes:
    """What is to be written of a fleet's steps, in one transaction: by action id, but for what begins."""

    lease_s: float
    """How long the process of what begins or goes on is believed to live."""
    starts: list[StepStart] = field(default_factory=list)
    growth: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    ends: dict[int, StepResult] = field(default_factory=dict)
    host_keys: dict[int, str] = field(default_factory=dict)
    """Of nodes, by their ids."""
    going_on: set[int] = field(default_factory=set)
    """Steps whose process says that it still lives, by their ids."""


async def write_notes(engine: Engine, notes: Notes) -> list[int]:
    """Write all of it; returns the ids of the actions that began, in order."""
    moment = now()
    until = moment + timedelta(seconds=notes.lease_s)
    async with engine.transaction() as connection:
        ids = await _insert(connection, [_started(start, moment, until) for start in notes.starts])
        for statement, rows in (
            (GOES_ON, [{"action_id": each, "lease_until": until} for each in sorted(notes.going_on)]),
            (GROWS, _grown(notes.growth)),
            (ENDS, [_ended(action_id, end, moment) for action_id, end in sorted(notes.ends.items())]),
        ):
            if rows:
                await connection.execute(statement, rows)
        await pin_keys(connection, notes.host_keys)
    return ids


async def last_steps(engine: Engine, node_ids: Collection[int]) -> dict[int, dict[str, LastStep]]:
    """Of each node that was ever deployed to, every script's latest step, by node id and script."""
    found: dict[int, dict[str, LastStep]] = {}
    async with engine.reading() as connection:
        for chunk in _chunked(node_ids):
            for node_id, script, sha256, state in await connection.execute(LAST, {"node_ids": chunk}):
                found.setdefault(node_id, {})[script] = LastStep(sha256, StepState(state))
    return found


async def interrupt_forsaken(engine: Engine, reason: str) -> set[int]:
    """Mark steps as interrupted whose process has been silent for longer than it said: the actions' ids."""
    moment = now()
    is_forsaken = or_(Action.lease_until.is_(None), Action.lease_until < moment)
    values = {"state": StepState.INTERRUPTED, "error": reason, "finished_at": moment}
    async with engine.transaction() as connection:
        found = update_in_order(Action, Action.state == StepState.RUNNING, is_forsaken)
        return set((await connection.scalars(found.values(values).returning(Action.id))).all())


async def node_actions(engine: Engine, node_id: int) -> list[ActionSnapshot]:
    """A node's actions, oldest first."""
    columns = [getattr(Action, name) for name in ActionSnapshot.__dataclass_fields__]
    async with engine.reading() as connection:
        rows = await connection.execute(select(*columns).where(Action.node_id == node_id).order_by(Action.id))
        return [ActionSnapshot(**dict(row) | {"state": StepState(row["state"])}) for row in rows.mappings()]


async def _insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    # SQLite counts ids up in the order of the rows, and asked for that order would take a statement for each row.
    statement = BEGINS if connection.dialect.name == "sqlite" else BEGINS_IN_ORDER
    ids: list[int] = []
    for first in range(0, len(rows), CHUNK):
        ids += sorted((await connection.scalars(statement, rows[first : first + CHUNK])).all())
    return ids


def _update(*names: str) -> Update:
    """Gives each action its own values: one prepared statement, many sets of parameters."""
    table = Action.__table__
    found = update(table).where(table.c.id == bindparam("action_id"))  # type: ignore[arg-type]  # a mapped class's table is a Table
    return found.values({name: bindparam(name) for name in names})


# Said often, and so worth to be built once.
LAST = select(Action.node_id, Action.script, Action.sha256, Action.state).where(
    Action.id.in_(
        select(func.max(Action.id))
        .where(Action.kind == DEPLOY, Action.node_id.in_(bindparam("node_ids", expanding=True)))
        .group_by(Action.node_id, Action.script)
    )
)
BEGINS = insert(Action).returning(Action.id)
BEGINS_IN_ORDER = insert(Action).returning(Action.id, sort_by_parameter_order=True)
GOES_ON = _update("lease_until")
GROWS = _update("output", "output_bytes").where(Action.state == StepState.RUNNING)
ENDS = _update("state", "exit_code", "signal", "output", "output_bytes", "seconds", "error", "finished_at")


def _started(start: StepStart, moment: datetime, until: datetime) -> dict[str, Any]:
    return {
        "node_id": start.node_id,
        "kind": start.kind,
        "script": start.script,
        "sha256": start.sha256,
        "state": StepState.RUNNING,
        "output": b"",
        "output_bytes": 0,
        "started_at": moment,
        "lease_until": until,
    }


def _grown(growth: Mapping[int, tuple[bytes, int]]) -> list[dict[str, Any]]:
    return [{"action_id": each, "output": output, "output_bytes": size} for each, (output, size) in growth.items()]


def _ended(action_id: int, end: StepResult, moment: datetime) -> dict[str, Any]:
    return {
        "action_id": action_id,
        "state": end.state,
        "exit_code": end.exit_code,
        "signal": end.signal,
        "output": end.output,
        "output_bytes": end.output_bytes,
        "seconds": end.seconds,
        "error": end.error,
        "finished_at": moment,
    }


def _chunked(ids: Collection[int]) -> list[list[int]]:
    every = list(ids)
    return [every[first : first + CHUNK] for first in range(0, len(every), CHUNK)]
