"""``ogc`` on databases that are not this release's: each command says so in one sentence, and nothing changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import typer
from sqlalchemy import Connection, MetaData, inspect, text

from ogc_async import db, state
from ogc_async.aio.blocking import blocking
from ogc_async.cli.commands import cli
from ogc_async.cli.main import run
from ogc_async.db import Engine
from ogc_async.settings import Settings
from ogc_async.state import App
from tests.acceptance.conftest import Ogc
from tests.cloud import Cloud
from tests.migration.conftest import EARLIER, HEAD, REVISIONS, Tables, alembic_async, write_async

NEWER = "0099"
LONG_AGO = datetime(2020, 2, 29, tzinfo=UTC)
STRANGE = {
    "newer": f"the database is at revision {NEWER}, and this release knows none after {HEAD}: install the release",
    "foreign": "the database has no revision on record, but tables of our names already exist (nodes)",
    "unrecorded": "the database has no revision on record, but tables of our names already exist (",
}
"""Databases that no migration mends, and what each is called."""
OLD = {
    "empty": "the database is not migrated (",
    "based": f"the database is not migrated (no revision is on record, and this release needs {HEAD}): run",
    **{
        revision: f"the database is not migrated (it is at revision {revision}, and this release needs {HEAD}): run"
        for revision in EARLIER
    },
}
"""Those that `ogc db migrate` brings up to date."""

REFUSED = (
    *("launch", "launch web --no-deploy", "deploy --all", "status", "status --reconcile --yes", "plan", "sync --yes"),
    *("ls", "ls --all", "inspect --all", "inspect 1 --timeline", "exec true --all", "exec true 1 --no-claim"),
    *("exec-scripts scripts/web --all", "ssh 1 true", "ssh-config", "ssh-config --write config"),
    *("push-files ogc.yml --all", "pull-files x --all --into pulled", "pull-artifacts --all"),
    *("rm 1 --yes", "rm 1 --only-db --yes", "rm 1 --force --yes --take-over", "rm-all --yes", "rm-all --force --yes"),
    *("export-env fleet.json", "export-env -", "import-env handed.json", "ls-key-pairs", "rm-key-pairs --all --yes"),
    *("extend 1 2h", "reap --dry-run", "reap --yes --strays"),
)
MIGRATING = ("init", "db migrate")
UNCONCERNED = ("spec check", "spec schema", "completion bash", "launch --help", "--help", "--version")
ELSEWHERE = ("demo", "sandbox")
"""With databases of their own, or none."""


@pytest.fixture
def engine(database_environment: dict[str, str], ogc_environment: dict[str, str]) -> Engine:
    """On the database that the program uses."""
    values = {name.lower(): ogc_environment[name] for name in (*database_environment, "OGC_DATA_DIR")}
    return db.connect(settings=Settings(_env_file=None, **values))


@pytest.fixture
def ogc(
    ogc_environment: dict[str, str],
    work_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Ogc:
    """The program in this process: what is tried here are hundreds of calls that end where they begin."""
    monkeypatch.chdir(work_folder)
    for name, value in ogc_environment.items():
        monkeypatch.setenv(name, value)

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as own:
            for name, value in variables.items():
                own.setenv(name, value)
            own.setattr(state, "app", App())
            code = run(words)
        said = capfd.readouterr()
        return CompletedProcess(words, code, said.out, said.err)

    return call


@pytest.fixture
def folder(ogc: Ogc, work_folder: Path, tmp_path: Path) -> Path:
    """A working folder with a spec, and with what a colleague has handed over."""
    theirs = f"sqlite:///{tmp_path / 'theirs.db'}"
    for words in (("init", "--name", "Ada"), ("export-env", "handed.json")):
        done = ogc(*words, OGC_DATABASE_URL=theirs)
        assert done.returncode == 0, done.stderr
    return work_folder


def make(engine: Engine, made: str) -> None:
    """A database in that state, with a live node where it is one of ours."""
    if made == "empty":
        return
    if made == "foreign":
        make_foreign(engine, "CREATE TABLE nodes (id INTEGER, poem TEXT)", "INSERT INTO nodes VALUES (1, 'rose')")
        return
    alembic_async(engine, "upgrade", made if made in REVISIONS else HEAD)
    write_async(engine, live_node())
    if made == "newer":
        run_async(engine, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    if made == "unrecorded":
        run_async(engine, "DELETE FROM alembic_version")
    if made == "based":
        alembic_async(engine, "downgrade", "base")


def make_foreign(engine: Engine, *statements: str) -> None:
    """As another program makes it: our own connections would make a new file one of ours."""
    if engine.url.get_backend_name() != "sqlite":
        run_async(engine, *statements)
        return
    path = Path(str(engine.url.database))
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as opened, opened:
        for statement in statements:
            opened.execute(statement)


def live_node() -> Tables:
    user = {"name": "Ada", "slug": "ada", "scope": "0" * 32, "created_at": LONG_AGO}
    node = {
        "name": "ogc-web-1",
        "user_id": 1,
        "layout": "web",
        "provider": "aws",
        "region": "us-east-1",
        "zone": "us-east-1a",
        "state": "running",
        "token": "t",
        "launch_index": 0,
        "instance_id": "i-00000000000000001",
        "public_ip": "127.18.0.9",
        "username": "ubuntu",
        "ssh_port": 22,
        "tags": [],
        "labels": {},
        "spec": {},
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    return {"users": [user], "nodes": [node]}


@blocking
async def run_async(engine: Engine, *statements: str) -> None:
    async with engine.transaction(is_checked=False) as connection:
        for statement in statements:
            await connection.execute(text(statement))


@blocking
async def dump_async(engine: Engine) -> dict[str, Any]:
    """Every table's columns, indexes and rows."""

    def read(connection: Connection) -> dict[str, Any]:
        found = MetaData()
        found.reflect(connection)
        inspector = inspect(connection)
        return {
            table.name: [
                [(each.name, repr(each.type)) for each in table.c],
                sorted(str(each["name"]) for each in inspector.get_indexes(table.name)),
                sorted(map(str, connection.execute(table.select()))),
            ]
            for table in found.sorted_tables
        }

    async with engine.reading(is_checked=False) as connection:
        return await connection.run_sync(read)


class Scene:
    """What must stay as it is: the database, the cloud, the working folder."""

    def __init__(self, engine: Engine, cloud: Cloud, folder: Path) -> None:
        self._engine, self._cloud, self._folder = engine, cloud, folder
        self._file = Path(str(engine.url.database))
        self._had_file = self._file.is_file()

    def now(self) -> Iterator[object]:
        yield self._cloud.state()["calls"]
        yield sorted(str(each) for each in self._folder.rglob("*"))
        # An empty SQLite database has no file, and has one after the first look.
        yield self._file.read_bytes() if self._had_file else b""
        yield dump_async(self._engine)


def check_refused(done: CompletedProcess[str], words: str, sentence: str) -> None:
    assert (done.returncode, done.stdout) == (1, ""), f"{words}: {done.stdout}{done.stderr}"
    assert done.stderr.startswith(f"ogc: {sentence}"), f"{words}: {done.stderr}"
    assert done.stderr.count("\n") == 1, f"{words}: {done.stderr}"


@pytest.mark.parametrize("made", [*OLD, *STRANGE])
def test_no_command_touches_a_database_of_another_revision_nor_the_cloud(
    made: str, ogc: Ogc, engine: Engine, cloud: Cloud, folder: Path
) -> None:
    make(engine, made)
    scene = Scene(engine, cloud, folder)
    before = list(scene.now())
    for words in REFUSED:
        if (made in ("empty", "based")) and words.startswith("import-env"):
            # A colleague's database begins with it.
            continue
        check_refused(ogc(*words.split()), words, (OLD | STRANGE)[made])
    assert list(scene.now()) == before
    for words in UNCONCERNED:
        done = ogc(*words.split())
        assert done.returncode == 0, f"{words}: {done.stderr}"
    assert list(scene.now()) == before


@pytest.mark.parametrize("words", MIGRATING)
@pytest.mark.parametrize("made", STRANGE)
def test_what_migrates_changes_no_database_that_it_does_not_know(
    words: str, made: str, ogc: Ogc, engine: Engine, cloud: Cloud, folder: Path
) -> None:
    make(engine, made)
    (folder / "ogc.yml").unlink()
    scene = Scene(engine, cloud, folder)
    before = list(scene.now())
    check_refused(ogc(*words.split()), words, STRANGE[made])
    assert list(scene.now()) == before


@pytest.mark.parametrize("words", MIGRATING)
@pytest.mark.parametrize("made", OLD)
def test_what_migrates_brings_an_older_database_up_to_date_with_its_live_nodes(
    words: str, made: str, ogc: Ogc, engine: Engine, folder: Path
) -> None:
    make(engine, made)
    done = ogc(*words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert dump_async(engine)["alembic_version"][-1] == [f"('{HEAD}',)"]
    if made in EARLIER:
        assert "ogc-web-1" in ogc("ls").stdout


def test_every_command_is_tried_here() -> None:
    tried = {words.split()[0] for words in (*REFUSED, *MIGRATING, *UNCONCERNED, *ELSEWHERE)}
    assert set(typer.main.get_command(cli).commands) <= tried  # type: ignore[attr-defined]  # a group's
