"""Whether a machine that was lost for a while has started anew in the meantime."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from ogc_async.errors import RemoteError
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import run

REOPEN_TIMEOUT_S = 90.0
"""A machine is up again by then, or is not coming back soon; nothing else waits for the answer."""

ANSWER_TIMEOUT_S = 15.0

Reopen = Callable[[], AbstractAsyncContextManager[Session]]


async def has_rebooted(reopen: Reopen, since: float) -> bool:
    """The machine is up for a shorter time than has passed since the moment ``since`` of the monotonic clock.

    What can not be reached again within the time, or does not tell, is not said to have rebooted.
    """
    with anyio.move_on_after(REOPEN_TIMEOUT_S):
        try:
            async with reopen() as session:
                done = await run(session, "cat /proc/uptime", timeout_s=ANSWER_TIMEOUT_S, output_limit=1024)
        except RemoteError:
            return False
        return was_up_for(done.output) < time.monotonic() - since
    return False


def was_up_for(uptime: bytes) -> float:
    """Seconds since the start, from what ``/proc/uptime`` says; endless where it says nothing of the kind."""
    try:
        return float(uptime.split()[0])
    except (IndexError, ValueError):
        return float("inf")
