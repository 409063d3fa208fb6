"""The program itself, in a folder and a database of the test's own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import asyncpg
import pytest

from tests.cloud import Cloud
from tests.hostile import Theirs
from tests.postgres import Postgres
from tests.programs import run
from tests.warm import warm

Ogc = Callable[..., CompletedProcess[str]]


@pytest.fixture
def work_folder(tmp_path: Path) -> Path:
    """The working folder of the program."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def ogc_environment(cloud: Cloud, database_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """What the program is told of its surroundings."""
    return cloud.environment | database_environment | {"OGC_DATA_DIR": str(tmp_path / "data"), "OGC_POLL_S": "0.2"}


@pytest.fixture
def ogc(ogc_environment: dict[str, str], work_folder: Path) -> Ogc:
    """Runs ``ogc`` with these words, and these variables set."""

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        return warm().run(words, env=ogc_environment | variables, cwd=work_folder)

    return call


@pytest.fixture
def cold_ogc(ogc_environment: dict[str, str], work_folder: Path) -> Ogc:
    """The same, started as its users start it: with nothing imported yet."""

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        return run([sys.executable, "-m", "ogc_async", *words], env=ogc_environment | variables, cwd=work_folder)

    return call


@pytest.fixture
def fleet(ogc: Ogc) -> Ogc:
    """The starter spec's seven nodes, launched and deployed to."""
    for words in (("init", "--name", "Ada"), ("launch",)):
        done = ogc(*words)
        assert done.returncode == 0, done.stderr + done.stdout
    return ogc


@pytest.fixture
def theirs(tmp_path: Path, postgres: Postgres) -> Iterator[Theirs]:
    """Their database is a real one; it holds no table before, and none afterwards."""
    postgres.run("CREATE DATABASE theirs")
    folder = tmp_path / "a folder of theirs"
    folder.mkdir()
    made = Theirs(folder, f"postgresql://postgres@/theirs?host={postgres.folder}")
    yield made
    made.close()
    tables = asyncio.run(_tables(postgres, "theirs"))
    postgres.run("DROP DATABASE theirs WITH (FORCE)")
    assert tables == []


async def _tables(postgres: Postgres, database: str) -> list[str]:
    connection = await asyncpg.connect(host=str(postgres.folder), user="postgres", database=database)
    try:
        return [
            row["tablename"] for row in await connection.fetch("SELECT * FROM pg_tables WHERE schemaname = 'public'")
        ]
    finally:
        await connection.close()
