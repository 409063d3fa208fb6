"""An empty database, Alembic's commands on it, and what distinguishes its tables from the models'."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, insert, select

from ogc_async import db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.models import Base
from ogc_async.settings import Settings

ROOT = Path(__file__).parents[2]
REVISIONS = [each.revision for each in ScriptDirectory(str(ROOT / "migrations")).walk_revisions()][::-1]
"""Every one, the first one first: releases to come are tested as soon as they have a migration."""
*EARLIER, HEAD = REVISIONS

Row = dict[str, Any]
Tables = dict[str, list[Row]]


@pytest.fixture
def empty(empty_environment: dict[str, str]) -> Engine:
    values = {name.lower(): value for name, value in empty_environment.items()}
    return db.connect(settings=Settings(_env_file=None, **values))


@blocking
async def alembic_async(engine: Engine, what: str, revision: str) -> None:
    """One of Alembic's commands, on the engine's database."""

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(ROOT / "migrations"))
        config.attributes["connection"] = connection
        getattr(command, what)(config, revision)

    async with engine.transaction(is_checked=False) as connection:
        await connection.run_sync(run)


@blocking
async def differences_async(engine: Engine) -> list[Any]:
    """What autogeneration would change to get from the database's tables to the models'."""

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(compare)


def reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


@blocking
async def write_async(engine: Engine, rows: Tables) -> None:
    """Put them into the tables that there are, as far as these have the columns."""

    def write(connection: Connection) -> None:
        for table in reflected(connection).sorted_tables:
            for row in rows.get(table.name, []):
                # Ids count up from 1, as they do for a release that writes.
                own = {name: value for name, value in row.items() if name in table.c and name != "id"}
                values = {name: _native(connection, value) for name, value in own.items()}
                connection.execute(insert(table).values(values))

    async with engine.transaction(is_checked=False) as connection:
        await connection.run_sync(write)


@blocking
async def read_async(engine: Engine) -> Tables:
    """Every row of every table, as the database's own types have it."""

    def read(connection: Connection) -> Tables:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in reflected(connection).sorted_tables
            if table.name != "alembic_version"
        }

    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(read)


def _native(connection: Connection, value: Any) -> Any:
    """SQLite keeps times without their zone, which is UTC."""
    if isinstance(value, datetime) and connection.dialect.name == "sqlite":
        return value.replace(tzinfo=None)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
