"""Output as it comes, line by line, each behind the name of its node."""

from __future__ import annotations

from collections.abc import Iterable

from ogc_async.cli.invocation import current
from ogc_async.cli.voice import out
from ogc_async.events import Event, OutputArrived
from ogc_async.types import NodeSnapshot

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


class Streamed:
    """Hears the events of a fleet; :meth:`flush` says what is left without an end of line."""

    def __init__(self, nodes: Iterable[NodeSnapshot]) -> None:
        self._width = max((len(node.name) for node in nodes), default=0)
        self._rest: dict[str, bytes] = {}

    def __call__(self, event: Event) -> None:
        """Say every line that is complete."""
        if not isinstance(event, OutputArrived):
            return
        *lines, rest = (self._rest.get(event.name, b"") + event.data).split(b"\n")
        self._rest[event.name] = rest
        for each in lines:
            self._say(event.name, each)

    def flush(self) -> None:
        """Say what is left."""
        for name, rest in self._rest.items():
            if rest:
                self._say(name, rest)
        self._rest.clear()

    def _say(self, name: str, data: bytes) -> None:
        if current.is_json:
            return
        colour = COLOURS[sum(name.encode()) % len(COLOURS)]
        text = data.decode("utf-8", "replace").rstrip("\r")
        out.print(f"{name:<{self._width}} |", style=colour, end=" ", markup=False)
        out.print(text, markup=False)
