"""Two commands down one channel: the second waits on the node, after the first, for its environment and the word to go.

A channel of its own costs two round trips, and the client as much as a quarter of a handshake does.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import asyncssh

from ogc_async.errors import ConnectionLost
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Execution, Grew, Listener, complete, start
from ogc_async.ssh.output import Heard, RedactedBuffer
from ogc_async.ssh.redaction import Redaction
from ogc_async.ssh.shell import exports

DISMISS_TIMEOUT_S = 10.0

AWAIT_WORD = (
    'read -r ogc_more && ogc_env= && while [ "$ogc_more" -gt 0 ]; do IFS= read -r ogc_line || exit; '
    'ogc_env="$ogc_env$ogc_line\n"; ogc_more=$((ogc_more - 1)); done || exit; '
    'eval "$ogc_env"; unset ogc_more ogc_env ogc_line'
)
"""Reads how many lines there are, and then the lines: where a connection breaks before the last, nothing runs."""


class Waiting:
    """A command that waits on the node; it runs by :meth:`run` alone, and ends unrun with its session.

    ``said`` is what the command before it printed, on stdout and stderr.
    """

    def __init__(self, session: Session, listener: StagedListener) -> None:
        self.said = listener.so_far()[0]
        self._session = session
        self._listener = listener

    async def run(
        self,
        *,
        timeout_s: float,
        env: Mapping[str, str],
        output_limit: int,
        grew: Grew | None = None,
        heard: Heard | None = None,
    ) -> Execution:
        """Let it go, and wait for its end, as for that of a command with a channel of its own.

        Its time, its output and its way to end are its own. Raises ``ConnectionLost`` only where it can not have run.
        """
        began = time.monotonic()
        listener = self._listener
        if listener.closed.is_set():
            raise ConnectionLost(self._session.node, "the session broke before a command could start")
        listener.go_on(output_limit, self._session.redaction, heard)
        try:
            timed_out = not await complete(listener, [word_to_go(env)], timeout_s=timeout_s, grew=grew)
        finally:
            await listener.end()
        return listener.execution(timed_out=timed_out, seconds=time.monotonic() - began)

    async def dismiss(self) -> None:
        """Have it end unrun, and give its channel back."""
        await complete(self._listener, (), timeout_s=DISMISS_TIMEOUT_S, grew=None)
        await self._listener.end()


async def run_first(
    session: Session, first: str, second: str, *, stdin: Sequence[bytes], timeout_s: float, output_limit: int
) -> Execution | Waiting:
    """Run the first command with its input, within its time; where it exits with 0, the second one waits.

    The first one must not wait for its input's end, which comes with the second one's. Where it ends otherwise, the
    second one does not run, and how it ended is returned, as by :func:`~ogc_async.ssh.execute.run`. Raises
    ``ConnectionLost`` where the first one never started.
    """
    began = time.monotonic()
    token = secrets.token_hex(8)
    # Both of the first one's streams are one here, or what it wrote last could come after the mark. The mark is not
    # spelt out in the command, which a shell may well print.
    command = f"{{ {first}; }} 2>&1 || exit; printf '\\036%s\\036' {token}; {AWAIT_WORD}; {second}"
    listener = StagedListener(output_limit, session.redaction, mark=f"\x1e{token}\x1e".encode())
    is_through = False
    try:
        await start(session, command, listener)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await listener.feed(stdin)
                await listener.through.wait()
                is_through = True
    finally:
        if not is_through:
            await listener.end()
    if listener.is_marked:
        return Waiting(session, listener)
    return listener.execution(timed_out=not is_through, seconds=time.monotonic() - began)


def word_to_go(env: Mapping[str, str]) -> bytes:
    """What a waiting command reads: its environment, in as many lines as it says."""
    text = exports(env)
    return f"{text.count(chr(10)) + 1}\n{text}\n".encode()


class StagedListener(Listener):
    """Keeps apart what comes before the mark and what comes after the word to go."""

    def __init__(self, output_limit: int, redaction: Redaction, *, mark: bytes) -> None:
        super().__init__(output_limit, redaction)
        self.through = asyncio.Event()
        self.is_marked = False
        self._mark = mark
        self._held = b""

    def go_on(self, output_limit: int, redaction: Redaction, heard: Heard | None) -> None:
        """What comes from now on is the second command's."""
        self._output = self._errors = RedactedBuffer(output_limit, redaction, heard)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Output; the mark may come in pieces."""
        if self.is_marked or datatype:
            super().data_received(data, datatype)
            return
        before, mark, after = (self._held + data).partition(self._mark)
        if mark:
            self.is_marked = True
            self._held = b""
            super().data_received(before + after, None)
            self._output.end()
            self.through.set()
        else:
            begun = len(self._mark) - 1
            self._held = before[-begun:]
            super().data_received(before[:-begun], None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, whatever came before."""
        super().data_received(self._held, None)
        super().connection_lost(exc)
        self.through.set()
