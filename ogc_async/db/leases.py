"""Leases: which process works on a node, and until when the others believe that it lives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from ogc_async.db.engine import Engine
from ogc_async.db.locking import update_in_order
from ogc_async.db.models import Node, now
from ogc_async.db.nodes import chunks
from ogc_async.types import LIVE


@dataclass(frozen=True, slots=True)
class Hold:
    """A lease as its holder writes it."""

    worker: str
    until: datetime


async def take_leases(engine: Engine, node_ids: Collection[int], hold: Hold) -> set[int]:
    """Take the nodes that nobody else holds, or whose holder has been silent for too long; the ids taken."""
    taken: set[int] = set()
    is_free = or_(Node.worker.is_(None), Node.worker == hold.worker, Node.lease_until < now())
    async with engine.transaction() as connection:
        for chunk in chunks(sorted(node_ids)):
            statement = update_in_order(Node, Node.id.in_(chunk), is_free).values(_values(hold)).returning(Node.id)
            taken.update((await connection.scalars(statement)).all())
    return taken


async def renew_leases(engine: Engine, hold: Hold) -> None:
    """Say that the holder still lives."""
    async with engine.transaction() as connection:
        values = {"lease_until": hold.until, "updated_at": Node.updated_at}
        await connection.execute(update_in_order(Node, Node.worker == hold.worker).values(values))


async def end_leases(engine: Engine, worker: str) -> None:
    """Let go of everything that this worker holds."""
    async with engine.transaction() as connection:
        values = {"worker": None, "lease_until": None, "updated_at": Node.updated_at}
        await connection.execute(update_in_order(Node, Node.worker == worker).values(values))


async def find_leases(engine: Engine) -> dict[str, datetime]:
    """Every worker that is believed to live and holds live nodes, and until when."""
    is_held = Node.worker.is_not(None), Node.lease_until > now(), Node.state.in_(sorted(LIVE))
    statement = select(Node.worker, func.max(Node.lease_until)).where(*is_held).group_by(Node.worker)
    async with engine.reading() as connection:
        rows = (await connection.execute(statement)).all()
    return {worker: until for worker, until in rows if worker is not None and until is not None}


def _values(hold: Hold) -> dict[str, object]:
    # `updated_at` tells how old a state is; a lease changes no state.
    return {"worker": hold.worker, "lease_until": hold.until, "updated_at": Node.updated_at}
