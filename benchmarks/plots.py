"""Draws the results as SVG: the same figures as the tables, over the size of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.report import BEYOND, OURS, RESULTS, load

# The same result makes the same file: no date, no random ids, text as text.
STYLE = {
    "svg.hashsalt": "ogc_async",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
}
PANELS = {
    "launch": ((BEYOND, "seconds beyond the slowest boot"), ("CPU seconds", "CPU seconds"), ("calls", "API calls")),
    "deploy": (("seconds", "seconds"), ("CPU milliseconds a node", "CPU, ms a node"), ("peak MB", "peak MB")),
}
GROWTH = (BEYOND, "calls", "CPU seconds", "peak MB")


def draw(folder: Path = RESULTS) -> None:
    """Draw every result that has a plot."""
    results = load(folder)
    with plt.rc_context(STYLE):
        for kind, panels in PANELS.items():
            if kind in results:
                _save(_races(results[kind]["fleets"], panels), folder / f"{kind}.svg")
        if "scale" in results:
            _save(_growth(results["scale"]["fleets"]), folder / "scale.svg")


def _races(fleets: Mapping[str, Any], panels: tuple[tuple[str, str], ...]) -> Any:
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3.6))
    names = dict.fromkeys(name for entries in fleets.values() for name in entries)
    for axis, (figure_name, words) in zip(axes, panels, strict=True):
        for name in names:
            points = [
                (int(count), entries[name][figure_name])
                for count, entries in fleets.items()
                if figure_name in entries.get(name, {})
            ]
            _line(axis, points, name)
        _label(axis, words)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _growth(providers: Mapping[str, Any]) -> Any:
    figure, axes = plt.subplots(1, len(GROWTH), figsize=(11, 3))
    for axis, name in zip(axes, GROWTH, strict=True):
        for provider, fleets in providers.items():
            _line(axis, [(int(count), each[name]) for count, each in fleets.items()], provider)
        _label(axis, name)
    axes[0].legend(frameon=False)
    return figure


def _line(axis: Any, points: list[tuple[int, float]], name: str) -> None:
    if points:
        how: dict[str, Any] = {"linewidth": 2.5, "color": "black"} if name == OURS else {}
        how |= {"linestyle": "--"} if name.startswith("floor") else {}
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name, **how)


def _label(axis: Any, words: str) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("nodes")
    axis.set_title(words, fontsize=9)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
