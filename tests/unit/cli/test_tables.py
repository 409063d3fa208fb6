"""Tables fit their window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ogc_async.cli.tables import Column, fitting, node_columns, table
from ogc_async.types import EndedBy, NodeState
from tests.unit.cli.nodes import node

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


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


def test_a_list_says_how_long_each_node_has_left_and_what_it_is() -> None:
    rows = [
        node(1, "ogc-web-1", ends_at=NOW + timedelta(hours=3, minutes=12), read_at=NOW, size="m5.large"),
        node(2, "ogc-web-2", ends_at=NOW - timedelta(minutes=4), read_at=NOW),
        node(3, "ogc-web-3", read_at=NOW),
    ]
    cells = {column.title: list(column.cells) for column in node_columns(rows)}
    assert cells["ends in"] == ["3h12m", "over 4m", "-"]
    assert cells["size"] == ["m5.large", "-", "-"]
    assert "ended" not in cells


def test_a_list_of_ended_nodes_says_what_ended_each_and_when_and_not_what_they_had_left() -> None:
    ended = {
        "state": NodeState.TERMINATED,
        "ends_at": NOW,
        "read_at": NOW,
        "ended_at": NOW - timedelta(days=1, hours=2),
    }
    rows = [node(1, "ogc-web-1", **ended, ended_by=EndedBy.TTL), node(2, "ogc-web-2", state=NodeState.FAILED)]
    cells = {column.title: list(column.cells) for column in node_columns(rows)}
    assert cells["ended"] == ["ttl, 1d2h ago", "-"]
    assert "ends in" not in cells


def test_lines_have_no_blanks_at_their_ends_and_numbers_stand_right() -> None:
    columns = [Column("n", ["1", "22"], is_number=True), Column("name", ["a", "longer"])]
    assert table(columns, 80).plain == " n  name\n 1  a\n22  longer"


def test_a_flexible_column_is_cut_rather_than_left_out() -> None:
    columns = [Column("node", ["web-1"]), Column("said", ["x" * 100], 1, is_flexible=True)]
    assert table(columns, 40).plain.splitlines()[1] == "web-1  " + "x" * 32 + "…"
