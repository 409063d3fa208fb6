"""Making, dropping and migrating the tables: from code, from several processes at once, and from Alembic's shell."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from sqlalchemy import URL, Connection, inspect, text

from ogc_async import db
from ogc_async.aio.blocking import blocking
from ogc_async.db import Engine
from ogc_async.db.models import Base
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user, current_user
from ogc_async.errors import DatabaseUnavailable, ForeignTables, NotMigrated, SchemaTooNew, StoreError
from ogc_async.settings import Settings
from tests import programs
from tests.cloud import bare_environment
from tests.integration.db.conftest import counted_statements
from tests.migration.conftest import EARLIER, HEAD, alembic_async, differences_async
from tests.postgres import Postgres
from tests.timing import HANGS_AFTER_S

ROOT = Path(__file__).parents[3]
TABLES = {"users", "nodes", "actions", "milestones", "pace_levels", "workers"}
WRONG = "hunter2-the-wrong-one"

Alembic = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def settings(empty_environment: dict[str, str]) -> Settings:
    return Settings(_env_file=None, **{name.lower(): value for name, value in empty_environment.items()})


@pytest.fixture
def empty(settings: Settings) -> Engine:
    """An engine on a database without tables."""
    return db.connect(settings=settings)


@blocking
async def tables_async(engine: Engine) -> set[str]:
    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(lambda plain: set(inspect(plain).get_table_names()))


@blocking
async def versions_async(engine: Engine) -> list[str]:
    async with engine.reading(is_checked=False) as connection:
        return list((await connection.scalars(text("SELECT version_num FROM alembic_version"))).all())


@blocking
async def shape_async(engine: Engine) -> dict[str, Any]:
    """What the database itself says of its tables."""

    def read(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            name: {
                "columns": [(c["name"], repr(c["type"]), c["nullable"]) for c in inspector.get_columns(name)],
                "key": inspector.get_pk_constraint(name),
                "unique": sorted(map(str, inspector.get_unique_constraints(name))),
                "indexes": sorted(map(str, inspector.get_indexes(name))),
                "foreign": sorted(map(str, inspector.get_foreign_keys(name))),
            }
            for name in sorted(inspector.get_table_names())
        }

    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(read)


def test_createtbl_makes_all_tables_and_notes_the_newest_migration_so_that_migrate_has_nothing_to_do(
    empty: Engine,
) -> None:
    db.createtbl(empty)
    assert tables_async(empty) == TABLES | {"alembic_version"}
    assert versions_async(empty) == [HEAD]
    before = shape_async(empty)
    blocking(create_user)(empty, "Adam")
    db.migrate(empty)
    assert (shape_async(empty), versions_async(empty)) == (before, [HEAD])
    assert blocking(current_user)(empty).slug == "adam"


def test_createtbl_and_migrate_make_the_same_tables(empty: Engine) -> None:
    db.createtbl(empty)
    created = shape_async(empty)
    db.droptbl(empty)
    db.migrate(empty)
    assert shape_async(empty) == created


def test_createtbl_twice_keeps_what_is_on_record(empty: Engine) -> None:
    db.createtbl(empty)
    blocking(create_user)(empty, "Adam")
    db.createtbl(empty)
    assert blocking(current_user)(empty).slug == "adam"


def test_migrate_fills_an_empty_database_and_twice_changes_nothing(empty: Engine) -> None:
    db.migrate(empty)
    assert tables_async(empty) == TABLES | {"alembic_version"}
    assert versions_async(empty) == [HEAD]
    blocking(create_user)(empty, "Adam")
    db.migrate(empty)
    assert versions_async(empty) == [HEAD]
    assert blocking(current_user)(empty).slug == "adam"


def test_migrate_without_an_engine_uses_the_settings_database_from_any_working_folder(
    empty: Engine, empty_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "else where 100%"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name, value in empty_environment.items():
        monkeypatch.setenv(name, value)
    db.migrate()
    assert tables_async(empty) == TABLES | {"alembic_version"}
    assert list(elsewhere.iterdir()) == []


async def test_the_coroutines_do_the_same_inside_a_loop(empty: Engine) -> None:
    try:
        await db.createtbl_async(empty)
        await db.migrate_async(empty)
        await db.droptbl_async(empty)
        await db.migrate_async(empty)
        assert await find_nodes(empty) == []
    finally:
        await empty.aclose()


def test_droptbl_leaves_nothing_and_migrate_starts_over(empty: Engine) -> None:
    db.migrate(empty)
    blocking(create_user)(empty, "Adam")
    db.droptbl(empty)
    assert tables_async(empty) == set()
    db.droptbl(empty)
    db.migrate(empty)
    assert versions_async(empty) == [HEAD]
    assert blocking(find_nodes)(empty) == []


def test_droptbl_leaves_other_peoples_tables_alone(empty: Engine) -> None:
    async def make_async() -> None:
        async with empty.transaction(is_checked=False) as connection:
            await connection.execute(text("CREATE TABLE others (id INTEGER)"))

    blocking(make_async)()
    db.migrate(empty)
    db.droptbl(empty)
    assert tables_async(empty) == {"others"}


MIGRATE_IN_THREADS = """
import os, sys, threading
import alembic.command
from ogc_async import db

def work():
    try:
        for bring_up in (db.migrate, db.createtbl):
            bring_up(db.connect())
    except BaseException as error:
        failed.append(repr(error))

def migrate():
    os.read(0, 1)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit("; ".join(failed) or None)

failed, processes = [], []
for _ in range(3):
    processes.append(os.fork())
    if not processes[-1]:
        migrate()
print("ready", flush=True)
print([os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in processes])
"""
"""Its three processes have all imported; they begin when the standard input ends."""


@pytest.mark.parametrize("revision", [None, *EARLIER[:1], *EARLIER[-1:]])
def test_processes_and_their_threads_that_migrate_one_database_at_once_all_succeed(
    revision: str | None, empty: Engine, empty_environment: dict[str, str], tmp_path: Path
) -> None:
    if revision is not None:
        alembic_async(empty, "upgrade", revision)
    words = [sys.executable, "-W", "error", "-c", MIGRATE_IN_THREADS]
    environment = bare_environment(**empty_environment)
    with programs.started(words, cwd=tmp_path, env=environment, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        codes, said = process.communicate("", timeout=60)
    assert (process.returncode, codes) == (0, "[0, 0, 0]\n"), said
    assert versions_async(empty) == [HEAD]
    assert tables_async(empty) == TABLES | {"alembic_version"}


async def test_tasks_that_migrate_databases_of_their_own_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    engines = [db.connect(f"sqlite:///{tmp_path / f'{number}.db'}") for number in range(4)]
    async with asyncio.timeout(HANGS_AFTER_S):
        await asyncio.gather(*map(db.migrate_async, engines))
    for engine in engines:
        assert await find_nodes(engine) == []
        await engine.aclose()


@pytest.mark.parametrize("revision", EARLIER)
def test_createtbl_brings_an_older_database_up_to_date(revision: str, empty: Engine) -> None:
    alembic_async(empty, "upgrade", revision)
    db.createtbl(empty)
    assert versions_async(empty) == [HEAD]
    assert differences_async(empty) == []
    assert blocking(find_nodes)(empty) == []


@pytest.mark.parametrize("work", [db.createtbl, db.migrate, db.droptbl])
def test_nothing_is_made_or_dropped_in_a_newer_database(work: Callable[[Engine], None], empty: Engine) -> None:
    db.migrate(empty)
    change_async(empty, "UPDATE alembic_version SET version_num = '0099'")
    before = shape_async(empty)
    with pytest.raises(SchemaTooNew, match=f"at revision 0099, and this release knows none after {HEAD}"):
        work(empty)
    assert (shape_async(empty), versions_async(empty)) == (before, ["0099"])


@pytest.mark.parametrize("work", [db.createtbl, db.migrate, db.droptbl])
def test_tables_that_no_migration_of_ours_made_stay_as_they_are(work: Callable[[Engine], None], empty: Engine) -> None:
    change_async(empty, "CREATE TABLE nodes (poem VARCHAR)")
    before = shape_async(empty)
    with pytest.raises(ForeignTables, match="nodes"):
        work(empty)
    assert shape_async(empty) == before


def test_a_migration_that_meets_another_table_is_told_and_undone(empty: Engine) -> None:
    alembic_async(empty, "upgrade", "0002")
    change_async(empty, "CREATE TABLE pace_levels (poem VARCHAR)")
    before = shape_async(empty)
    with pytest.raises(StoreError, match=r"the migration failed, and the database is as it was: .*already exists"):
        db.migrate(empty)
    assert (shape_async(empty), versions_async(empty)) == (before, ["0002"])


def test_sessions_are_refused_on_entry_by_tables_of_another_revision(empty: Engine) -> None:
    alembic_async(empty, "upgrade", EARLIER[-1])
    with pytest.raises(NotMigrated, match=f"at revision {EARLIER[-1]}"), db.session(empty):
        raise AssertionError


async def test_an_engine_looks_at_the_revision_once_with_one_statement(empty: Engine, settings: Settings) -> None:
    await db.migrate_async(empty)
    with counted_statements(empty) as seen:
        await find_nodes(empty)
    assert not [each for each in seen if "alembic_version" in each]
    other = db.connect(settings=settings)
    with counted_statements(other) as seen:
        await asyncio.gather(*(find_nodes(other) for _ in range(8)), create_user(other, "Adam"))
    assert len([each for each in seen if "alembic_version" in each]) == 1
    await other.aclose()
    await empty.aclose()


@blocking
async def change_async(engine: Engine, statement: str) -> None:
    async with engine.transaction(is_checked=False) as connection:
        await connection.execute(text(statement))


def test_a_database_that_was_not_migrated_is_told_as_such_on_first_use(empty: Engine) -> None:
    for use in (current_user, find_nodes):
        with pytest.raises(NotMigrated, match=r"run `ogc db migrate` or db\.migrate\(\)"):
            blocking(use)(empty)  # type: ignore[arg-type]  # two coroutine functions of one engine
    with pytest.raises(NotMigrated):
        blocking(create_user)(empty, "Adam")


def test_a_table_without_this_versions_columns_is_not_migrated_either(empty: Engine) -> None:
    db.migrate(empty)
    change_async(empty, "ALTER TABLE nodes DROP COLUMN host_key")
    change_async(empty, "ALTER TABLE users DROP COLUMN created_at")
    with pytest.raises(NotMigrated, match="host_key"):
        blocking(find_nodes)(empty)
    with pytest.raises(NotMigrated, match="created_at"):
        blocking(create_user)(empty, "Adam")


def test_a_database_that_does_not_answer_is_unavailable_and_its_password_is_not_told(kind: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    urls = {
        "sqlite": URL.create("sqlite", database=str(in_the_way / "ogc.db")),
        "postgresql": URL.create("postgresql", "me", WRONG, "127.0.0.1", 1, "ogc"),
    }
    engine = db.connect(urls[kind], settings=Settings(_env_file=None))
    with pytest.raises(DatabaseUnavailable, match=r"does not answer: .*; check that") as caught:
        db.migrate(engine)
    assert not passwords_told(caught.value)
    assert WRONG not in repr(engine)


def test_a_file_that_is_no_database_is_unavailable_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ogc.db"
    path.write_bytes(b"a letter to my aunt " * 200)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        db.migrate(db.connect(URL.create("sqlite", database=str(path)), settings=Settings(_env_file=None)))
    assert path.read_bytes() == b"a letter to my aunt " * 200


def passwords_told(error: BaseException) -> list[str]:
    """The texts, of the error and all it came from, that hold the password."""
    texts: list[str] = []
    each: BaseException | None = error
    while each is not None:
        texts += [str(each), repr(each)]
        each = each.__cause__ or each.__context__
    return [told for told in texts if WRONG in told]


@pytest.fixture
def locked_role(postgres: Postgres) -> Iterator[str]:
    """A user whom the server asks for a password; the run's own users need none."""
    rules = postgres.folder / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("local all ogc_locked scram-sha-256\n" + before)
    postgres.run("CREATE ROLE ogc_locked LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()")
    yield "ogc_locked"
    rules.write_text(before)
    postgres.run("DROP ROLE ogc_locked", "SELECT pg_reload_conf()")


def test_a_wrong_password_is_unavailable_and_is_not_told(postgres: Postgres, locked_role: str) -> None:
    @blocking
    async def is_refused_async() -> bool:
        try:
            connection = await asyncpg.connect(
                host=str(postgres.folder), user=locked_role, password=WRONG, database="postgres"
            )
        except asyncpg.InvalidPasswordError:
            return True
        await connection.close()
        return False

    # The server takes up its new rules in its own time.
    assert any(is_refused_async() for _ in range(500))
    values = postgres.environment("postgres") | {"POSTGRES_USER": locked_role, "POSTGRES_PASSWORD": WRONG}
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in values.items()})
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
        db.migrate(db.connect(settings=settings))
    assert "POSTGRES_*" in str(caught.value)
    assert not passwords_told(caught.value)


def test_a_database_that_is_not_there_is_unavailable_and_named(postgres: Postgres) -> None:
    settings = Settings(
        _env_file=None, **{name.lower(): value for name, value in postgres.environment("nowhere").items()}
    )
    with pytest.raises(DatabaseUnavailable, match='database "nowhere" does not exist'):
        blocking(find_nodes)(db.connect(settings=settings))


@pytest.fixture
def alembic(empty_environment: dict[str, str], tmp_path: Path) -> Alembic:
    """Runs ``alembic`` in a copy of the checkout's migrations, on an empty database."""
    folder = tmp_path / "check out"
    shutil.copytree(ROOT / "migrations", folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", folder)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return programs.run(
            [sys.executable, "-W", "error", "-m", "alembic", *words],
            cwd=folder,
            env=bare_environment(**empty_environment),
            timeout_s=60,
        )

    return run


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_alembic_upgrades_and_downgrades_from_the_shell(alembic: Alembic, empty: Engine) -> None:
    ok(alembic("upgrade", "head"))
    assert tables_async(empty) == TABLES | {"alembic_version"}
    assert HEAD in ok(alembic("current"))
    db.migrate(empty)
    ok(alembic("downgrade", "base"))
    assert tables_async(empty) == {"alembic_version"}
    assert versions_async(empty) == []
    db.migrate(empty)
    assert versions_async(empty) == [HEAD]


def test_alembic_finds_nothing_to_change_and_so_generates_an_empty_revision(
    alembic: Alembic, empty: Engine, tmp_path: Path
) -> None:
    db.migrate(empty)
    assert "No new upgrade operations detected." in ok(alembic("check"))
    ok(alembic("revision", "--autogenerate", "-m", "A new modification made"))
    (made,) = tmp_path.glob("*/migrations/versions/*_a_new_modification_made.py")
    source = made.read_text()
    functions = dict(re.findall(r"^def (\w+)\(\) -> None:\n((?:    .*\n|\n)+)", source, re.MULTILINE))
    bodies = {name: [line.strip() for line in body.splitlines() if line.strip()] for name, body in functions.items()}
    passes = [
        ["# ### commands auto generated by Alembic - please adjust! ###", "pass", "# ### end Alembic commands ###"]
    ]
    assert bodies.keys() == {"upgrade", "downgrade"}
    assert list(bodies.values()) == passes * 2
    assert f"down_revision = '{HEAD}'" in source
    ok(alembic("upgrade", "head"))
    assert versions_async(empty) == re.findall(r"^revision = '(\w+)'$", source, re.MULTILINE)
    ok(alembic("downgrade", "-1"))
    assert versions_async(empty) == [HEAD]


def test_alembic_prints_the_sql_without_a_database(alembic: Alembic, empty: Engine, kind: str) -> None:
    printed = ok(alembic("upgrade", "head", "--sql"))
    assert set(re.findall(r"CREATE TABLE (\w+)", printed)) == TABLES | {"alembic_version"}
    assert ("JSONB" in printed) == (kind == "postgresql")
    if kind == "sqlite":
        assert not Path(str(empty.url.database)).exists()


def test_alembic_tells_a_database_that_does_not_answer_in_our_words(
    alembic: Alembic, empty_environment: dict[str, str]
) -> None:
    empty_environment.clear()
    empty_environment["OGC_DATABASE_URL"] = f"postgresql://me:{WRONG}@127.0.0.1:1/ogc"
    done = alembic("upgrade", "head")
    assert done.returncode != 0
    assert "DatabaseUnavailable" in done.stderr
    assert WRONG not in done.stderr + done.stdout


def test_every_table_of_the_models_is_one_of_those_tested_here() -> None:
    assert set(Base.metadata.tables) == TABLES


async def test_a_transaction_that_takes_too_long_is_a_database_that_does_not_answer(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        async with engine.transaction(0.01):
            await anyio.sleep_forever()
