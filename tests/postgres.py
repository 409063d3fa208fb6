"""Databases for tests: a PostgreSQL server of the run's own, and a fresh database of each kind for every test.

The server comes from a package with PostgreSQL's binaries, so that it needs neither an installation nor root. Where
it can not start, the tests that need it fail.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import pytest
from sqlalchemy import URL

from benchmarks.postgres import throwaway_server
from ogc_async import db
from ogc_async.db import Engine
from ogc_async.settings import Settings

TEMPLATE = "ogc_template"
KINDS = ["sqlite", "postgresql"]


@dataclass(frozen=True)
class Postgres:
    """A running server; ``folder`` holds its Unix socket."""

    folder: Path

    def environment(self, database: str) -> dict[str, str]:
        return {
            "POSTGRES_HOST": str(self.folder),
            "POSTGRES_DB": database,
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "unused",
        }

    def url(self, database: str) -> URL:
        values = {name.lower(): value for name, value in self.environment(database).items()}
        return Settings(_env_file=None, **values).database_url()

    def run(self, *statements: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(host=str(self.folder), user="postgres", database="postgres")
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(execute())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = throwaway_server(mkdtemp(prefix="ogc-pg-"))
    started = Postgres(Path(server.pgdata))
    # A throwaway server need not survive a power cut.
    settings = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    started.run(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in settings.items()), "SELECT pg_reload_conf()")
    started.run(f"CREATE DATABASE {TEMPLATE}")
    db.migrate(db.connect(started.url(TEMPLATE), settings=Settings(_env_file=None)))
    yield started
    server.cleanup()


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database: every test that uses one runs on both."""
    name: str = request.param
    return name


@pytest.fixture
def empty_environment(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, _numbers: Iterator[int]
) -> Iterator[dict[str, str]]:
    """The variables that lead a program to an empty database."""
    if kind == "sqlite":
        yield {"OGC_DATA_DIR": str(tmp_path / "data")}
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"empty_{next(_numbers)}"
    server.run(f"CREATE DATABASE {name}")
    yield server.environment(name)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_environment(empty_environment: dict[str, str]) -> dict[str, str]:
    """The same, for programs that make their tables themselves."""
    return empty_environment


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database that nothing else is written to."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    db.migrate(db.connect(sqlite_url(path), settings=Settings(_env_file=None)))
    return path


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(path))


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path, _numbers: Iterator[int]) -> Iterator[URL]:
    """A migrated database of the test's own."""
    if kind == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield sqlite_url(path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    server.run(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield server.url(name)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: URL) -> Iterator[Engine]:
    """An engine on a migrated database of the test's own."""
    engine = db.connect(database_url, settings=Settings(_env_file=None))
    yield engine
    with suppress(RuntimeError):
        asyncio.run(engine.aclose())
