"""Updates of many rows that do not block each other for good."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement, Update, select, update

from ogc_async.db.models import Action, Node

Row = TypeVar("Row", Node, Action)


def update_in_order(table: type[Row], *where: ColumnElement[bool]) -> Update:
    """An update of the rows that meet all of this, locked in the order of their ids before any of them is written.

    PostgreSQL locks the rows of a plain update as it happens to find them: of two at once, each may hold a row that the
    other waits for, and one of them fails. A row that came to meet the conditions no more while it was waited for is
    left out. Rows that refer to these, as actions do to nodes, may be written meanwhile. SQLite has one writer.
    """
    found = select(table.id).where(*where).order_by(table.id).with_for_update(key_share=True).cte("found")
    return update(table).where(table.id == found.c.id)
