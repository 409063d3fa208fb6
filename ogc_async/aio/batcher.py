"""Many callers, few calls: what comes in while one batch is under way, or within a short window, goes together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Hands items to ``run`` in groups of at most ``max_batch``, one group at a time; ``run`` answers in order.

    A group is complete once nothing more has come for ``idle_s`` seconds, and ``ceiling_s`` after its first item at
    the latest. Between the beginnings of two groups lie at least ``interval_s`` seconds. An error of ``run`` reaches
    every caller of that group. A caller that is cancelled does not withdraw its item. Used as a block, leaving it waits
    up to ``drain_s`` seconds for what is still queued, cancelled or not.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int = 500,
        idle_s: float = 0,
        ceiling_s: float = 0,
        interval_s: float = 0,
        drain_s: float = 15,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._idle_s = idle_s
        self._ceiling_s = ceiling_s
        self._drain_s = drain_s
        self._interval_s = interval_s
        self._queue: list[tuple[T, asyncio.Future[R]]] = []
        self._is_closed = False
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._is_closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        worker = self._worker
        if worker is not None:
            with anyio.CancelScope(shield=True):
                _, unfinished = await asyncio.wait({worker}, timeout=self._drain_s)
            for each in unfinished:
                each.cancel()
        self._abandon()

    async def submit(self, item: T) -> R:
        """What ``run`` answers for ``item``."""
        return await self.put(item)

    def put(self, item: T) -> asyncio.Future[R]:
        """As :meth:`submit`, for who does not wait for the answer here and now."""
        if self._is_closed:
            raise RuntimeError("the batcher is not open")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, answer))
        if self._worker is None:
            # It lives as long as somebody waits for it.
            self._worker = asyncio.create_task(self._work())
        return answer

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._let_gather()
                began = asyncio.get_running_loop().time()
                group, self._queue = self._queue[: self._max_batch], self._queue[self._max_batch :]
                await self._answer(group)
                await self._rest(began)
        finally:
            self._worker = None

    async def _rest(self, began: float) -> None:
        """Let more come together before the next group begins."""
        left = began + self._interval_s - asyncio.get_running_loop().time()
        if left > 0 and not self._is_closed:
            await asyncio.sleep(left)

    async def _let_gather(self) -> None:
        """Wait for more, within the window."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._ceiling_s
        while len(self._queue) < self._max_batch and (left := deadline - loop.time()) > 0:
            before = len(self._queue)
            await asyncio.sleep(min(self._idle_s, left))
            if len(self._queue) == before:
                return

    async def _answer(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._run([item for item, _ in group])
        except Exception as error:  # noqa: BLE001  # it is passed on to every caller of the group
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _abandon(self) -> None:
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
