"""What a database's record of migrations means to this release."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from ogc_async.db.revisions import Migrations, known_migrations, migrations_folder
from ogc_async.errors import ForeignTables, NotMigrated, SchemaTooNew, StoreError

LINE = Migrations(frozenset({"0001", "0002", "0003"}), frozenset({"0003"}))
FORK = Migrations(frozenset({"0001", "0002", "a1b2"}), frozenset({"0002", "a1b2"}))


def test_the_migrations_are_those_that_alembic_reads() -> None:
    scripts = ScriptDirectory(str(migrations_folder()))
    assert known_migrations().revisions == {each.revision for each in scripts.walk_revisions()}
    assert known_migrations().heads == set(scripts.get_heads())


@pytest.mark.parametrize(
    ("migrations", "recorded", "tables", "kind"),
    [
        (LINE, ["0003"], ["nodes"], None),
        (FORK, ["a1b2", "0002"], ["nodes"], None),
        (LINE, ["0001"], ["nodes"], NotMigrated),
        (FORK, ["0002"], ["nodes"], NotMigrated),
        (LINE, ["0002", "0003"], [], NotMigrated),
        (LINE, [], [], NotMigrated),
        (LINE, [], ["alembic_version", "poems"], NotMigrated),
        (LINE, [], ["alembic_version", "nodes"], ForeignTables),
        (LINE, ["0099"], ["nodes"], SchemaTooNew),
        (LINE, ["0003", "0099"], [], SchemaTooNew),
    ],
)
def test_only_the_newest_migrations_tables_are_worked_with(
    migrations: Migrations, recorded: list[str], tables: list[str], kind: type[StoreError] | None
) -> None:
    objection = migrations.objection(recorded, tables)
    assert type(objection) is (kind or type(None))


def test_a_refusal_names_both_revisions_and_what_to_do() -> None:
    older = LINE.objection(["0001"], [])
    assert str(older) == (
        "the database is not migrated (it is at revision 0001, and this release needs 0003):"
        " run `ogc db migrate` or db.migrate()"
    )
    newer = LINE.objection(["0099"], [])
    assert isinstance(newer, SchemaTooNew)
    assert (newer.recorded, newer.known) == ("0099", "0003")
    assert "at revision 0099, and this release knows none after 0003: install the release" in str(newer)
    foreign = LINE.objection([], ["poems", "nodes"])
    assert isinstance(foreign, ForeignTables)
    assert foreign.tables == ("nodes",)
    assert "OGC_DATABASE_URL" in str(foreign)
