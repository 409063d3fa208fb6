"""An empty database, Alembic's commands on it, and what distinguishes its tables from the models'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from ogc_async import db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.models import Base
from ogc_async.settings import Settings

ROOT = Path(__file__).parents[2]


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

    async with engine.transaction() as connection:
        await connection.run_sync(run)


@blocking
async def differences_async(engine: Engine) -> list[Any]:
    """What autogeneration would change to get from the database's tables to the models'."""

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with engine.reading() as connection:
        return await connection.run_sync(compare)
