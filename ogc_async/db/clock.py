"""The database's own clock, in its statements: processes that compare times need not agree on theirs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ogc_async.db.models import Moment

SQLITE_FORMAT = "%Y-%m-%d %H:%M:%f"
"""As a :class:`Moment` is kept there, but for its last three digits: SQLite counts milliseconds."""


class database_now(FunctionElement[datetime]):  # noqa: N801  # used like SQLAlchemy's own functions
    """This moment, by the database's clock; not the transaction's beginning, from before a wait for rows."""

    type = Moment()
    inherit_cache = True


class statement_now(FunctionElement[datetime]):  # noqa: N801
    """When the statement began, by the database's clock: the same wherever it stands in it."""

    type = Moment()
    inherit_cache = True


class database_later(FunctionElement[datetime]):  # noqa: N801
    """So many seconds from now, by the database's clock."""

    type = Moment()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _now_on_postgresql(_element: database_now, _compiler: SQLCompiler, **_named: Any) -> str:
    return "clock_timestamp()"


@compiles(statement_now, "postgresql")
def _statement_on_postgresql(_element: statement_now, _compiler: SQLCompiler, **_named: Any) -> str:
    return "statement_timestamp()"


@compiles(statement_now, "sqlite")
@compiles(database_now, "sqlite")
def _now_on_sqlite(_element: FunctionElement[datetime], _compiler: SQLCompiler, **_named: Any) -> str:
    return f"(strftime('{SQLITE_FORMAT}', 'now') || '000')"


@compiles(database_later, "postgresql")
def _later_on_postgresql(element: database_later, compiler: SQLCompiler, **named: Any) -> str:
    seconds = compiler.process(element.clauses, **named)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS DOUBLE PRECISION)))"


@compiles(database_later, "sqlite")
def _later_on_sqlite(element: database_later, compiler: SQLCompiler, **named: Any) -> str:
    seconds = compiler.process(element.clauses, **named)
    return f"(strftime('{SQLITE_FORMAT}', 'now', {seconds} || ' seconds') || '000')"
