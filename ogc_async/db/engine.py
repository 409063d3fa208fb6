"""One database: where it is, a connection pool for each event loop, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext

import anyio
from sqlalchemy import URL, AsyncAdaptedQueuePool, inspect
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.db.revisions import RECORDED, known_migrations
from ogc_async.db.sqlite import WRITES_LATE, open_sqlite
from ogc_async.errors import DatabaseUnavailable, NotMigrated, StoreError
from ogc_async.settings import Settings, load_settings, supported_url

log = logging.getLogger(__name__)

TIMEOUT_S = 60.0
UNDEFINED = {"42P01", "42703"}
"""PostgreSQL's codes for an undefined table and an undefined column."""
UNDEFINED_IN_SQLITE = ("no such table", "no such column", "has no column named")


class Engine:
    """One database, by its URL. Opens nothing until it is used, and then a pool of its own in each event loop.

    ``is_current``: its tables are known to be this release's. The first use looks, with one statement; whoever changes
    the tables sets it.
    """

    def __init__(self, url: URL, settings: Settings) -> None:
        self.url = url
        self.is_current = False
        self._settings = settings
        self._local: LoopLocal[AsyncEngine] = LoopLocal(self._open, AsyncEngine.dispose)
        self._writing: LoopLocal[asyncio.Lock] = LoopLocal(asyncio.Lock)
        self._looking: LoopLocal[asyncio.Lock] = LoopLocal(asyncio.Lock)

    def connection_engine(self) -> AsyncEngine:
        """SQLAlchemy's engine of the running loop."""
        return self._local.get()

    def session_engine(self) -> AsyncEngine:
        """The same for sessions: they stay open at their user's leisure, and lock a SQLite database once they write."""
        return self.connection_engine().execution_options(**{WRITES_LATE: True})

    async def aclose(self) -> None:
        """Close the running loop's connections; the engine may be used again."""
        await self._local.aclose()
        await self._writing.aclose()
        await self._looking.aclose()

    async def check(self, timeout_s: float | None = TIMEOUT_S) -> None:
        """Refuse tables that are not this release's, before anything is read from them or written to them.

        Raises ``NotMigrated``, ``SchemaTooNew`` or ``ForeignTables``. What is well is asked once an engine.
        """
        if not self.is_current:
            async with self._bounded(timeout_s), self._looking.get():
                await self._look()

    @asynccontextmanager
    async def transaction(
        self, timeout_s: float | None = TIMEOUT_S, *, is_checked: bool = True
    ) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction: committed at the end of the block, rolled back where it raises.

        Blocks are short, so a scope that is cancelled waits for their end, which costs less than a connection broken
        off in the middle of a statement; after ``timeout_s`` seconds the database counts as down. Unless it
        ``is_checked``, the tables may be of any revision, or missing.
        """
        if is_checked:
            await self.check(timeout_s)
        async with self._bounded(timeout_s), self._turn(), self.connection_engine().begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self, *, is_checked: bool = True) -> AsyncIterator[AsyncConnection]:
        """A connection that only reads, and so waits for no writer; what it writes all the same is rolled back."""
        if is_checked:
            await self.check()
        async with self._bounded(TIMEOUT_S), self.connection_engine().connect() as plain:
            yield await plain.execution_options(**{WRITES_LATE: True})

    @contextmanager
    def told_errors(self) -> Iterator[None]:
        """Raise the database's own errors as ours: the one place where they are mapped."""
        try:
            yield
        except (SQLAlchemyError, OSError, sqlite3.Error) as error:
            meaning = self._meaning(error)
            if meaning is None:
                raise
            raise meaning from error

    def _turn(self) -> AbstractAsyncContextManager[object]:
        """In line to write to SQLite, which has one writer at a time, and lets the others ask again and again, in no
        order: fifty of them got half as far as one.
        """
        return self._writing.get() if self._is_sqlite() else nullcontext()

    @asynccontextmanager
    async def _bounded(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Shielded from scopes, and ended once the time is up: a deadline of anyio's would break off, again and again,
        the very cleanup that it causes, and a connection whose closing is broken off is never heard of again.
        """
        with self.told_errors(), anyio.CancelScope(shield=True):
            async with asyncio.timeout(timeout_s):
                yield

    async def _look(self) -> None:
        # Others may have looked while this task waited for its turn.
        if not self.is_current:
            async with self.connection_engine().connect() as plain:
                await _refuse_other_revisions(await plain.execution_options(**{WRITES_LATE: True}))
            self.is_current = True

    def __repr__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _open(self) -> AsyncEngine:
        if self._is_sqlite():
            return open_sqlite(self.url, self._settings.ogc_database_timeout_s)
        return _open_postgres(self.url, self._settings)

    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def _meaning(self, error: Exception) -> StoreError | None:
        """What a database error means to the user, or nothing where only its own words fit (a broken constraint)."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = str(cause).strip() or type(cause).__name__
        if _is_undefined(cause, said):
            return NotMigrated(said.splitlines()[0])
        if isinstance(cause, OSError | PoolTimeout) or isinstance(error, InterfaceError) or _is_refused(cause, said):
            return DatabaseUnavailable(f"{self!r} does not answer: {said.splitlines()[0]}; {self._advice()}")
        return None

    def _advice(self) -> str:
        if self._is_sqlite():
            return "check that its folder can be written to (OGC_DATA_DIR, OGC_DATABASE_URL)"
        return "check that the server runs and the POSTGRES_* variables (or OGC_DATABASE_URL) fit it"


def connect(url: str | URL | None = None, *, settings: Settings | None = None) -> Engine:
    """The database at ``url``, or else the settings' own. Opens nothing and writes nothing.

    Raises :class:`~ogc_async.errors.SettingsError` where the URL is not one of PostgreSQL or SQLite.
    """
    chosen = settings or load_settings()
    engine = Engine(supported_url(url) if url is not None else chosen.database_url(), chosen)
    log.info("database: %r", engine)
    return engine


def _open_postgres(url: URL, settings: Settings) -> AsyncEngine:
    return create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=settings.ogc_database_pool,
        max_overflow=0,
        pool_timeout=settings.ogc_database_timeout_s,
        pool_pre_ping=True,
        connect_args={"timeout": settings.ogc_database_timeout_s},
    )


async def _refuse_other_revisions(connection: AsyncConnection) -> None:
    try:
        recorded = (await connection.scalars(RECORDED)).all()
    except DBAPIError as error:
        if not _is_undefined(error.orig, str(error.orig)):
            raise
        # PostgreSQL hears nothing more in a transaction with a statement that failed.
        await connection.rollback()
        raise known_migrations().unrecorded(await _table_names(connection)) or error from None
    objection = known_migrations().objection(recorded, [] if recorded else await _table_names(connection))
    if objection is not None:
        raise objection


async def _table_names(connection: AsyncConnection) -> list[str]:
    return await connection.run_sync(lambda plain: inspect(plain).get_table_names())


def _is_undefined(cause: BaseException | None, said: str) -> bool:
    """A table or a column is not there."""
    return getattr(cause, "sqlstate", None) in UNDEFINED or any(words in said for words in UNDEFINED_IN_SQLITE)


def _is_refused(cause: BaseException | None, said: str) -> bool:
    state = str(getattr(cause, "sqlstate", "") or "")
    # Class 08: connection, 25006: read-only, 25P03: idle for too long, 28: authorization, 3D000: no such database,
    # 40: deadlock, 42501: a privilege, 53: resources, 55P03: a lock that is not granted in time, 57: cancelled, or
    # operator intervention.
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    if state.startswith(("08", "25006", "25P03", "28", "3D", "40", "42501", "53", "55P03", "57")):
        return True
    sqlite_says = (
        "unable to open database",
        "database is locked",
        "readonly database",
        "not a database",
        "disk I/O",
        "disk is full",
    )
    return any(words in said for words in sqlite_says)
