"""What is left to do on a node, from how its scripts went before."""

from __future__ import annotations

import pytest

from ogc_async.db.results import LastStep
from ogc_async.deploy.reboot import was_up_for
from ogc_async.deploy.resume import due_steps, with_skipped
from ogc_async.deploy.steps import Step
from ogc_async.types import StepResult, StepState

STEPS = tuple(Step(f"{number}.sh", f"run {number}", f"hash-{number}") for number in (1, 2, 3))


def last(**states: StepState) -> dict[str, LastStep]:
    return {f"{name[1:]}.sh": LastStep(f"hash-{name[1:]}", state) for name, state in states.items()}


def result(step: Step, state: StepState = StepState.PASSED) -> StepResult:
    return StepResult(script=step.script, state=state, exit_code=0, seconds=1.0)


def test_a_node_that_was_never_deployed_to_has_all_to_do() -> None:
    assert due_steps(STEPS, {}) == STEPS


def test_a_step_that_passed_unchanged_is_not_due_and_any_other_is() -> None:
    went = last(s1=StepState.PASSED, s2=StepState.FAILED, s3=StepState.PASSED)
    assert due_steps(STEPS, went) == (STEPS[1],)
    went["3.sh"] = LastStep("another hash", StepState.PASSED)
    assert due_steps(STEPS, went) == STEPS[1:]


@pytest.mark.parametrize("state", [state for state in StepState if state is not StepState.PASSED])
def test_whatever_did_not_pass_is_due_again(state: StepState) -> None:
    assert due_steps(STEPS, last(s1=state, s2=StepState.PASSED, s3=StepState.PASSED)) == (STEPS[0],)


def test_results_stand_in_the_order_of_the_steps_and_what_never_began_has_none() -> None:
    due = STEPS[1:]
    both = with_skipped(STEPS, due, [result(STEPS[1], StepState.FAILED)])
    assert [(each.script, each.ok, each.is_skipped) for each in both] == [("1.sh", True, True), ("2.sh", False, False)]
    assert [each.is_skipped for each in with_skipped(STEPS, (), ())] == [True] * 3


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"12.34 56.78\n", 12.34), (b"", float("inf")), (b"no such file", float("inf"))]
)
def test_a_machine_tells_how_long_it_is_up_or_is_taken_to_be_up_for_ever(said: bytes, seconds: float) -> None:
    assert was_up_for(said) == seconds
