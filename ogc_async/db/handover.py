"""A fleet's rows on their way from one database to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select

from ogc_async.db.engine import Engine
from ogc_async.db.models import Node, User, now
from ogc_async.db.nodes import chunks
from ogc_async.errors import StoreError
from ogc_async.types import UserSnapshot


async def take_over(engine: Engine, user: UserSnapshot, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put the user and those of the nodes on record whose names are new here, in one transaction; their names.

    Raises ``StoreError`` where another user is on record already: machines carry their user's tags.
    """
    moment = now()
    async with engine.transaction() as connection:
        there = (await connection.execute(select(User.id, User.slug, User.scope).order_by(User.id))).first()
        if there is not None and (there.slug, there.scope) != (user.slug, user.scope):
            raise StoreError(
                f"this database has a user of its own, {there.slug}; take the fleet over into an empty one"
                " (another OGC_DATA_DIR or POSTGRES_DB)"
            )
        if there is None:
            row = insert(User).values(name=user.name, slug=user.slug, scope=user.scope, created_at=moment)
            user_id = (await connection.execute(row.returning(User.id))).scalar_one()
        else:
            user_id = there.id
        known: set[str] = set()
        for chunk in chunks([node["name"] for node in nodes]):
            known.update((await connection.scalars(select(Node.name).where(Node.name.in_(chunk)))).all())
        rows = [{**node, "user_id": user_id, "updated_at": moment} for node in nodes if node["name"] not in known]
        for part in chunks(rows):
            await connection.execute(insert(Node), part)
    return [row["name"] for row in rows]
