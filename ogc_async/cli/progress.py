"""How long work goes on: one small picture that is drawn anew on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ogc_async.cli.invocation import current
from ogc_async.cli.tally import Picture, Tally
from ogc_async.cli.voice import err
from ogc_async.events import Event

REFRESH_S = 0.2
BAR = 30
"""Cells of the bar on 80 columns; it grows and shrinks with the window."""
COLOURS = {"running": "green", "finished": "green", "terminated": "green", "failed": "red"}


class Display:
    """Draws a tally: :meth:`refresh` now, :meth:`run` again and again until cancelled."""

    def __init__(self, tally: Tally, live: Live | None) -> None:
        self._tally = tally
        self._live = live
        self.note = ""

    async def run(self) -> None:
        """Redraw until cancelled."""
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_S)

    def refresh(self) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(Group(*draw(self._tally.picture(), err.width, self.note)), refresh=True)

    def say(self, note: str) -> None:
        """Show a line to the user while work goes on."""
        self.note = note
        if self._live is not None:
            self.refresh()
        elif not current.is_json:
            err.print(f"ogc: {note}", markup=False)

    def stop(self) -> None:
        """Give the terminal back as it was."""
        if self._live is not None:
            self._live.stop()


class PlainLines:
    """Tells, where no terminal is, at each quarter of the way how far it is."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._told = 0

    def __call__(self, _event: Event) -> None:
        """Look whether there is news; the tally has taken the event in before."""
        quarter = 4 * self._tally.done // max(self._tally.expected, 1)
        if quarter > self._told:
            self._told = quarter
            err.print(self._tally.picture().counted, markup=False)


@contextmanager
def display(tally: Tally, *, is_quiet: bool) -> Iterator[Display]:
    """The display of a tally on stderr for the block; nothing at all where it is to be quiet."""
    if is_quiet or not err.is_terminal:
        yield Display(tally, None)
        return
    with Live(console=err, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        yield Display(tally, live)


def draw(picture: Picture, width: int, note: str = "") -> list[Text]:
    """The picture's lines, each cut to the width: progress, counts, who is slow, what went wrong."""
    lines = [_progress(picture, width), _counts(picture)]
    if picture.slowest:
        late = ", ".join(f"{name} {what} {clock(seconds)}" for name, what, seconds in picture.slowest)
        lines.append(Text.assemble(("slowest ", "bold"), late))
    for place, (count, message) in enumerate(picture.errors):
        head = "errors  " if place == 0 else "        "
        lines.append(Text.assemble((head, "bold"), (f"{count}x " if count > 1 else "", "red"), message))
    if note:
        lines.append(Text(note, style="yellow"))
    for each in lines:
        each.truncate(width, overflow="ellipsis")
        each.no_wrap = True
    return lines


def clock(seconds: float) -> str:
    """``42s``, ``3:07``, ``1:02:03``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _progress(picture: Picture, width: int) -> Text:
    figures = f" {picture.done}/{picture.expected}  {clock(picture.elapsed_s)}"
    if picture.done:
        figures += f"  {picture.rate:.1f}/s"
    head = f"{picture.title} "
    room = min(width - cell_len(head) - cell_len(figures), 2 * BAR)
    if room < BAR // 4:
        return Text(head + figures.strip())
    filled = room * picture.done // max(picture.expected, 1)
    bad = room * picture.failed // max(picture.expected, 1)
    return Text.assemble(
        (head, "bold"),
        ("━" * (filled - bad), "green"),
        ("━" * bad, "red"),
        ("─" * (room - filled), "dim"),
        figures,
    )


def _counts(picture: Picture) -> Text:
    parts: list[tuple[str, str] | str] = []
    for stage, count in picture.counts:
        parts += [" · " if parts else "", (f"{count} {stage}", COLOURS.get(stage, ""))]
    if picture.steps:
        parts.append(f" · {picture.steps} steps run")
    return Text.assemble(("nodes   ", "bold"), *(parts or ["none yet"]))
