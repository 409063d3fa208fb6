"""Making, dropping and migrating the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, text

from ogc_async.aio.blocking import blocking
from ogc_async.db.engine import Engine, connect
from ogc_async.db.models import Base
from ogc_async.errors import StoreError

MIGRATION_LOCK = 0x6F67635F6D6967
"""The key of PostgreSQL's advisory lock; any number that nobody else uses."""

VERSION_TABLE = "alembic_version"


async def createtbl_async(engine: Engine) -> None:
    """Make the tables that are missing, and note the newest migration as done, so that a later one starts there."""

    def create(connection: Connection) -> None:
        Base.metadata.create_all(connection)
        _alembic("stamp", connection)

    await _alone(engine, create)


async def droptbl_async(engine: Engine) -> None:
    """Drop every table of ours, and the note of the migrations done."""

    def drop(connection: Connection) -> None:
        Base.metadata.drop_all(connection)
        connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))

    await _alone(engine, drop)


async def migrate_async(engine: Engine | None = None) -> None:
    """Bring the tables to this version's shape, from an empty database or an older one; up to date is fine.

    Two processes may do so at once: one waits for the other. No engine means the settings' own database.
    """
    own = engine or connect()
    try:
        await _alone(own, lambda connection: _alembic("upgrade", connection))
    finally:
        if engine is None:
            await own.aclose()


async def _alone(engine: Engine, work: Callable[[Connection], None]) -> None:
    """Run ``work`` in one transaction that no other schema change runs beside."""
    async with engine.transaction(None) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.run_sync(work)


def _alembic(command: str, connection: Connection) -> None:
    """Run one of Alembic's commands up to the newest migration, inside the connection's transaction."""
    # Imported here: it takes longer than all the rest of this room, and most processes never need it.
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(commands, command)(config, "head")


def _migrations() -> Path:
    """The wheel carries the scripts inside the package; a checkout has them beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError(f"no migrations found beside {package}; install the package anew")


createtbl = blocking(createtbl_async)
droptbl = blocking(droptbl_async)
migrate = blocking(migrate_async)
