"""The embedded database: how SQLite is opened, when its transactions begin, and that nothing is broken off in it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import aiosqlite
from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, PoolResetState, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ogc_async.aio.finish import outlast

T = TypeVar("T")

VERSION_TABLE = "alembic_version"
WRITES_LATE = "ogc_writes_late"
NO_WRITE = ("SELECT", "PRAGMA")
AT_ONCE_ROWS = 1000
"""Rows read in a statement's own visit to the thread; more are read as they are asked for."""
KEPT_OPEN = 2
"""Connections that wait for their next use: a writer's, since a process writes one transaction at a time, and a
reader's."""
LOCKED_PAUSE_S = 0.02


class SteadyConnection(aiosqlite.Connection):
    """A connection whose caller, if cancelled, waits for the operation under way, which no one could call back.

    The driver's own leaves the operation to its thread, which then answers a loop that may be closed, or is waited for
    without end by whoever closes the connection. An operation takes ``timeout`` seconds at most: that is how long
    SQLite waits for another writer.
    """

    def __init__(self, path: str, timeout_s: float, **named: Any) -> None:
        super().__init__(lambda: _open_file(path, timeout_s, **named), AT_ONCE_ROWS)
        self._path = path
        self._file: tuple[int, int] | None = None
        self._is_to_begin = False
        # A program that ends in disorder is not held up by it.
        self._thread.daemon = True

    def __del__(self) -> None:
        """A program that never closes its database ends all the same, and quietly: what it wrote is committed."""
        if self._connection is not None:
            self.stop()

    @property
    def is_in_place(self) -> bool:
        """The file that is open is still the one at its path: what is written to another would be lost."""
        return self._file == _identity(self._path)

    def cursor(self) -> SteadyCursor:  # type: ignore[override]  # opened by its first statement: nothing to await
        """For one statement after another."""
        return SteadyCursor(self)

    def begin(self) -> None:
        """Begin a transaction that writes, with its first statement: until then there is nothing to wait for."""
        self._is_to_begin = True

    def forget_to_begin(self) -> None:
        """The transaction is over before its first statement."""
        self._is_to_begin = False

    async def visit(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Have the connection's thread do all of ``act``. Raises what SQLite raises."""
        return await self._execute(lambda: act(self._conn))

    async def commit(self) -> None:
        """End the transaction, where one has begun."""
        self.forget_to_begin()
        if self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """Undo the transaction, where one has begun."""
        self.forget_to_begin()
        if self.in_transaction:
            await super().rollback()

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if not self._running or self._connection is None:
            raise ValueError("Connection closed")

        def whole() -> T:
            if self._is_to_begin:
                self._conn.execute("BEGIN IMMEDIATE")
                self._is_to_begin = False
            return fn(*args, **kwargs)

        return await outlast(self._submit(whole))

    async def _connect(self) -> SteadyConnection:
        opening = self._submit(self._connector)
        try:
            self._connection = await outlast(opening)
        except BaseException:
            if not opening.exception():
                self._connection = opening.result()
            await self._end()
            raise
        self._file = _identity(self._path)
        return self

    async def close(self) -> None:
        """Close the file and end the thread. Closed already is fine."""
        if self._connection is not None:
            await self._end()

    def stop(self) -> asyncio.Future[None] | None:
        """Close the file and end the thread, in which nobody is left to wait for the answer."""
        self._tx.put_nowait((None, self._undo))
        return super().stop()

    def _undo(self) -> None:
        # Whoever was broken off between two statements has left a transaction, and its lock on the file.
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()

    async def _end(self) -> None:
        ended = self.stop()
        if ended is not None:
            await outlast(ended)

    def _submit(self, operation: Callable[[], T]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((answer, operation))
        return answer


class SteadyCursor:
    """A statement is run, read to its end and closed in one visit to the connection's thread.

    The driver's own cursor takes four visits, and each costs both threads a wake-up. What SQLAlchemy asks of a cursor
    is here, under the names of PEP 249. Many rows take further visits, as they are asked for.
    """

    arraysize = 1

    def __init__(self, connection: SteadyConnection) -> None:
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._connection = connection
        self._rows: deque[Any] = deque()
        self._unread: sqlite3.Cursor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def execute(self, sql: str, parameters: Any = ()) -> Self:
        """Run a statement."""
        await self._run(lambda cursor: cursor.execute(sql, parameters))
        return self

    async def executemany(self, sql: str, parameters: Any) -> Self:
        """Run a statement once for each set of parameters."""
        await self._run(lambda cursor: cursor.executemany(sql, parameters))
        return self

    async def fetchone(self) -> Any:
        """The next row, or ``None``."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """So many rows, or those that are left."""
        wanted = size or self.arraysize
        if len(self._rows) < wanted:
            await self._read(max(wanted, AT_ONCE_ROWS))
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    async def fetchall(self) -> list[Any]:
        """All rows that are left."""
        await self._read(None)
        rows, self._rows = list(self._rows), deque()
        return rows

    async def close(self) -> None:
        """Forget the rows that nobody has asked for."""
        self._rows.clear()
        unread, self._unread = self._unread, None
        if unread is not None:
            await self._connection.visit(lambda _: unread.close())

    async def _run(self, act: Callable[[sqlite3.Cursor], object]) -> None:
        await self.close()

        def whole(connection: sqlite3.Connection) -> None:
            cursor = connection.cursor()
            try:
                act(cursor)
                self._take(cursor, AT_ONCE_ROWS)
            except BaseException:
                cursor.close()
                raise

        await self._connection.visit(whole)

    async def _read(self, most: int | None) -> None:
        unread = self._unread
        if unread is not None:
            await self._connection.visit(lambda _: self._take(unread, most))

    def _take(self, cursor: sqlite3.Cursor, most: int | None) -> None:
        """Read so many rows, or all that are left, and close the cursor with the last one. On the thread."""
        rows: list[Any] = []
        if cursor.description:
            rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
        self._rows.extend(rows)
        self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
        is_read = most is None or len(rows) < most
        self._unread = None if is_read else cursor
        if is_read:
            cursor.close()


def open_sqlite(url: URL, timeout_s: float) -> AsyncEngine:
    """A few connections stay open: to open one takes a thread and three times as long as a small transaction."""

    def connect(path: str, **named: Any) -> SteadyConnection:
        return SteadyConnection(path, timeout_s, **named)

    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=KEPT_OPEN,
        # Readers wait for nobody.
        max_overflow=-1,
        # To roll back what is no transaction takes a turn of the thread all the same: `_tidy` looks first.
        pool_reset_on_return=None,
        connect_args={"timeout": timeout_s, "async_creator_fn": connect},
    )

    event.listen(engine.sync_engine, "checkout", _check)
    event.listen(engine.sync_engine, "reset", _tidy)
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "before_cursor_execute", _begin_late)
    return engine


def _check(connection: Any, _record: Any, _proxy: Any) -> None:
    if not connection.driver_connection.is_in_place:
        raise DisconnectionError("another file is in its place by now")


def _tidy(connection: Any, _record: Any, state: PoolResetState) -> None:
    connection.driver_connection.forget_to_begin()
    if state.asyncio_safe and connection.driver_connection.in_transaction:
        connection.rollback()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail where another process wrote in between.
    if not _writes_late(connection):
        _driver(connection).begin()


def _begin_late(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
    # Until then each statement sees what is committed by then, as on PostgreSQL.
    is_writing = statement.lstrip()[:6].upper() not in NO_WRITE
    if is_writing and _writes_late(connection) and not _driver(connection).in_transaction:
        _driver(connection).begin()


def _writes_late(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITES_LATE))


def _driver(connection: Connection) -> SteadyConnection:
    return cast("SteadyConnection", connection.connection.driver_connection)


def _open_file(path: str, timeout_s: float, **named: Any) -> sqlite3.Connection:
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


def _identity(path: str) -> tuple[int, int] | None:
    """Of the file at this path, if there is one."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _log_ahead(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Readers and one writer side by side. SQLite does not wait to switch to this where others have the file open.

    Another program's file stays as it is: the switch is written into it.
    """
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
        try:
            if _is_foreign(connection):
                return
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(LOCKED_PAUSE_S)


def _is_foreign(connection: sqlite3.Connection) -> bool:
    """It has tables, and no migration was ever noted among them."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return bool(names) and VERSION_TABLE not in names
