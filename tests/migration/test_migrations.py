"""The migrations as such: they lead to the models' tables and back, in one line, and travel in the wheel."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from ogc_async import db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.models import Base
from ogc_async.errors import ForeignTables
from tests import programs
from tests.cloud import bare_environment
from tests.migration.conftest import ROOT, alembic_async, differences_async

TABLES = {"users", "nodes", "actions", "pace_levels", "alembic_version"}


@pytest.fixture(scope="session")
def scripts() -> ScriptDirectory:
    return ScriptDirectory(str(ROOT / "migrations"))


@blocking
async def left_async(engine: Engine) -> set[str]:
    """The names of everything in the database: tables, indexes, sequences, and types of our own."""
    queries = {
        "sqlite": "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
        "postgresql": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'",
    }
    async with engine.reading(is_checked=False) as connection:
        return set((await connection.scalars(text(queries[connection.dialect.name]))).all())


@blocking
async def constraints_async(engine: Engine) -> set[str | None]:
    def names(connection: Connection) -> set[str | None]:
        inspector = inspect(connection)
        return {
            each["name"]
            for table in Base.metadata.tables
            for each in (
                inspector.get_pk_constraint(table),
                *inspector.get_unique_constraints(table),
                *inspector.get_foreign_keys(table),
            )
        }

    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(names)


def test_the_newest_migration_leads_to_the_models_tables(empty: Engine) -> None:
    alembic_async(empty, "upgrade", "head")
    assert differences_async(empty) == []


def test_every_constraint_has_the_name_that_the_models_give_it(empty: Engine) -> None:
    alembic_async(empty, "upgrade", "head")
    ours = {str(each.name) for table in Base.metadata.tables.values() for each in table.constraints}
    assert constraints_async(empty) == ours


def test_a_difference_would_be_seen(empty: Engine) -> None:
    async def change_async() -> None:
        async with empty.transaction(is_checked=False) as connection:
            await connection.execute(text("DROP INDEX ix_nodes_token"))
            await connection.execute(text("ALTER TABLE nodes DROP COLUMN reason"))

    alembic_async(empty, "upgrade", "head")
    blocking(change_async)()
    assert sorted(each[0] for each in differences_async(empty)) == ["add_column", "add_index"]


def test_each_migration_goes_up_down_and_up_again(empty: Engine, scripts: ScriptDirectory) -> None:
    revisions = [each.revision for each in scripts.walk_revisions()][::-1]
    for revision in revisions:
        alembic_async(empty, "upgrade", revision)
        alembic_async(empty, "downgrade", "-1")
        alembic_async(empty, "upgrade", revision)
    assert differences_async(empty) == []


def test_the_way_back_to_base_leaves_nothing_but_alembics_own_empty_table(empty: Engine) -> None:
    alembic_async(empty, "upgrade", "head")
    assert left_async(empty) > TABLES
    alembic_async(empty, "downgrade", "base")
    assert left_async(empty) - {"alembic_version_pkc"} == {"alembic_version"}


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty: Engine) -> None:
    async def block_async() -> None:
        async with empty.transaction(is_checked=False) as connection:
            await connection.execute(text("CREATE TABLE actions (somebody_elses INTEGER)"))

    blocking(block_async)()
    with pytest.raises(ForeignTables, match="actions"):
        db.migrate(empty)
    assert left_async(empty) == {"actions"}


def test_there_is_exactly_one_head_and_one_beginning(scripts: ScriptDirectory) -> None:
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1
    assert len(list(scripts.walk_revisions())) == len(list((ROOT / "migrations" / "versions").glob("*.py")))


def test_migrations_name_the_databases_types_and_nothing_of_the_package(scripts: ScriptDirectory) -> None:
    for each in scripts.walk_revisions():
        assert "ogc_async" not in Path(each.path).read_text()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package alone, as its wheel installs it."""
    out = tmp_path_factory.mktemp("wheel")
    # By the build's own program: uv would fetch it anew, by the user's proxies and indexes.
    built = programs.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, timeout_s=200
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = out.glob("ogc_async-*.whl")
    folder = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_an_installed_wheel_migrates_by_itself_in_any_working_folder(
    installed: Path, empty: Engine, empty_environment: dict[str, str], tmp_path: Path
) -> None:
    script = "import ogc_async.db as db; print(db.__file__); db.migrate(); db.migrate()"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = programs.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=elsewhere,
        env=bare_environment(**empty_environment, PYTHONPATH=str(installed)),
        timeout_s=60,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)
    assert differences_async(empty) == []
    assert list(elsewhere.iterdir()) == []


def test_the_wheel_carries_every_migration_and_the_checkout_no_copy(installed: Path) -> None:
    carried = installed / "ogc_async" / "_migrations"
    ours = {path.relative_to(ROOT / "migrations") for path in (ROOT / "migrations").rglob("*.py")}
    assert {path.relative_to(carried) for path in carried.rglob("*.py")} == ours
    assert not (ROOT / "ogc_async" / "_migrations").exists()
