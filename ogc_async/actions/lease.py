"""A verb's claim on the nodes that it works on, renewed while it lives; a dead process's claim runs out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from types import TracebackType
from uuid import uuid4

import anyio

from ogc_async.aio.finish import finish
from ogc_async.db import Engine
from ogc_async.db.leases import Hold, end_leases, renew_leases, take_leases
from ogc_async.errors import StoreError

log = logging.getLogger(__name__)

RENEWALS = 3
"""Times in a lease's length that it is renewed: two may fail."""
END_TIMEOUT_S = 10.0
RETRY_S = 0.5


class Lease:
    """What :meth:`hold` takes in an ``async with`` block stays ours until the block ends, or this process does."""

    def __init__(self, engine: Engine, length_s: float) -> None:
        self.worker = uuid4().hex
        self._engine = engine
        self._length_s = length_s
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lease:
        self._heart = asyncio.create_task(
            keep_renewing(
                self._length_s,
                lambda: renew_leases(self._engine, Hold(self.worker, self.until)),
                f"leases of {self.worker}",
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await finish(self._end(), grace_s=END_TIMEOUT_S)

    @property
    def until(self) -> datetime:
        """When a lease that is taken now runs out."""
        return datetime.now(UTC) + timedelta(seconds=self._length_s)

    async def hold(self, node_ids: Collection[int], *, patience_s: float = 0.0) -> set[int]:
        """Take these nodes, as far as they are free or become so within ``patience_s`` seconds; the ids taken."""
        deadline = asyncio.get_running_loop().time() + patience_s
        wanted = set(node_ids)
        taken: set[int] = set()
        while wanted - taken:
            taken |= await take_leases(self._engine, wanted - taken, Hold(self.worker, self.until))
            if asyncio.get_running_loop().time() >= deadline:
                break
            if wanted - taken:
                await anyio.sleep(min(RETRY_S, self._length_s / RENEWALS))
        return taken

    async def _end(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        try:
            with anyio.fail_after(END_TIMEOUT_S):
                await end_leases(self._engine, self.worker)
        except (StoreError, TimeoutError) as failed:
            log.warning("leases of %s run out by themselves: %s", self.worker, failed)


async def keep_renewing(length_s: float, renew: Callable[[], Awaitable[object]], what: str) -> None:
    """Say in time, again and again, that the holder of a lease of this length still lives, until cancelled."""
    while True:
        await anyio.sleep(length_s / RENEWALS)
        try:
            await renew()
        except StoreError as error:
            log.warning("%s were not renewed: %s", what, error)
