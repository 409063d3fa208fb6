"""What a deploy still has to do on a node that was deployed to before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ogc_async.db.results import LastStep
from ogc_async.deploy.steps import Step
from ogc_async.types import StepResult, StepState


def due_steps(steps: Sequence[Step], last: Mapping[str, LastStep]) -> tuple[Step, ...]:
    """The steps that did not pass when they last ran, or would run as something else now; in order."""
    return tuple(step for step in steps if not _has_passed(step, last))


def with_skipped(steps: Iterable[Step], due: Iterable[Step], ran: Iterable[StepResult]) -> tuple[StepResult, ...]:
    """The results of what ran and of what was skipped, in the order of the steps."""
    is_due = {step.script for step in due}
    results = {result.script: result for result in ran}
    return tuple(
        results[step.script] if step.script in is_due else _skipped(step)
        for step in steps
        if step.script in results or step.script not in is_due
    )


def _has_passed(step: Step, last: Mapping[str, LastStep]) -> bool:
    return last.get(step.script) == LastStep(step.sha256, StepState.PASSED)


def _skipped(step: Step) -> StepResult:
    return StepResult(
        script=step.script, state=StepState.PASSED, exit_code=0, seconds=0.0, sha256=step.sha256, is_skipped=True
    )
