"""The one user on record."""

from __future__ import annotations

from uuid import uuid4

from slugify import slugify
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.db.engine import Engine
from ogc_async.db.models import User, now
from ogc_async.errors import NoUser, StoreError
from ogc_async.types import UserSnapshot

MAX_SLUG = 40
"""A slug is a tag's and a label's value, and part of resources' names, in every cloud."""

FIRST = select(User.id, User.name, User.slug, User.scope).order_by(User.id).limit(1)


async def current_user(engine: Engine) -> UserSnapshot:
    """The first user on record. Raises ``NoUser``."""
    async with engine.reading() as connection:
        found = await _first(connection)
    if found is None:
        raise NoUser
    return found


async def create_user(engine: Engine, name: str) -> tuple[UserSnapshot, bool]:
    """Put a user on record where there is none; returns the one on record, and whether it is new."""
    slug = slugify(name, max_length=MAX_SLUG)
    if not slug:
        raise StoreError(f"user name {name!r}: needs at least one letter or digit")
    async with engine.transaction() as connection:
        if connection.dialect.name == "postgresql":
            # SQLite's transaction is alone from its start; here two processes could both find no user.
            await connection.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
        found = await _first(connection)
        if found is not None:
            return found, False
        scope = uuid4().hex
        row = insert(User).values(name=name, slug=slug, scope=scope, created_at=now()).returning(User.id)
        user_id = (await connection.execute(row)).scalar_one()
    return UserSnapshot(user_id, name, slug, scope), True


async def _first(connection: AsyncConnection) -> UserSnapshot | None:
    row = (await connection.execute(FIRST)).one_or_none()
    return UserSnapshot(*row) if row is not None else None
