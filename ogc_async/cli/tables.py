"""Tables that fit where they are shown: what matters least is left out first where the window is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.text import Text

from ogc_async.types import LIVE, NodeSnapshot, NodeState
from ogc_async.types.span import lasting

GAP = 2
OPTIONAL = frozenset({"size", "ends in", "ended"})
STYLES = {
    NodeState.RUNNING: "green",
    NodeState.STOPPED: "yellow",
    NodeState.FAILED: "red",
    NodeState.LOST: "red",
    NodeState.TERMINATED: "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title and cells; of two, the one of the higher ``rank`` is left out first."""

    title: str
    cells: Sequence[str | Text]
    rank: int = 0
    is_number: bool = False
    is_flexible: bool = False
    """Cells are cut rather than the column left out."""

    @property
    def width(self) -> int:
        """Cells that the widest of them needs."""
        return max((cell_len(str(cell)) for cell in (self.title, *self.cells)), default=0)


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """As many columns as have room, in their order; the most important one in any case."""
    kept = list(columns)
    while len(kept) > 1 and _needed(kept) > width:
        kept.remove(max(kept, key=lambda each: each.rank))
    return kept


def table(columns: Sequence[Column], width: int) -> Text:
    """A table of the columns that fit, line by line, without a blank at any line's end."""
    kept = fitting(columns, width)
    widths = _widths(kept, width)
    rows: list[Sequence[str | Text]] = [[Text(column.title, style="bold") for column in kept]]
    rows += zip(*(column.cells for column in kept), strict=True)
    return Text("\n").join(_row(row, kept, widths) for row in rows)


def _row(cells: Sequence[str | Text], columns: Sequence[Column], widths: Sequence[int]) -> Text:
    line = Text()
    for place, (cell, column, width) in enumerate(zip(cells, columns, widths, strict=True)):
        text = cell.copy() if isinstance(cell, Text) else Text(cell)
        if column.is_flexible:
            text.truncate(width, overflow="ellipsis")
        if column.is_number:
            text.align("right", width)
        elif place < len(columns) - 1:
            text.align("left", width)
        line.append_text(text)
        if place < len(columns) - 1:
            line.append(" " * GAP)
    line.rstrip()
    return line


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Each column's own, but that a flexible one has what is left."""
    fixed = sum(column.width for column in columns if not column.is_flexible) + GAP * (len(columns) - 1)
    return [min(column.width, max(width - fixed, 1)) if column.is_flexible else column.width for column in columns]


def node_columns(rows: Sequence[NodeSnapshot]) -> list[Column]:
    """What a list of nodes tells. Sizes and ends are columns where any node has one on record."""
    columns = [
        Column("id", [str(node.id) for node in rows], 5),
        Column("name", [Text(node.name) for node in rows], 0),
        Column("layout", [node.layout for node in rows], 6),
        Column("state", [Text(node.state, style=STYLES.get(node.state, "yellow")) for node in rows], 1),
        Column("address", [node.public_ip or node.private_ip or "-" for node in rows], 2),
        Column("instance", [node.instance_id or "-" for node in rows], 9),
        Column("size", [node.size or "-" for node in rows], 7),
        Column("zone", [node.zone or node.region for node in rows], 8),
        Column("age", [age(node.created_at) for node in rows], 4),
        Column("ends in", [ends_in(node) for node in rows], 3),
        Column("ended", [ended(node) for node in rows], 3),
    ]
    return [each for each in columns if each.title not in OPTIONAL or set(each.cells) != {"-"}]


def ends_in(node: NodeSnapshot) -> str:
    """How long a live node has to live, or for how long its time has been over."""
    if node.ends_at is None or node.state not in LIVE:
        return "-"
    left = node.ends_at - (node.read_at or datetime.now(UTC))
    return lasting(left) if left > timedelta() else f"over {lasting(left)}"


def ended(node: NodeSnapshot) -> str:
    """What ended a node's machine, and how long ago."""
    if node.ended_at is None:
        return node.ended_by or "-"
    ago = f"{lasting((node.read_at or datetime.now(UTC)) - node.ended_at)} ago"
    return f"{node.ended_by}, {ago}" if node.ended_by else ago


def age(since: datetime | None) -> str:
    """How long ago, in the largest unit that fits."""
    if since is None:
        return "-"
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def _needed(columns: Sequence[Column]) -> int:
    widths = (min(column.width, 20) if column.is_flexible else column.width for column in columns)
    return sum(widths) + GAP * (len(columns) - 1)
