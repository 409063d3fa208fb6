"""Tables fit their window."""

from __future__ import annotations

import pytest

from ogc_async.cli.tables import Column, fitting, node_columns, table
from tests.unit.cli.nodes import node


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (10, ["name"]),
        (30, ["name", "state"]),
        (80, ["id", "name", "layout", "state", "address", "zone", "age"]),
        (200, ["id", "name", "layout", "state", "address", "instance", "zone", "age"]),
    ],
)
def test_the_least_important_columns_are_left_out_first(width: int, titles: list[str]) -> None:
    rows = [node(1, "ogc-web-k87wkb5k", instance_id="i-0123456789abcdef0")]
    assert [column.title for column in fitting(node_columns(rows), width)] == titles


def test_lines_have_no_blanks_at_their_ends_and_numbers_stand_right() -> None:
    columns = [Column("n", ["1", "22"], is_number=True), Column("name", ["a", "longer"])]
    assert table(columns, 80).plain == " n  name\n 1  a\n22  longer"


def test_a_flexible_column_is_cut_rather_than_left_out() -> None:
    columns = [Column("node", ["web-1"]), Column("said", ["x" * 100], 1, is_flexible=True)]
    assert table(columns, 40).plain.splitlines()[1] == "web-1  " + "x" * 32 + "…"
