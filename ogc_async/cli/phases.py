"""From milestones to phases: what each node did, from when to when, with the time left out in which nobody worked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from ogc_async.types import Milestone, MilestoneKind

BRINGING_UP = frozenset({"launch", "deploy", "sync"})
"""Work that the timeline tells of; a command that ran a day later would leave no room for it."""

NAMES = {
    MilestoneKind.PLANNED: "plan",
    MilestoneKind.REQUESTED: "boot",
    MilestoneKind.RUNNING: "ssh",
    MilestoneKind.BEGUN: "ssh",
    MilestoneKind.CONNECTED: "push",
    MilestoneKind.TERMINATING: "end",
}
"""What a node is at once it has reached that."""
ORDER = {name: place for place, name in enumerate(NAMES.values())} | {"end": len(NAMES) + 1}
"""Steps come behind these, in the order in which they begin."""
ENDS = frozenset({MilestoneKind.READY, MilestoneKind.FAILED, MilestoneKind.TERMINATED})


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of one node's way; times are seconds from the beginning of everything shown."""

    name: str
    start_s: float
    end_s: float
    ok: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Lane:
    """One node's phases, in order."""

    node_id: int
    name: str
    phases: tuple[Phase, ...]

    @property
    def end_s(self) -> float:
        """When the last one ended."""
        return max((phase.end_s for phase in self.phases), default=0.0)


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """One phase over all nodes."""

    name: str
    nodes: int
    median_s: float
    slowest_s: float
    slowest: str


def lanes_of(milestones: Iterable[Milestone], names: Mapping[int, str]) -> list[Lane]:
    """A lane a node that has any phase, the one that took longest first."""
    told = [each for each in milestones if each.work in BRINGING_UP]
    starts = _starts(told)
    by_node: dict[int, list[tuple[float, Milestone]]] = {}
    for each in told:
        zero, offset = starts[each.run]
        by_node.setdefault(each.node_id, []).append(((each.at - zero).total_seconds() + offset, each))
    lanes = [Lane(node_id, names[node_id], _phases(moments)) for node_id, moments in by_node.items()]
    return sorted((lane for lane in lanes if lane.phases), key=lambda lane: (-lane.end_s, lane.node_id))


def summaries(lanes: Sequence[Lane]) -> list[PhaseSummary]:
    """Each phase over all nodes, in the order in which they begin."""
    by_name: dict[str, list[tuple[Phase, Lane]]] = {}
    for lane in lanes:
        for phase in lane.phases:
            by_name.setdefault(phase.name, []).append((phase, lane))
    first = {name: median(phase.start_s for phase, _ in each) for name, each in by_name.items()}
    found = []
    for name in sorted(by_name, key=lambda each: (ORDER.get(each, len(ORDER)), first[each])):
        slowest, lane = max(by_name[name], key=lambda each: each[0].seconds)
        middle = median(phase.seconds for phase, _ in by_name[name])
        found.append(PhaseSummary(name, len(by_name[name]), middle, slowest.seconds, lane.name))
    return found


def _starts(milestones: Iterable[Milestone]) -> dict[str, tuple[datetime, float]]:
    """When each run began, and where it begins in the picture: right after the one before it."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for each in milestones:
        begun, ended = spans.get(each.run, (each.at, each.at))
        spans[each.run] = min(begun, each.at), max(ended, each.at)
    offset = 0.0
    starts: dict[str, tuple[datetime, float]] = {}
    for run, (begun, ended) in sorted(spans.items(), key=lambda item: item[1]):
        starts[run] = begun, offset
        offset += (ended - begun).total_seconds()
    return starts


def _phases(moments: Sequence[tuple[float, Milestone]]) -> tuple[Phase, ...]:
    """What lies between each two moments of one run; waiting for others has no name."""
    found: list[Phase] = []
    for (start_s, here), (end_s, there) in pairwise(sorted(moments, key=lambda each: each[0])):
        name = here.detail if here.kind is MilestoneKind.STEP_STARTED else NAMES.get(here.kind)
        if name is None or here.run != there.run or here.kind in ENDS:
            continue
        is_bad = there.kind in (MilestoneKind.STEP_FAILED, MilestoneKind.FAILED)
        found.append(Phase(name, start_s, end_s, ok=not is_bad))
    return tuple(found)
