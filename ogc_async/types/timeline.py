"""The milestones of a node's way, as they are kept: what the timeline is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class MilestoneKind(StrEnum):
    """What a node reached, in the order of a life that goes well."""

    PLANNED = "planned"
    REQUESTED = "requested"
    RUNNING = "running"
    BEGUN = "begun"
    """Work on it began: an SSH session is asked for."""
    CONNECTED = "connected"
    PUSHED = "pushed"
    STEP_STARTED = "step-started"
    STEP_PASSED = "step-passed"
    STEP_FAILED = "step-failed"
    READY = "ready"
    FAILED = "failed"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Milestone:
    """One moment of one node. ``run`` is the same for all that one call did; ``detail`` is a step's script."""

    node_id: int
    run: str
    work: str
    kind: MilestoneKind
    at: datetime
    detail: str = ""
