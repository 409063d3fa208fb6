"""Claims: which process works on a node, and by which fence it is known that it still does.

A process that holds nodes has one row of workers, whose ``beat_until`` is its sign of life. Each claim of a node counts
the node's fence up, and what its holder writes is guarded by both: a process that was taken for dead, and wakes, writes
nothing more. Times are the database's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.clock import database_later, database_now
from ogc_async.db.engine import TIMEOUT_S, Engine
from ogc_async.db.holds import Hold, update_held
from ogc_async.db.locking import update_in_order
from ogc_async.db.models import Node, Worker
from ogc_async.db.nodes import HELD_UNTIL, UNTIL_LET_GO, chunks
from ogc_async.db.results import interrupt_steps
from ogc_async.types import LIVE

LOCK_TIMEOUT_S = 5
IMPATIENTLY = text(f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_S}s', true)")

FREE = {"worker": None, "claimed_for": None, "claimed_at": None, "lease_until": None, "updated_at": Node.updated_at}

FORGOTTEN_S = 24 * 3600.0
"""A worker that has been silent for so long, and holds nothing, makes room."""

_INSERTS: dict[str, Callable[[type[Worker]], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """A process, or one of its event loops, as it introduces itself."""

    id: str
    login: str
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """A worker says that it lives, for so many seconds."""

    worker: WorkerFacts
    lease_s: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim took: the fence of each node, and until when a holder that it outlived was believed to live."""

    fences: dict[int, int] = field(default_factory=dict)
    outlived: dict[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a node, since when and for what; ``is_alive`` by the database's clock."""

    worker: str
    name: str
    claimed_for: str | None
    claimed_at: datetime | None
    is_alive: bool


async def beat(engine: Engine, worker: WorkerFacts, lease_s: float, timeout_s: float | None = None) -> None:
    """Say that the worker lives, for another ``lease_s`` seconds; in a transaction of its own, which waits for none.

    Raises ``DatabaseUnavailable`` where that took longer than ``timeout_s``.
    """
    async with engine.transaction(timeout_s or TIMEOUT_S) as connection:
        await _beat(connection, worker, lease_s)


async def claim_nodes(
    engine: Engine,
    worker: str,
    node_ids: Collection[int],
    claimed_for: str,
    *,
    is_taking_over: bool = False,
    introduced: SignOfLife | None = None,
) -> Claimed:
    """Claim the nodes that are free, or whose holder is dead, for a worker that has given a sign of life.

    With ``is_taking_over`` also from a holder that lives, whose next guarded write then fails. Steps that a dead or
    robbed holder left running are marked as interrupted with it. ``introduced`` is the sign of life of a worker that
    has given none yet. Raises ``DatabaseUnavailable`` where a row stays locked by another session.
    """
    claimed = Claimed()
    async with engine.transaction() as connection:
        await _be_impatient(connection)
        if introduced is not None:
            await _beat(connection, introduced.worker, introduced.lease_s)
        for chunk in chunks(sorted(node_ids)):
            values = {
                "worker": worker,
                "fence": Node.fence + 1,
                "claimed_for": claimed_for,
                "claimed_at": database_now(),
                "lease_until": UNTIL_LET_GO,
                # It tells how old a state is; a claim changes none.
                "updated_at": Node.updated_at,
            }
            claimed.fences.update(await _claim_where(connection, chunk, values, Node.worker.is_(None)))
            held = [node_id for node_id in chunk if node_id not in claimed.fences]
            if held:
                await _claim_held(connection, held, values, claimed, is_taking_over=is_taking_over)
    return claimed


async def _claim_held(
    connection: AsyncConnection,
    node_ids: Collection[int],
    values: Mapping[str, Any],
    claimed: Claimed,
    *,
    is_taking_over: bool,
) -> None:
    """From holders that are dead, or from all: with what they left running."""
    holders = await _holders_to_outlive(connection, node_ids, is_taking_over=is_taking_over)
    if not holders:
        return
    where = [] if is_taking_over else [_is_free({holder for holder, _ in holders.values()})]
    taken = await _claim_where(connection, sorted(holders), values, *where)
    claimed.fences.update(taken)
    claimed.outlived.update({each: until for each in taken if (until := holders[each][1]) is not None})
    await interrupt_steps(connection, sorted(taken))


async def _claim_where(
    connection: AsyncConnection, node_ids: Collection[int], values: Mapping[str, Any], *where: ColumnElement[bool]
) -> dict[int, int]:
    found = update_in_order(Node, Node.id.in_(node_ids), *where).values(values).returning(Node.id, Node.fence)
    return {row.id: row.fence for row in await connection.execute(found)}


async def release_nodes(engine: Engine, holds: Sequence[Hold], *, last: str | None = None) -> None:
    """Let go of what is still held. ``last``: this worker holds nothing more, and its row goes too."""
    async with engine.transaction() as connection:
        await _be_impatient(connection)
        for hold in holds:
            await update_held(connection, hold, hold.fences, FREE)
        if last is not None:
            await connection.execute(delete(Worker).where(Worker.id == last))


async def release_strays(engine: Engine, worker: str, node_ids: Collection[int]) -> None:
    """Let go of nodes that this worker may hold without knowing it: the answer to its claim was lost."""
    async with engine.transaction() as connection:
        for chunk in chunks(sorted(node_ids)):
            await connection.execute(update_in_order(Node, Node.id.in_(chunk), Node.worker == worker).values(FREE))


async def find_holders(engine: Engine, node_ids: Collection[int]) -> dict[int, Holder]:
    """Who holds each of these nodes, by its id; a node that is free is left out."""
    named = select(
        Node.id, Node.worker, Worker.login, Worker.host, Worker.pid, Node.claimed_for, Node.claimed_at, _is_alive()
    ).outerjoin_from(Node, Worker, Worker.id == Node.worker)
    holders: dict[int, Holder] = {}
    async with engine.reading() as connection:
        for chunk in chunks(sorted(node_ids)):
            rows = await connection.execute(named.where(Node.id.in_(chunk), Node.worker.is_not(None)))
            for node_id, worker, login, host, pid, what, at, is_alive in rows:
                name = f"{login}@{host} (process {pid})" if login else f"process {worker}"
                holders[node_id] = Holder(
                    worker=str(worker), name=name, claimed_for=what, claimed_at=at, is_alive=bool(is_alive)
                )
    return holders


async def find_workers(engine: Engine) -> dict[str, datetime]:
    """Every worker that is believed to live and holds live nodes, and until when."""
    is_busy = exists().where(Node.worker == Worker.id, Node.state.in_(sorted(LIVE)))
    beating = select(Worker.id, Worker.beat_until).where(Worker.beat_until > database_now(), is_busy)
    leased = Node.worker.is_not(None), Node.lease_until > database_now(), Node.lease_until < UNTIL_LET_GO
    before = select(Node.worker, func.max(Node.lease_until)).where(*leased, Node.state.in_(sorted(LIVE)))
    async with engine.reading() as connection:
        rows = [*await connection.execute(beating), *await connection.execute(before.group_by(Node.worker))]
    return {worker: until for worker, until in rows if worker is not None and until is not None}


async def forget_workers(engine: Engine) -> None:
    """Remove workers that were silent for a day and hold nothing."""
    is_idle = ~exists().where(Node.worker == Worker.id)
    async with engine.transaction() as connection:
        await connection.execute(delete(Worker).where(Worker.beat_until < database_later(-FORGOTTEN_S), is_idle))


async def _beat(connection: AsyncConnection, worker: WorkerFacts, lease_s: float) -> None:
    until = database_later(lease_s)
    row = _INSERTS[connection.dialect.name](Worker).values(
        **asdict(worker), started_at=database_now(), beat_until=until
    )
    await connection.execute(row.on_conflict_do_update(index_elements=["id"], set_={"beat_until": until}))


async def _holders_to_outlive(
    connection: AsyncConnection, node_ids: Collection[int], *, is_taking_over: bool
) -> dict[int, tuple[str, datetime | None]]:
    """Who holds these nodes, and until when it was believed to live: those that are dead, or all, by node id.

    Asked before the update, not within it: an update that has waited for a row looks at the row anew, but at the
    workers as they were before its wait, and would take a worker for dead that registered meanwhile.
    """
    holders = select(Node.id, Node.worker, HELD_UNTIL).outerjoin_from(Node, Worker, Worker.id == Node.worker)
    where = [Node.id.in_(node_ids), Node.worker.is_not(None)] + ([] if is_taking_over else [~_is_alive()])
    return {node_id: (str(worker), until) for node_id, worker, until in await connection.execute(holders.where(*where))}


async def _be_impatient(connection: AsyncConnection) -> None:
    """A row that a session of somebody else's keeps locked is not waited for as long as the database is.

    SQLite has no locks of rows; its one writer is waited for as the settings say.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(IMPATIENTLY)


def _is_alive() -> ColumnElement[bool]:
    """The holder of a node has said so lately, in the way of this release or of the one before."""
    leased = and_(Node.lease_until > database_now(), Node.lease_until < UNTIL_LET_GO)
    return or_(
        and_(Worker.id.is_not(None), Worker.beat_until > database_now()),
        and_(Worker.id.is_(None), func.coalesce(leased, False)),
    )


def _is_free(dead: Collection[str]) -> ColumnElement[bool]:
    ran_out = or_(Node.lease_until.is_(None), Node.lease_until < database_now(), Node.lease_until >= UNTIL_LET_GO)
    return or_(Node.worker.is_(None), and_(Node.worker.in_(sorted(dead)), ran_out))
