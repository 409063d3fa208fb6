"""Making, dropping and migrating the tables."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from ogc_async.aio.blocking import blocking
from ogc_async.db.engine import Engine, connect
from ogc_async.db.models import Base
from ogc_async.db.revisions import RECORDED, known_migrations, migrations_folder
from ogc_async.db.sqlite import VERSION_TABLE
from ogc_async.errors import NotMigrated, StoreError

MIGRATION_LOCK = 0x6F67635F6D6967
"""The key of PostgreSQL's advisory lock; any number that nobody else uses."""

_PROCESS_LOCK = threading.Lock()
"""Alembic hands its scripts what they work on in variables of its modules: one migration at a time in a process."""
TURN_PAUSE_S = 0.02
"""Between two looks whether another thread or task has ended its migration: the shortest one takes about as long."""


async def createtbl_async(engine: Engine) -> None:
    """Make the tables, or bring those of an earlier release up to date; does nothing where they are current.

    Notes the newest migration as done, so that a later one starts there. Raises as :func:`migrate_async` does.
    """
    await _bring_up(engine)


async def prepare_async(engine: Engine) -> None:
    """Make the tables in a database that has none. One that has some stays as it is, and is checked.

    Raises ``NotMigrated`` for an earlier release's, and else as :func:`migrate_async` does.
    """
    await _bring_up(engine, is_filling=True)


async def droptbl_async(engine: Engine) -> None:
    """Drop every table of ours, and the note of the migrations done.

    Raises ``SchemaTooNew`` or ``ForeignTables`` where they are another release's or another program's.
    """

    def drop(connection: Connection) -> None:
        _, objection = _judged(connection)
        if objection is not None and not isinstance(objection, NotMigrated):
            raise objection
        Base.metadata.drop_all(connection)
        connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))

    await alone(engine, drop)
    engine.is_current = False


async def migrate_async(engine: Engine | None = None) -> None:
    """Bring the tables to this version's shape, from an empty database or an older one; up to date is fine.

    Any number of engines, threads and processes may do so at once: they wait for each other. No engine means the
    settings' own database. Raises ``SchemaTooNew`` where a newer release has migrated it, ``ForeignTables`` where the
    tables are another program's, and ``StoreError`` where a migration fails; the database is then as it was.
    """
    own = engine or connect()
    try:
        await _bring_up(own)
    finally:
        if engine is None:
            await own.aclose()


async def alone(engine: Engine, work: Callable[[Connection], None]) -> None:
    """Run ``work`` in one transaction, whatever the tables' revision, that no other schema change runs beside."""
    async with _turn_in_process(), engine.transaction(None, is_checked=False) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.run_sync(work)


async def _bring_up(engine: Engine, *, is_filling: bool = False) -> None:
    """Migrate to the newest revision; only an empty database, if ``is_filling``."""

    def bring_up(connection: Connection) -> None:
        recorded, objection = _judged(connection)
        if objection is None:
            return
        if not isinstance(objection, NotMigrated) or (is_filling and recorded):
            raise objection
        _upgrade(connection)

    try:
        await alone(engine, bring_up)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(f"{engine!r}: the migration failed, and the database is as it was: {said}") from error
    engine.is_current = True


def _judged(connection: Connection) -> tuple[Sequence[str], StoreError | None]:
    """The revisions on record, and what speaks against working with the tables as they are."""
    inspector = inspect(connection)
    recorded = connection.scalars(RECORDED).all() if inspector.has_table(VERSION_TABLE) else ()
    return recorded, known_migrations().objection(recorded, [] if recorded else inspector.get_table_names())


def _upgrade(connection: Connection) -> None:
    """Run the migrations up to the newest one, inside the connection's transaction."""
    # Imported here: it takes longer than all the rest of this room, and most processes never need it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"the migrations of this installation do not fit together: {error}") from error


@asynccontextmanager
async def _turn_in_process() -> AsyncIterator[None]:
    """In line with the migrations of this process's other threads, and other tasks: no loop is held up by it."""
    while not _PROCESS_LOCK.acquire(blocking=False):  # noqa: ASYNC110  # an event would belong to one loop
        await asyncio.sleep(TURN_PAUSE_S)
    try:
        yield
    finally:
        _PROCESS_LOCK.release()


createtbl = blocking(createtbl_async)
droptbl = blocking(droptbl_async)
migrate = blocking(migrate_async)
prepare = blocking(prepare_async)
