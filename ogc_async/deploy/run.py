"""One node's steps, in order, each on record from its start to its end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import anyio

from ogc_async.deploy.reboot import Reopen, has_rebooted
from ogc_async.deploy.steps import Step
from ogc_async.errors import ClaimLost, ConnectionLost
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution, Grew, run
from ogc_async.ssh.output import Heard
from ogc_async.ssh.staged import Waiting
from ogc_async.types import StepResult, StepState

RECORD_TIMEOUT_S = 10.0
"""How steps ended is written even while their caller is being cancelled, but not for ever."""

BROKEN = frozenset({StepState.INTERRUPTED, StepState.DISCONNECTED, StepState.REBOOTED})
"""After these there is no session to go on with."""


class Recorder(Protocol):
    """Keeps the record of one node's steps."""

    async def started(self, script: str, sha256: str) -> int:
        """A step begins; returns what the others are to be told by. Raises ``ClaimLost`` where it must not begin."""
        ...

    async def grew(self, action_id: int, output: bytes, output_bytes: int) -> None:
        """The step goes on, and has printed this much."""
        ...

    def heard(self, data: bytes) -> None:
        """The step that runs wrote something. Must not wait."""
        ...

    def finished(self, action_id: int, result: StepResult) -> None:
        """The step has ended, which is written together with what comes next."""
        ...

    async def written(self) -> None:
        """Wait until all of it is written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds each step."""

    timeout_s: float
    output_limit: int


Command = Callable[..., Awaitable[Execution]]
"""Runs one step's command, within the limits and with the environment that it is given."""


class StepsInterrupted(ConnectionLost):
    """The session broke; ``steps`` are those that had begun."""

    def __init__(self, node: str, message: str, steps: tuple[StepResult, ...]) -> None:
        super().__init__(node, message)
        self.steps = steps


async def run_steps(
    session: Session,
    steps: Sequence[Step],
    *,
    env: Mapping[str, str],
    limits: Limits,
    recorder: Recorder,
    is_stopping: bool = True,
    reopen: Reopen | None = None,
    waiting: Waiting | None = None,
) -> tuple[StepResult, ...]:
    """Run the steps until one fails, or all of them unless ``is_stopping``; the results of those that ran.

    The first one may be ``waiting`` on the node already. Raises :class:`StepsInterrupted` where the session breaks, and
    :class:`~ogc_async.errors.ClaimLost` where another process has taken the node: no further step is begun.
    ``reopen`` gives another one then, to find out whether the machine has rebooted.
    """
    results: list[StepResult] = []
    try:
        try:
            for step in steps:
                command = partial(run, session, step.command) if waiting is None else waiting.run
                waiting = None
                result = await _run_step(command, step, env, limits, recorder, reopen)
                results.append(result)
                if result.state in BROKEN:
                    raise StepsInterrupted(session.node, f"{result.error} ({step.script})", tuple(results))
                if not result.ok and is_stopping:
                    break
        finally:
            with anyio.move_on_after(RECORD_TIMEOUT_S, shield=True):
                await recorder.written()
    except ClaimLost as lost:
        raise ClaimLost(lost.node, tuple(results)) from lost
    return tuple(results)


async def run_command(
    session: Session, command: str, *, env: Mapping[str, str], limits: Limits, recorder: Recorder
) -> tuple[StepResult, ...]:
    """Run one shell command in the login folder, as a step of its own."""
    step = Step(
        session.redaction.text(command), session.shell.line(command), hashlib.sha256(command.encode()).hexdigest()
    )
    return await run_steps(session, [step], env=env, limits=limits, recorder=recorder)


async def _run_step(
    command: Command, step: Step, env: Mapping[str, str], limits: Limits, recorder: Recorder, reopen: Reopen | None
) -> StepResult:
    began = time.monotonic()
    action_id = await recorder.started(step.script, step.sha256)
    result = _unfinished(step, StepState.INTERRUPTED, "broken off from our side")
    try:
        result = await _execute(command, step, env, limits, partial(recorder.grew, action_id), recorder.heard)
        if result.state is StepState.DISCONNECTED and reopen is not None and await has_rebooted(reopen, began):
            result = replace(result, state=StepState.REBOOTED, error="the machine rebooted in the middle of a step")
    finally:
        recorder.finished(action_id, result)
    return result


async def _execute(
    command: Command, step: Step, env: Mapping[str, str], limits: Limits, grew: Grew, heard: Heard
) -> StepResult:
    try:
        done = await command(
            timeout_s=limits.timeout_s, env=env, output_limit=limits.output_limit, grew=grew, heard=heard
        )
    except ConnectionLost:
        return _unfinished(step, StepState.DISCONNECTED, "the session broke before a step could start")
    return step_result(step, done)


def step_result(step: Step, done: Execution) -> StepResult:
    """How a step went, from how its command ended."""
    state = STATES.get(done.ended, StepState.PASSED if done.exit_code == 0 else StepState.FAILED)
    return StepResult(
        script=step.script,
        state=state,
        exit_code=done.exit_code,
        signal=done.signal,
        seconds=round(done.seconds, 3),
        output=done.output,
        output_bytes=done.output_bytes,
        sha256=step.sha256,
        error=ERRORS.get(state),
    )


STATES = {
    Ended.KILLED: StepState.KILLED,
    Ended.TIMED_OUT: StepState.TIMED_OUT,
    Ended.INTERRUPTED: StepState.DISCONNECTED,
}
ERRORS = {
    StepState.TIMED_OUT: "took longer than its timeout, and was ended",
    StepState.DISCONNECTED: "the session broke in the middle of a step",
}


def _unfinished(step: Step, state: StepState, error: str) -> StepResult:
    return StepResult(script=step.script, state=state, exit_code=None, seconds=0.0, sha256=step.sha256, error=error)
