"""The levels of the clouds' request limits, kept in the database for all processes that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    Double,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from ogc_async.aio.buckets import Level
from ogc_async.aio.limiter import Decide, Levels, Place
from ogc_async.db.engine import Engine
from ogc_async.db.models import PaceLevel
from ogc_async.errors import StoreError

T = TypeVar("T")

TIMEOUT_S = 10.0
"""A change takes milliseconds, and seconds where a busy machine writes a fleet's rows to SQLite: nothing to give up
for. Whoever waits longer does better to count for itself."""

FORGOTTEN_S = 24 * 3600.0
"""Long before that every bucket is full again, and its level says nothing any more."""

_CLOCKS: dict[str, ColumnElement[float]] = {
    # Not the transaction's time: that is from before the wait for the row.
    "postgresql": cast(func.extract("epoch", func.clock_timestamp()), Double),
    # Days of the Julian calendar; the epoch began with day 2440587.5.
    "sqlite": literal_column("(julianday('now') - 2440587.5) * 86400.0", Double),
}
_IS_IN = and_(
    PaceLevel.provider == bindparam("in_provider"),
    PaceLevel.account == bindparam("in_account"),
    PaceLevel.region == bindparam("in_region"),
)
_COLUMNS = (PaceLevel.bucket, PaceLevel.tokens, PaceLevel.at, PaceLevel.share, PaceLevel.slowed_at)
# Statements are made once: to make one costs more than to run it, and this is what every call to a cloud waits for.
_SELECTS = {
    # One order for all who lock several. On SQLite the transaction is alone from its start, and has no such clause.
    dialect: select(*_COLUMNS, clock)
    .where(_IS_IN, PaceLevel.bucket.in_(bindparam("in_buckets", expanding=True)))
    .order_by(PaceLevel.bucket)
    .with_for_update()
    for dialect, clock in _CLOCKS.items()
}
_UPDATE = (
    update(PaceLevel)
    .where(_IS_IN, PaceLevel.bucket == bindparam("in_bucket"))
    .values({name: bindparam(name) for name in ("tokens", "at", "share", "slowed_at")})
)
_DELETES = {dialect: delete(PaceLevel).where(PaceLevel.at < clock - FORGOTTEN_S) for dialect, clock in _CLOCKS.items()}
_INSERTS = {
    "postgresql": postgresql.insert(PaceLevel).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(PaceLevel).on_conflict_do_nothing(),
}


class SharedLevels:
    """A row a bucket. Times are the database's own, so that no process's clock matters; a test gives another clock."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] | None = None) -> None:
        self._engine = engine
        self._clock = clock

    async def change(self, place: Place, buckets: Sequence[str], decide: Decide[T]) -> T:
        """Put what ``decide`` makes of the levels, in a short transaction of its own that holds their rows.

        Raises :class:`~ogc_async.errors.StoreError` where the database does not answer in time.
        """
        try:
            async with self._engine.transaction(TIMEOUT_S) as connection:
                levels, now = await self._lock(connection, place, buckets)
                changed, answer = decide(levels, self._clock() if self._clock else now)
                where = _where(place)
                rows = [where | {"in_bucket": bucket} | asdict(level) for bucket, level in changed.items()]
                if rows:
                    await connection.execute(_UPDATE, rows)
        except SQLAlchemyError as error:
            # Whatever it is: no call to a cloud may fail for it.
            raise StoreError(f"{self._engine!r}: the levels of {buckets} were not changed: {error}") from error
        return answer

    async def _lock(
        self, connection: AsyncConnection, place: Place, buckets: Sequence[str]
    ) -> tuple[dict[str, Level], float]:
        """The levels, and the time by the database's clock; the rows are ours until the transaction's end."""
        found, now = await _select(connection, place, buckets)
        missing = set(buckets) - set(found)
        if missing:
            await _add(connection, place, missing)
            found, now = await _select(connection, place, buckets)
        return {bucket: level for bucket, level in found.items() if level is not None}, now


async def _select(
    connection: AsyncConnection, place: Place, buckets: Sequence[str]
) -> tuple[dict[str, Level | None], float]:
    statement = _SELECTS[connection.dialect.name]
    rows = (await connection.execute(statement, _where(place) | {"in_buckets": buckets})).all()
    found = {
        bucket: None if at is None else Level(tokens, at, share, slowed_at)
        for bucket, tokens, at, share, slowed_at, _ in rows
    }
    return found, max((row[-1] for row in rows), default=0.0)


async def _add(connection: AsyncConnection, place: Place, buckets: Iterable[str]) -> None:
    """Make rows without a level, where nobody else does at this moment; what is long forgotten makes room."""
    await connection.execute(_DELETES[connection.dialect.name])
    rows = [place._asdict() | {"bucket": bucket, "tokens": 0.0, "share": 1.0} for bucket in sorted(buckets)]
    await connection.execute(_INSERTS[connection.dialect.name], rows)


def _where(place: Place) -> dict[str, object]:
    return {f"in_{name}": value for name, value in place._asdict().items()}


_fits: type[Levels] = SharedLevels
