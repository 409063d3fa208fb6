"""How long work goes on, in one line: live on a terminal, at each quarter of the way elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from ogc_async.events import Event, Events, NodeConnected, NodeFinished, NodeMoved, StepFinished
from ogc_async.types import NodeState

ORDER = ("planned", "launching", "running", "connected", "terminating", "terminated", "finished", "failed")


class Progress:
    """Counts nodes by how far they have come."""

    def __init__(self, console: Console, expected: int, status: Status | None) -> None:
        self._console = console
        self._expected = expected
        self._status = status
        self._stage: dict[int, str] = {}
        self._steps = 0
        self._told: set[tuple[str, int]] = set()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        stage = _stage_of(event)
        if isinstance(event, StepFinished):
            self._steps += 1
        if stage is None:
            return
        self._stage[event.node_id] = stage
        if self._status is not None:
            self._status.update(self.summary())
        elif self._is_news(stage):
            self._console.print(self.summary(), markup=False)

    def summary(self) -> str:
        """The line: how many nodes are where."""
        counts = Counter(self._stage.values())
        parts = [f"{counts[stage]} {stage}" for stage in ORDER if counts[stage]]
        steps = [f"{self._steps} steps run"] if self._steps else []
        return f"{self._expected} nodes: " + ", ".join(parts + steps)

    def _is_news(self, stage: str) -> bool:
        count = sum(each == stage for each in self._stage.values())
        quarter = 4 * count // max(self._expected, 1)
        if (stage, quarter) in self._told or stage in ("planned", "launching", "terminating"):
            return False
        self._told.add((stage, quarter))
        return True


@contextmanager
def shown_progress(events: Events, *, expected: int) -> Iterator[None]:
    """Show the progress of ``expected`` nodes on stderr while the block runs."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        with events.subscribed(Progress(console, expected, None)):
            yield
        return
    with console.status(f"{expected} nodes") as status, events.subscribed(Progress(console, expected, status)):
        yield


def _stage_of(event: Event) -> str | None:
    match event:
        case NodeMoved(state=NodeState.LOST):
            return "failed"
        case NodeMoved(state=state):
            return str(state)
        case NodeConnected():
            return "connected"
        case NodeFinished(ok=ok):
            return "finished" if ok else "failed"
        case _:
            return None
