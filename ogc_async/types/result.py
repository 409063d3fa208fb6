"""What the verbs return: failures beside successes, and the caller decides whether to raise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ogc_async.errors import DeadlineExceeded, InstanceDied, NoCapacity, OgcError, StaleNode, TokenSpent, Unreachable
from ogc_async.types.node import NodeSnapshot

PASSING = (NoCapacity, InstanceDied, TokenSpent, StaleNode, DeadlineExceeded, Unreachable)
"""Errors of the moment: room, machines and other processes come and go, and a repeat has a token of its own."""


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """Why one node did not come up; ``is_retryable`` says whether a repeat could help."""

    layout: str
    node_id: int
    name: str
    error: OgcError

    @property
    def is_retryable(self) -> bool:
        """The same once more could help, as it could not where a quota, a right or the request itself is the reason."""
        return isinstance(self.error, PASSING) or bool(getattr(self.error, "retryable", False))

    def __str__(self) -> str:
        return f"{self.name}: {self.error}"


class NodeIds(list[int]):
    """Node ids with the ``failures`` beside them."""

    def __init__(self, node_ids: Iterable[int] = (), failures: Iterable[NodeFailure] = ()) -> None:
        super().__init__(node_ids)
        self.failures = tuple(failures)

    @property
    def ok(self) -> bool:
        """No node failed."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise the only failure's error, or all of them as an ``ExceptionGroup``."""
        errors = [failure.error for failure in self.failures]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} nodes failed", errors)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r}, failures={len(self.failures)})"


class LaunchResult(NodeIds):
    """The ids of the nodes that came up, in the spec's order.

    ``pending`` are those that were still booting when as many ran as a layout's ``min-ready`` says: `sync` goes on
    with them. ``warnings`` tell of nodes that came up, and not as their layouts want them.
    """

    def __init__(
        self,
        node_ids: Iterable[int] = (),
        failures: Iterable[NodeFailure] = (),
        pending: Iterable[int] = (),
        warnings: Iterable[NodeFailure] = (),
    ) -> None:
        super().__init__(node_ids, failures)
        self.pending = tuple(pending)
        self.warnings = tuple(warnings)


class TeardownResult(NodeIds):
    """The ids of the nodes whose machines the cloud says are gone, in the order asked.

    ``leftovers`` are the errors of firewalls and key pairs that could not be removed after the last node.
    """

    def __init__(
        self,
        node_ids: Iterable[int] = (),
        failures: Iterable[NodeFailure] = (),
        leftovers: Iterable[OgcError] = (),
    ) -> None:
        super().__init__(node_ids, failures)
        self.leftovers = tuple(leftovers)


class ExtendResult(NodeIds):
    """The ids of the nodes whose ends were put off, in the order asked, and ``nodes``: they, with their new ends."""

    def __init__(
        self,
        node_ids: Iterable[int] = (),
        failures: Iterable[NodeFailure] = (),
        nodes: Iterable[NodeSnapshot] = (),
    ) -> None:
        super().__init__(node_ids, failures)
        self.nodes = tuple(nodes)


class UpResult(NodeIds):
    """The ids of the nodes that came up, in the spec's order, and ``deployed``: how each of them was deployed to.

    ``pending`` and ``warnings`` are as a launch tells them: nodes that still booted, and were not deployed to; nodes
    that came up, and not as their layouts want them.
    """

    def __init__(
        self,
        node_ids: Iterable[int] = (),
        failures: Iterable[NodeFailure] = (),
        deployed: Iterable[DeployResult] = (),
        pending: Iterable[int] = (),
        warnings: Iterable[NodeFailure] = (),
    ) -> None:
        super().__init__(node_ids, failures)
        self.deployed = tuple(deployed)
        self.pending = tuple(pending)
        self.warnings = tuple(warnings)

    @property
    def ok(self) -> bool:
        """Every node came up, and every step passed."""
        return super().ok and all(self.deployed)


class StepState(StrEnum):
    """How a step stands or ended."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    KILLED = "killed"
    TIMED_OUT = "timed-out"
    INTERRUPTED = "interrupted"
    """Broken off from our side: cancelled, or the process that ran it is no more."""
    DISCONNECTED = "disconnected"
    """The connection was lost; nobody knows how the step went on."""
    REBOOTED = "rebooted"
    """The machine started anew while the step ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One script or command on one node. ``output`` is stdout and stderr as they arrived, bounded in size.

    ``is_skipped``: it passed in an earlier deploy, unchanged, and was not run again; its output is on record there.
    ``error`` says in words what the state and the exit code do not.
    """

    script: str
    state: StepState
    exit_code: int | None
    seconds: float
    output: bytes = field(default=b"", repr=False)
    output_bytes: int = 0
    signal: str | None = None
    sha256: str = ""
    is_skipped: bool = False
    error: str | None = None

    @property
    def ok(self) -> bool:
        """The step ended with exit code 0."""
        return self.state is StepState.PASSED

    @property
    def is_truncated(self) -> bool:
        """Output was cut: ``output_bytes`` arrived, fewer were kept."""
        return self.output_bytes > len(self.output)

    @property
    def text(self) -> str:
        """The output as text; bytes that are not UTF-8 show as U+FFFD."""
        return self.output.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, eq=False)
class DeployResult:
    """What ran on one node. Truthy, and equal to ``True``, when every step passed and nothing else failed.

    ``files`` are those that were fetched from it.
    """

    node_id: int
    name: str = ""
    steps: tuple[StepResult, ...] = ()
    error: OgcError | None = None
    files: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Every step passed."""
        return self.error is None and all(step.ok for step in self.steps)

    @property
    def output(self) -> str:
        """All steps' output, in order, as text."""
        return "".join(step.text for step in self.steps)

    def __bool__(self) -> bool:
        return self.ok

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bool):
            return self.ok is other
        if isinstance(other, DeployResult):
            return (self.node_id, self.steps, self.error) == (other.node_id, other.steps, other.error)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.node_id, self.steps))
