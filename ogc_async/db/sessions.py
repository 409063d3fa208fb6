"""Sessions for both worlds: ``async with session as s`` in a loop, ``with session as s`` in plain code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Executable, Result, ScalarResult, select
from sqlalchemy.ext.asyncio import AsyncSession

from ogc_async.db.engine import Engine
from ogc_async.errors import InsideEventLoop

T = TypeVar("T")
Entity = TypeVar("Entity")


class Session(AsyncSession):
    """SQLAlchemy's ``AsyncSession``, and :meth:`select`."""

    async def select(self, entity: type[Entity], *where: ColumnElement[bool]) -> ScalarResult[Entity]:
        """The rows of one table that meet every condition, in the order they were made."""
        key = entity.__mapper__.primary_key  # type: ignore[attr-defined]  # set by SQLAlchemy on mapped classes
        return await self.scalars(select(entity).where(*where).order_by(*key))


class BlockingSession:
    """The same, for plain code: every method waits for its answer."""

    def __init__(self, engine: Engine) -> None:
        self._runner = asyncio.Runner()
        try:
            self._session = self._run(_open(engine))
        except BaseException:
            self._runner.close()
            raise

    def select(self, entity: type[Entity], *where: ColumnElement[bool]) -> ScalarResult[Entity]:
        """The rows of one table that meet every condition: ``.first()``, ``.all()``, ``.one()``, or iterate."""
        return self._run(self._session.select(entity, *where))

    def get(self, entity: type[Entity], key: Any) -> Entity | None:
        """The row with that primary key."""
        return self._run(self._session.get(entity, key))

    def execute(self, statement: Executable, parameters: Any = None) -> Result[Any]:
        """Run any statement."""
        return self._run(self._session.execute(statement, parameters))

    def scalar(self, statement: Executable) -> Any:
        """The first column of the first row."""
        return self._run(self._session.scalar(statement))

    def scalars(self, statement: Executable) -> ScalarResult[Any]:
        """The first column of every row."""
        return self._run(self._session.scalars(statement))

    def add(self, row: object) -> None:
        """Put a row in at the next flush or commit."""
        self._session.add(row)

    def add_all(self, rows: Iterable[object]) -> None:
        """Put rows in at the next flush or commit."""
        self._session.add_all(rows)

    def delete(self, row: object) -> None:
        """Remove a row at the next flush or commit."""
        self._run(self._session.delete(row))

    def flush(self) -> None:
        """Send what is pending, without committing it."""
        self._run(self._session.flush())

    def refresh(self, row: object) -> None:
        """Read a row anew."""
        self._run(self._session.refresh(row))

    def commit(self) -> None:
        """Make it last."""
        self._run(self._session.commit())

    def rollback(self) -> None:
        """Undo what is not committed."""
        self._run(self._session.rollback())

    def close(self) -> None:
        """Roll back what is not committed, and close the connection and the loop behind it."""
        try:
            self._run(self._session.close())
        finally:
            self._runner.close()

    def _run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self._runner.run(wait())


class SessionFactory:
    """``with`` or ``async with`` it, as often and from as many threads and tasks as needed: each block has its own.

    Raises ``NotMigrated``, ``SchemaTooNew`` or ``ForeignTables`` on entry where the tables are not this release's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._blocking = threading.local()
        self._async: ContextVar[tuple[Session, ...]] = ContextVar("sessions", default=())

    async def __aenter__(self) -> Session:
        opened = await _open(self._engine)
        self._async.set((*self._async.get(), opened))
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *outer, opened = self._async.get()
        self._async.set(tuple(outer))
        await asyncio.shield(opened.close())
        self._raise(error)

    def __enter__(self) -> BlockingSession:
        _refuse_inside_loop()
        opened = BlockingSession(self._engine)
        self._stack().append(opened)
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack().pop().close()
        self._raise(error)

    def _stack(self) -> list[BlockingSession]:
        if not hasattr(self._blocking, "stack"):
            self._blocking.stack = []
        stack: list[BlockingSession] = self._blocking.stack
        return stack

    def _raise(self, error: BaseException | None) -> None:
        """The block's own error goes on by itself, unless it is the database's and means one of ours."""
        if isinstance(error, Exception):
            with self._engine.told_errors():
                raise error


def session(engine: Engine) -> SessionFactory:
    """Sessions on ``engine``. Opens nothing yet."""
    return SessionFactory(engine)


async def _open(engine: Engine) -> Session:
    await engine.check()
    return Session(engine.session_engine(), expire_on_commit=False)


def _refuse_inside_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InsideEventLoop("with session", "async with session").with_traceback(None)
