"""Counts every await of every task, and cancels a call at the one that is chosen: natively or by a scope, once or on.

A loop whose tasks come from :meth:`Steps.factory` steps each of their coroutines through here: a step is what runs from
one await that really waits to the next, in the call's own task or in any that it has started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio

AGAIN_EVERY = 7
"""Steps between two cancellations of a caller that does not stop."""


class How(StrEnum):
    """How a call is cancelled."""

    TASK = "task"
    SCOPE = "scope"
    TASK_AGAIN_AND_AGAIN = "task-again-and-again"

    @property
    def is_gentle(self) -> bool:
        """Cleanups are left alone."""
        return self is not How.TASK_AGAIN_AND_AGAIN


@dataclass
class Steps:
    """Counts; cancels at step ``chosen`` while a call is under way."""

    how: How = How.TASK
    chosen: int = 0
    taken: int = 0
    _cancel: Callable[[], None] | None = field(default=None, repr=False)

    def take(self) -> None:
        """One step is about to be made."""
        if self._cancel is None:
            return
        self.taken += 1
        late = self.taken - self.chosen
        is_due = late == 0 or (late > 0 and self.how is How.TASK_AGAIN_AND_AGAIN and late % AGAIN_EVERY == 0)
        if self.chosen and is_due:
            # Once the step is over: a task that cancels itself in its last one ends as cancelled, and hears nothing.
            asyncio.get_running_loop().call_soon(self._cut)

    def _cut(self) -> None:
        if self._cancel is not None:
            self._cancel()

    def factory(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """A loop's task factory."""
        return asyncio.Task(_Stepped(coroutine, self), loop=loop, **options)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """For the block, tasks that are made are stepped through here."""
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(self.factory)  # type: ignore[arg-type]  # typeshed knows generators only
        try:
            yield
        finally:
            loop.set_task_factory(before)

    async def cancelled_at(self, chosen: int, call: Coroutine[Any, Any, Any]) -> bool:
        """Make the call and cancel it at that step, or at none where it is 0; whether it was cut short."""
        was_cut = False

        async def scoped() -> None:
            nonlocal was_cut
            with anyio.CancelScope() as scope:
                self._cancel = scope.cancel
                await call
            was_cut = scope.cancelled_caught

        self.chosen, self.taken = chosen, 0
        with self.counted():
            task: asyncio.Task[Any] = asyncio.ensure_future(scoped() if self.how is How.SCOPE else call)
            if self.how is not How.SCOPE:
                self._cancel = task.cancel  # type: ignore[assignment]  # whether it could is of no interest
            try:
                await asyncio.wait({task})
            finally:
                self._cancel = None
        if task.cancelled():
            return True
        task.result()
        return was_cut


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells each of its steps."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._coroutine = coroutine
        self._steps = steps

    def send(self, value: Any, /) -> Any:
        self._steps.take()
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._steps.take()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # asyncio and anyio look at what a coroutine is doing.
        return getattr(self._coroutine, name)
