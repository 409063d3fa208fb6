"""Which migrations this release has, and what a database's own record of them means to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Select, String, column, select, table

from ogc_async.db.models import Base
from ogc_async.db.sqlite import VERSION_TABLE
from ogc_async.errors import ForeignTables, NotMigrated, SchemaTooNew, StoreError

RECORDED: Select[str] = select(column("version_num", String)).select_from(table(VERSION_TABLE))
_NAMED = re.compile(r"^(revision|down_revision)\b[^=\n]*=(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migrations:
    """The revisions of a folder of scripts; ``heads`` are those that no other one comes after."""

    revisions: frozenset[str]
    heads: frozenset[str]

    def objection(self, recorded: Collection[str], tables: Collection[str]) -> StoreError | None:
        """Why a database cannot be worked with; nothing where its tables are the newest migration's.

        ``recorded`` holds the revisions on record there. ``tables`` names its tables, and counts where none is.
        """
        found = frozenset(recorded)
        if found == self.heads:
            return None
        newest = _listed(self.heads)
        if unknown := found - self.revisions:
            return SchemaTooNew(_listed(unknown), newest)
        if found:
            return NotMigrated(f"it is at revision {_listed(found)}, and this release needs {newest}")
        return self.unrecorded(tables) or NotMigrated(f"no revision is on record, and this release needs {newest}")

    @staticmethod
    def unrecorded(tables: Collection[str]) -> ForeignTables | None:
        """Tables of our names in a database that has no revision on record: no migration of ours made them."""
        ours = sorted(set(tables) & set(Base.metadata.tables))
        return ForeignTables(ours) if ours else None


@cache
def known_migrations() -> Migrations:
    """This release's. Read without Alembic, which takes longer to import than most commands run."""
    found: dict[str, object] = {}
    for path in (migrations_folder() / "versions").glob("*.py"):
        named = {name: ast.literal_eval(value.strip()) for name, value in _NAMED.findall(path.read_text("utf-8"))}
        found[named["revision"]] = named["down_revision"]
    before = {each for down in found.values() for each in (down if isinstance(down, tuple) else (down,))}
    return Migrations(frozenset(found), frozenset(found) - before)


def migrations_folder() -> Path:
    """The wheel carries the scripts inside the package; a checkout has them beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError(f"no migrations found beside {package}; install the package anew")


def _listed(revisions: Collection[str]) -> str:
    return ", ".join(sorted(revisions))
