"""An event loop whose clock stands still while anything is at work, and jumps to the next timer while nothing is.

Sockets are real, and both their ends are in this loop; threads are waited for as long as they have work. A minute of
waiting costs nothing, and a slow machine tells the same story as a quick one.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import aiosqlite.core
import pytest

from ogc_async.sandbox.clock import Clock

BREATH_S = 0.0005
"""What the system's sockets are given to bring what was sent, before nothing is taken to be under way."""


class _Selector(selectors.DefaultSelector):
    """Waits for real where a thread is at work; else sets the loop's clock forward instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: JumpingLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or self.loop is None or (timeout is not None and timeout <= 0):
            return events
        if timeout is None or self.loop.threads_at_work:
            return super().select(None)
        events = super().select(BREATH_S)
        if not events:
            self.loop.forward(timeout)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time is what its timers say."""

    def __init__(self) -> None:
        self._now = 0.0
        self.threads_at_work = 0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(  # type: ignore[override]  # as the base class has it, and counted
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        return self.waits_for(super().run_in_executor(executor, func, *args))

    def waits_for(self, answer: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """A thread is to give this answer: no timer comes before it."""
        self.threads_at_work += 1
        answer.add_done_callback(self._answered)
        return answer

    def _answered(self, _: asyncio.Future[Any]) -> None:
        self.threads_at_work -= 1


class _Questions(SimpleQueue[Any]):
    """What a connection's thread is asked, each with the future of its answer."""

    def put_nowait(self, question: Any) -> None:
        answer, _ = question
        if answer is not None and isinstance(loop := answer.get_loop(), JumpingLoop):
            loop.waits_for(answer)
        self.put(question)


class LoopClock(Clock):
    """The sandbox's clock, by the loop's."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now(self) -> float:
        return self._loop.time() - self._began


@contextmanager
def jumping() -> Iterator[asyncio.Runner]:
    """A runner whose loop jumps; databases that are opened in it are waited for."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=JumpingLoop) as runner:
        patch.setattr(aiosqlite.core, "SimpleQueue", _Questions)
        yield runner
