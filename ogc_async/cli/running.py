"""Runs one long piece of work: its display, its timeline, and what Ctrl-C does to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any, NoReturn, TypeVar

from ogc_async.actions.timeline import timeline_kept
from ogc_async.cli.invocation import EXIT_INTERRUPTED, current
from ogc_async.cli.mistakes import Interrupted, error_document
from ogc_async.cli.progress import Display, PlainLines, display
from ogc_async.cli.tally import Tally
from ogc_async.cli.voice import err
from ogc_async.db.nodes import get_nodes
from ogc_async.errors import OgcError
from ogc_async.events import Subscriber
from ogc_async.state import App
from ogc_async.types import LIVE

T = TypeVar("T")

REMAINS_TIMEOUT_S = 5.0
ADVICE = "`ogc ls` shows what is on record, `ogc sync` puts it in order"


def perform(
    app: App,
    work: Callable[[], Coroutine[Any, Any, T]],
    *,
    title: str,
    expected: int,
    goal: Collection[str],
    listeners: Sequence[Subscriber] = (),
) -> T:
    """Run ``work`` in a loop of its own, with its progress on stderr; ``listeners`` hear every event as well.

    Ctrl-C once cancels the work, which then leaves things in order: raises :class:`Interrupted`, which says what
    remains. A second time ends the program at once; what was begun is on record.
    """
    tally = Tally(title, expected, goal)
    with asyncio.Runner() as runner:
        return runner.run(_perform(app, work, tally, listeners))


async def _perform(
    app: App, work: Callable[[], Coroutine[Any, Any, T]], tally: Tally, listeners: Sequence[Subscriber]
) -> T:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(timeline_kept(app, tally.title))
        is_quiet = current.is_json or bool(listeners)
        shown = stack.enter_context(display(tally, is_quiet=is_quiet))
        _listen(stack, app, tally, listeners, speaks=not is_quiet and not err.is_terminal)
        task = asyncio.create_task(_as_coroutine(work))
        interrupts = _Interrupts(task, shown, tally)
        stack.enter_context(interrupts)
        await _drawn(task, shown)
        if task.cancelled() and interrupts.count:
            shown.stop()
            raise Interrupted(await _what_remains(app, tally))
        return task.result()


async def _as_coroutine(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await work()


def _listen(stack: AsyncExitStack, app: App, tally: Tally, listeners: Sequence[Subscriber], *, speaks: bool) -> None:
    subscribers: list[Subscriber] = [tally, *listeners]
    for each in subscribers:
        stack.enter_context(app.events.subscribed(each))
    if speaks:
        stack.enter_context(app.events.subscribed(PlainLines(tally)))


async def _drawn(task: asyncio.Task[T], shown: Display) -> None:
    """Wait for the task's end, and redraw meanwhile."""
    drawing = asyncio.create_task(shown.run())
    try:
        await asyncio.wait({task})
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError):
            await drawing


class _Interrupts(ExitStack):
    """Ctrl-C while the block runs: the first one cancels the work, the second one ends the program."""

    def __init__(self, task: asyncio.Task[Any], shown: Display, tally: Tally) -> None:
        super().__init__()
        self.count = 0
        self._task = task
        self._shown = shown
        self._tally = tally
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        self.callback(loop.remove_signal_handler, signal.SIGINT)

    def _interrupt(self) -> None:
        self.count += 1
        if self.count > 1:
            self._shown.stop()
            _end_at_once(self._tally)
        self._shown.say("stopping, and leaving things in order; press Ctrl-C again to stop now")
        self._task.cancel()


def _end_at_once(tally: Tally) -> NoReturn:
    """No cleanup that could wait: every node was on record before its machine was asked for."""
    seen = len(tally.seen)
    message = f"stopped at once; {seen} nodes that were being worked on are on record as they were: {ADVICE}"
    said = json.dumps(error_document(Interrupted(message))) if current.is_json else f"ogc: {message}"
    print(said, file=sys.stderr, flush=True)  # noqa: T201  # the program's last word
    os._exit(EXIT_INTERRUPTED)


async def _what_remains(app: App, tally: Tally) -> str:
    """What was done, and how many of the nodes concerned may still have machines."""
    picture = tally.picture()
    done = f"{picture.done - picture.failed} of {picture.expected} nodes were done"
    if app.engine is None:
        return f"interrupted; {done}; {ADVICE}"
    try:
        async with asyncio.timeout(REMAINS_TIMEOUT_S):
            nodes = await get_nodes(app.engine, sorted(tally.seen))
    except (OgcError, TimeoutError):
        return f"interrupted; {done}; {ADVICE}"
    live = [node for node in nodes if node.state in LIVE]
    if not live:
        return f"interrupted; {done}, and no machine of the others is left"
    states = {state: sum(node.state is state for node in live) for state in sorted(LIVE)}
    shown = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    return f"interrupted; {done}; on record remain {shown}: {ADVICE}"
