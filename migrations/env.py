"""Alembic's entry: on the connection it is handed by ``db.migrate``, or from the shell on the settings' database."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from ogc_async.db.engine import connect
from ogc_async.db.models import Base, Moment
from ogc_async.db.schema import alone


def render_item(_kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Migrations outlive the models, so they name the database's types only."""
    return "sa.DateTime(timezone=True)" if isinstance(item, Moment) else False


def run(connection: Connection) -> None:
    # SQLite can not alter a column in place: batch mode copies the table.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_from_shell() -> None:
    engine = connect()
    try:
        await alone(engine, run)
    finally:
        await engine.aclose()


def print_sql() -> None:
    context.configure(
        url=connect().url, target_metadata=Base.metadata, literal_binds=True, dialect_opts={"paramstyle": "named"}
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
elif context.is_offline_mode():
    print_sql()
else:
    asyncio.run(run_from_shell())
