"""The timeline as SVG: a bar a node, the slowest on top, each phase with its seconds where the pointer rests."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from ogc_async.cli.phases import Lane, PhaseSummary, summaries

COLOURS = {"plan": "#c3c9d1", "boot": "#4c78a8", "ssh": "#f2a03d", "push": "#72b7b2", "end": "#9d755d"}
STEPS = ("#54a24b", "#9ccc65", "#2f7d5b", "#c0b62e")
FAILED = "#d64550"
WIDTH, LEFT, TOP = 960, 190, 64
ROW, THIN_ROW, MANY = 18, 5, 60
"""Rows are thin, and without names, where there are more than ``MANY``."""
TICKS = 6


def timeline_svg(lanes: Sequence[Lane]) -> str:
    """The whole document."""
    found = summaries(lanes)
    colours = _colours(found)
    total_s = max((lane.end_s for lane in lanes), default=0.0) or 1.0
    row = ROW if len(lanes) <= MANY else THIN_ROW
    height = TOP + row * len(lanes) + 40
    scale = (WIDTH - LEFT - 80) / total_s
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="system-ui, sans-serif" font-size="11" fill="#24292f">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="14" font-weight="600">{len(lanes)} nodes in {total_s:.1f} s</text>',
        *_legend(found, colours),
        *_axis(total_s, scale, height - 30),
        *(part for place, lane in enumerate(lanes) for part in _lane(lane, TOP + place * row, row, scale, colours)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(found: Sequence[PhaseSummary], colours: dict[str, str]) -> list[str]:
    parts, x = [], 12
    for each in found:
        text = f"{each.name} {each.median_s:.1f} s"
        parts.append(f'<rect x="{x}" y="34" width="10" height="10" fill="{colours[each.name]}"/>')
        parts.append(f'<text x="{x + 14}" y="43">{escape(text)}</text>')
        x += 30 + 6 * len(text)
    return parts


def _axis(total_s: float, scale: float, bottom: int) -> list[str]:
    parts = []
    for tick in range(TICKS + 1):
        seconds = total_s * tick / TICKS
        x = LEFT + seconds * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{bottom}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{seconds:.1f} s</text>')
    return parts


def _lane(lane: Lane, y: int, row: int, scale: float, colours: dict[str, str]) -> list[str]:
    parts = []
    if row == ROW:
        parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(lane.name)}</text>')
        parts.append(f'<text x="{LEFT + lane.end_s * scale + 6:.1f}" y="{y + 12}">{lane.end_s:.1f} s</text>')
    for phase in lane.phases:
        x, width = LEFT + phase.start_s * scale, max(phase.seconds * scale, 0.8)
        colour = colours[phase.name] if phase.ok else FAILED
        told = f"{lane.name}: {phase.name} {phase.seconds:.2f} s{'' if phase.ok else ', failed'}"
        parts.append(
            f'<rect x="{x:.1f}" y="{y + 1}" width="{width:.1f}" height="{row - 2}" fill={quoteattr(colour)}>'
            f"<title>{escape(told)}</title></rect>"
        )
    return parts


def _colours(found: Sequence[PhaseSummary]) -> dict[str, str]:
    colours = dict(COLOURS)
    for each in found:
        if each.name not in colours:
            colours[each.name] = STEPS[(len(colours) - len(COLOURS)) % len(STEPS)]
    return colours
