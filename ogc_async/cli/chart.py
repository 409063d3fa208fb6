"""The timeline on a terminal: each phase over all nodes, and a bar for each of those that took longest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from ogc_async.cli.phases import Lane, Phase, PhaseSummary, summaries
from ogc_async.cli.tables import Column, table

STYLES = {"plan": ("·", "dim"), "boot": ("░", "blue"), "ssh": ("▒", "yellow"), "push": ("▓", "cyan")}
STEPS = (("█", "green"), ("▄", "bright_green"), ("▀", "green"), ("▌", "bright_green"))
"""A phase is told from its neighbours by its sign, too: not everybody sees colours."""
BARS = 10
"""Bars that leave room for the rest on 24 lines."""
NAME_ROOM = 60
"""Below this width nodes are called by their ids."""


def draw_timeline(console: Console, lanes: Sequence[Lane]) -> None:
    """Print it at the console's width."""
    if not lanes:
        console.print("no timeline on record: nothing was launched or deployed to here yet", markup=False)
        return
    found = summaries(lanes)
    styles = styles_of(each.name for each in found)
    console.print(table(_columns(found, styles), console.width))
    total_s = max(lane.end_s for lane in lanes)
    shown = lanes if len(lanes) <= BARS + 2 else lanes[:BARS]
    calls = [lane.name if console.width >= NAME_ROOM else str(lane.node_id) for lane in shown]
    width = max(map(len, calls))
    room = max(min(console.width, 120) - width - 10, 1)
    console.print()
    for call, lane in zip(calls, shown, strict=True):
        console.print(
            Text.assemble(f"{call:<{width}} ", bar(lane.phases, total_s, room, styles), f" {lane.end_s:.1f}s")
        )
    if len(shown) < len(lanes):
        console.print(f"and {len(lanes) - len(shown)} more nodes, none of them slower", style="dim", markup=False)


def bar(phases: Sequence[Phase], total_s: float, room: int, styles: dict[str, tuple[str, str]]) -> Text:
    """One node's bar, ``room`` cells for ``total_s`` seconds; a phase that failed is red."""
    cells: list[tuple[str, str]] = [(" ", "")] * room
    for phase in phases:
        first = min(int(phase.start_s / total_s * room), room - 1) if total_s else 0
        last = max(int(phase.end_s / total_s * room), first + 1) if total_s else room
        sign, style = styles[phase.name]
        cells[first:last] = [(sign, style if phase.ok else "bold red")] * (min(last, room) - first)
    return Text.assemble(*cells)


def styles_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Each phase's sign and colour."""
    styles = dict(STYLES)
    for name in names:
        if name not in styles:
            styles[name] = STEPS[(len(styles) - len(STYLES)) % len(STEPS)]
    return styles


def _columns(found: Sequence[PhaseSummary], styles: dict[str, tuple[str, str]]) -> list[Column]:
    return [
        Column("", [Text(styles[each.name][0] * 2, style=styles[each.name][1]) for each in found], 1),
        Column("phase", [Text(each.name) for each in found], 0),
        Column("nodes", [str(each.nodes) for each in found], 5, is_number=True),
        Column("median", [f"{each.median_s:.2f}s" for each in found], 2, is_number=True),
        Column("slowest", [f"{each.slowest_s:.2f}s" for each in found], 3, is_number=True),
        Column("slowest node", [Text(each.slowest) for each in found], 4),
    ]
