"""How far a fleet has come, in figures: counted from events, whoever draws them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ogc_async.events import Event, NodeConnected, NodeFinished, NodeMoved, StepFinished, StepStarted
from ogc_async.types import NodeState

ORDER = ("planned", "launching", "running", "connected", "terminating", "terminated", "finished", "failed")
SLOWEST = 3
LAST = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """One moment: ``done`` of ``expected`` nodes are at the goal or have failed; times are seconds."""

    title: str
    expected: int
    done: int
    failed: int
    counts: tuple[tuple[str, int], ...]
    steps: int
    elapsed_s: float
    rate: float
    slowest: tuple[tuple[str, str, float], ...]
    errors: tuple[tuple[int, str], ...]

    @property
    def counted(self) -> str:
        """``7 nodes: 4 launching, 3 running``."""
        parts = [f"{count} {stage}" for stage, count in self.counts]
        steps = [f"{self.steps} steps run"] if self.steps else []
        return f"{self.expected} nodes: " + ", ".join(parts + steps)


class Tally:
    """Counts nodes by how far they have come; ``goal`` are the stages at which a node is done."""

    def __init__(
        self, title: str, expected: int, goal: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title = title
        self.expected = expected
        self._goal = frozenset(goal)
        self._clock = clock
        self._began = clock()
        self._stage: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._doing: dict[int, tuple[str, str, float]] = {}
        self._steps = 0
        self._errors: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, StepFinished):
            self._steps += 1
        if isinstance(event, StepStarted):
            self._doing[event.node_id] = (event.name, event.script, self._clock())
        stage = stage_of(event)
        if stage is None:
            return
        self._counts[self._stage.get(event.node_id, "")] -= 1
        self._counts[stage] += 1
        self._stage[event.node_id] = stage
        self._doing[event.node_id] = (event.name, stage, self._clock())
        reason = _reason_of(event)
        if reason:
            text = without_name(reason, event.name)
            # The last one to happen goes to the end.
            self._errors[text] = self._errors.pop(text, 0) + 1

    @property
    def seen(self) -> frozenset[int]:
        """The ids of all nodes heard of."""
        return frozenset(self._stage)

    @property
    def done(self) -> int:
        """Nodes that are at the goal, or have failed: asked for at every event, and so counted as they come."""
        return sum(self._counts[stage] for stage in self._goal | {"failed"})

    def picture(self) -> Picture:
        """The figures now."""
        counts, done = self._counts, self.done
        elapsed = self._clock() - self._began
        return Picture(
            title=self.title,
            expected=max(self.expected, len(self._stage)),
            done=done,
            failed=counts["failed"],
            counts=tuple((stage, counts[stage]) for stage in ORDER if counts[stage]),
            steps=self._steps,
            elapsed_s=elapsed,
            rate=done / elapsed if elapsed > 0 else 0.0,
            slowest=self._slowest(),
            errors=tuple((count, text) for text, count in reversed(list(self._errors.items())[-LAST:])),
        )

    def _slowest(self) -> tuple[tuple[str, str, float], ...]:
        """Who has been at the same thing for longest: name, what, seconds."""
        now, ended = self._clock(), self._goal | {"failed"}
        under_way = [doing for node_id, doing in self._doing.items() if self._stage.get(node_id) not in ended]
        late = sorted(under_way, key=lambda doing: doing[2])[:SLOWEST]
        return tuple((name, what, now - since) for name, what, since in late)


def stage_of(event: Event) -> str | None:
    """The stage that a node enters by this event, if it is one of a stage."""
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


def without_name(message: str, name: str) -> str:
    """The message as it would be of any node, so that equal ones can be counted together."""
    text = message.splitlines()[0] if message else ""
    text = re.sub(rf"^{re.escape(name)}: ", "", text)
    return text.replace(name, "NODE")


def _reason_of(event: Event) -> str | None:
    match event:
        case NodeMoved(state=NodeState.FAILED | NodeState.LOST, reason=reason):
            return reason or "failed"
        case NodeFinished(ok=False, error=error):
            return error or "a step failed"
        case _:
            return None
