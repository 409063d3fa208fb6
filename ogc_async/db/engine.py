"""One database: where it is, a connection pool for each event loop, and what its errors mean."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, NullPool, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.errors import DatabaseUnavailable, NotMigrated, StoreError
from ogc_async.settings import Settings, load_settings, supported_url

log = logging.getLogger(__name__)

TIMEOUT_S = 60.0
READ_ONLY = "ogc_read_only"
WRITES_LATE = "ogc_writes_late"
NO_WRITE = ("SELECT", "BEGIN")
UNDEFINED = {"42P01", "42703"}
"""PostgreSQL's codes for an undefined table and an undefined column."""


class Engine:
    """One database, by its URL. Opens nothing until it is used, and then a pool of its own in each event loop."""

    def __init__(self, url: URL, settings: Settings) -> None:
        self.url = url
        self._settings = settings
        self._local: LoopLocal[AsyncEngine] = LoopLocal(self._open, AsyncEngine.dispose)
        self._turns: LoopLocal[anyio.Lock | nullcontext[None]] = LoopLocal(self._make_turns, _forget)

    def connection_engine(self) -> AsyncEngine:
        """SQLAlchemy's engine of the running loop."""
        return self._local.get()

    def session_engine(self) -> AsyncEngine:
        """The same for sessions: they stay open at their user's leisure, and lock a SQLite database once they write."""
        return self.connection_engine().execution_options(**{WRITES_LATE: True})

    async def aclose(self) -> None:
        """Close the running loop's connections; the engine may be used again."""
        await self._local.aclose()
        await self._turns.aclose()

    @asynccontextmanager
    async def transaction(self, timeout_s: float | None = TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction: committed at the end of the block, rolled back where it raises.

        Blocks are short, so a scope that is cancelled waits for their end, which costs less than a connection broken
        off in the middle of a statement; after ``timeout_s`` seconds the database counts as down.
        """
        with self.told_errors(), anyio.fail_after(timeout_s, shield=True):
            async with self._turns.get(), self.connection_engine().begin() as connection:
                yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that only reads, and so waits for no writer."""
        with self.told_errors(), anyio.fail_after(TIMEOUT_S, shield=True):
            async with self.connection_engine().connect() as plain:
                yield await plain.execution_options(**{READ_ONLY: True})

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

    def __repr__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _open(self) -> AsyncEngine:
        return _open_sqlite(self.url, self._settings) if self._is_sqlite() else _open_postgres(self.url, self._settings)

    def _make_turns(self) -> anyio.Lock | nullcontext[None]:
        # SQLite has one writer at a time, and lets the others find out by waking up again and again, in no order:
        # fifty of them got half as far as one. In turn, each opens its connection when it may write at once.
        return anyio.Lock() if self._is_sqlite() else nullcontext()

    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def _meaning(self, error: Exception) -> StoreError | None:
        """What a database error means to the user, or nothing where only its own words fit (a broken constraint)."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = str(cause).strip() or type(cause).__name__
        if getattr(cause, "sqlstate", None) in UNDEFINED or "no such table" in text or "no such column" in text:
            return NotMigrated(text.splitlines()[0])
        if isinstance(cause, OSError | PoolTimeout) or _is_refused(cause, text):
            return DatabaseUnavailable(f"{self!r} does not answer: {text.splitlines()[0]}; {self._advice()}")
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


def _open_sqlite(url: URL, settings: Settings) -> AsyncEngine:
    """No pool: an idle aiosqlite connection is a thread, and one that nobody closes would hold up the program's end."""
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": settings.ogc_database_timeout_s})

    @event.listens_for(engine.sync_engine, "do_connect")
    def make_folder(_dialect: Any, _record: Any, args: list[Any], _named: Any) -> None:
        if args and args[0] != ":memory:":
            Path(args[0]).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # The driver's own idea of when to begin is switched off; `begin` below says it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail where another process wrote in between.
        options = connection.get_execution_options()
        if not options.get(WRITES_LATE):
            connection.exec_driver_sql("BEGIN" if options.get(READ_ONLY) else "BEGIN IMMEDIATE")

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def begin_late(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        # Until then each statement sees what is committed by then, as on PostgreSQL.
        word = statement.lstrip()[:6].upper()
        if word.startswith(NO_WRITE) or not connection.get_execution_options().get(WRITES_LATE):
            return
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


async def _forget(_: object) -> None:
    """Nothing to close."""


def _is_refused(cause: BaseException | None, text: str) -> bool:
    state = str(getattr(cause, "sqlstate", "") or "")
    # Class 08: connection, 28: authorization, 3D000: no such database, 53: resources, 57P: operator intervention.
    if state.startswith(("08", "28", "3D", "53", "57P")):
        return True
    sqlite_says = ("unable to open database", "database is locked", "readonly database", "not a database", "disk I/O")
    return any(words in text for words in sqlite_says)
