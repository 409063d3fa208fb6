"""Many callers, few calls: what comes in while one batch is under way goes together in the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Hands items to ``run`` in groups of at most ``max_batch``, one group at a time; ``run`` answers in order.

    Between the beginnings of two groups lie at least ``interval_s`` seconds, for more to come together meanwhile.
    An error of ``run`` reaches every caller of that group. A caller that is cancelled does not withdraw its item.
    Leaving the block waits up to ``drain_s`` seconds for what is still queued, cancelled or not.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int = 500,
        drain_s: float = 15,
        interval_s: float = 0,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._drain_s = drain_s
        self._interval_s = interval_s
        self._queue: list[tuple[T, asyncio.Future[R]]] = []
        self._arrived = asyncio.Event()
        self._is_closing = False
        self._workers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._workers.add(asyncio.create_task(self._work()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._arrived.set()
        with anyio.CancelScope(shield=True):
            _, unfinished = await asyncio.wait(self._workers, timeout=self._drain_s)
        for worker in unfinished:
            worker.cancel()
        self._abandon()

    async def submit(self, item: T) -> R:
        """What ``run`` answers for ``item``."""
        if self._is_closing or not self._workers:
            raise RuntimeError("the batcher is not open")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, answer))
        self._arrived.set()
        return await answer

    async def _work(self) -> None:
        while not (self._is_closing and not self._queue):
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                began = time.monotonic()
                group, self._queue = self._queue[: self._max_batch], self._queue[self._max_batch :]
                await self._answer(group)
                if not self._is_closing:
                    await asyncio.sleep(max(0.0, began + self._interval_s - time.monotonic()))

    async def _answer(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._run([item for item, _ in group])
        except Exception as error:  # noqa: BLE001  # it is passed on to every caller of the group
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _abandon(self) -> None:
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
