"""The embedded database: how SQLite is opened, when its transactions begin, and that nothing is broken off in it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import URL, Connection, NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ogc_async.aio.finish import outlast

T = TypeVar("T")

READ_ONLY = "ogc_read_only"
WRITES_LATE = "ogc_writes_late"
NO_WRITE = ("SELECT", "BEGIN")
CURSOR_ROWS = 64
LOCKED_PAUSE_S = 0.02


class SteadyConnection(aiosqlite.Connection):
    """A connection whose caller, if cancelled, waits for the operation under way, which no one could call back.

    The driver's own leaves the operation to its thread, which then answers a loop that may be closed, or is waited for
    without end by whoever closes the connection. An operation takes ``timeout`` seconds at most: that is how long
    SQLite waits for another writer.
    """

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if not self._running or self._connection is None:
            raise ValueError("Connection closed")
        return await outlast(self._submit(lambda: fn(*args, **kwargs)))

    async def _connect(self) -> SteadyConnection:
        opening = self._submit(self._connector)
        try:
            self._connection = await outlast(opening)
        except BaseException:
            if not opening.exception():
                self._connection = opening.result()
            await self._end()
            raise
        return self

    async def close(self) -> None:
        """Close the file and end the thread. Closed already is fine."""
        if self._connection is not None:
            await self._end()

    async def _end(self) -> None:
        ended = self.stop()
        if ended is not None:
            await outlast(ended)

    def _submit(self, operation: Callable[[], T]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((answer, operation))
        return answer


def open_sqlite(url: URL, timeout_s: float) -> AsyncEngine:
    """No pool: an idle connection is a thread, and one that nobody closes would hold up the program's end."""

    def connect(*args: Any, **named: Any) -> SteadyConnection:
        connection = SteadyConnection(lambda: _open_file(timeout_s, *args, **named), CURSOR_ROWS)
        # A program that ends in disorder is not held up by it.
        connection._thread.daemon = True
        return connection

    engine = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": timeout_s, "async_creator_fn": connect}
    )

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


def _open_file(timeout_s: float, path: str, **named: Any) -> sqlite3.Connection:
    """Open the file, and make its folder where need be. On the connection's thread, which may wait."""
    if path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection: sqlite3.Connection = sqlite3.connect(path, **named)
    try:
        # The driver's own idea of when to begin is switched off: `open_sqlite` says it.
        connection.isolation_level = None
        _log_ahead(connection, timeout_s)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _log_ahead(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Readers and one writer side by side. SQLite does not wait to switch to this where others have the file open."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(LOCKED_PAUSE_S)
