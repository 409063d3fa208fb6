"""One command on one node: its output as it arrives, bounded in size, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO

import anyio
import asyncssh

from ogc_async.errors import ConnectionLost
from ogc_async.ssh.connection import Session
from ogc_async.ssh.output import BoundedBuffer, Heard, RedactedBuffer, Sink
from ogc_async.ssh.redaction import Redaction

OPEN_TIMEOUT_S = 30.0
"""From asking for a channel until the command runs."""

REOPEN_PAUSES_S = (0.02, 0.1, 0.4, 1.6)
"""Before a channel that was refused is asked for again: ``MaxSessions`` of OpenSSH is met by a channel at a time."""

TERM_GRACE_S = 3.0
"""Between asking a command to end and killing it, and between that and closing its channel."""

GROWTH_S = 1.0
LONGEST_GROWTH_S = 30.0
"""Output that grows is told after a second, then after twice as long each time: what is told comes to little in all."""

PIECE = 262_144
"""Bytes of input handed over at once: the rest waits outside until the node has taken them in."""

Grew = Callable[[bytes, int], Awaitable[None]]
"""Told the output so far, as it would be kept, and how many bytes came in."""


class Ended(StrEnum):
    """How a command came to its end."""

    EXITED = "exited"
    KILLED = "killed"
    TIMED_OUT = "timed-out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What a command did. ``output_bytes`` arrived on stdout and stderr, of which ``output`` was kept."""

    ended: Ended
    exit_code: int | None
    signal: str | None
    output: bytes = field(repr=False)
    output_bytes: int
    errors: bytes = field(repr=False)
    seconds: float


async def run(
    session: Session,
    command: str,
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    output_limit: int = 1_048_576,
    stdin: bytes | Sequence[bytes] = (),
    is_split: bool = False,
    sink: IO[bytes] | None = None,
    grew: Grew | None = None,
    heard: Heard | None = None,
) -> Execution:
    """Run a shell command and wait for its end, however it comes; known secrets in its output are hidden.

    A command that runs longer than ``timeout_s`` seconds, or whose caller is cancelled, is ended on the node too.
    ``env`` travels as input, where no process list shows it, and leaves no room for other input. ``is_split`` keeps
    stderr apart, in ``errors``, and stdout byte for byte: in ``sink`` where there is one, and not in memory. ``heard``
    is called with what is kept as it arrives, and ``grew`` now and then with all of it so far. Raises
    ``ConnectionLost`` only where the command never started.
    """
    began = time.monotonic()
    pieces = [stdin] if isinstance(stdin, bytes) else list(stdin)
    if env or session.is_windows:
        command, pieces = session.shell.with_environment(command, env or {})
    listener = Listener(output_limit, session.redaction, is_split=is_split, sink=sink, heard=heard)
    try:
        await start(session, command, listener)
        timed_out = not await complete(listener, pieces, timeout_s=timeout_s, grew=grew)
    finally:
        # Whoever is cancelled between asking for the command and hearing that it runs has started it all the same.
        await listener.end()
    return listener.execution(timed_out=timed_out, seconds=time.monotonic() - began)


async def start(session: Session, command: str, listener: Listener) -> None:
    """Have the command run on a channel of its own. Raises ``ConnectionLost``."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await _open(session, command, listener)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        raise ConnectionLost(session.node, f"the session broke before a command could start: {said}") from error


async def _open(session: Session, command: str, listener: Listener) -> None:
    """A server that lets a session have few channels may still count one that was closed a moment ago."""
    for pause_s in (*REOPEN_PAUSES_S, None):
        try:
            await session.connection.create_session(lambda: listener, command, encoding=None)
        except asyncssh.ChannelOpenError as error:
            # Once there was a channel, the command may have been heard of.
            is_refused = error.code == asyncssh.OPEN_CONNECT_FAILED and listener.channel is None
            if pause_s is None or not is_refused or session.connection.is_closed():
                raise
            await asyncio.sleep(pause_s)
        else:
            return


async def complete(listener: Listener, pieces: Sequence[bytes], *, timeout_s: float, grew: Grew | None) -> bool:
    """Give the command the rest of its input, and wait for its end; whether it came in time."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            await listener.feed(pieces)
            listener.end_input()
            await _wait(listener, grew)
    except TimeoutError:
        if not limit.expired():
            raise
        return False
    return True


async def _wait(listener: Listener, grew: Grew | None) -> None:
    """Wait for the command's end, and tell of its output meanwhile."""
    if grew is None:
        await listener.closed.wait()
        return
    pause_s, told = GROWTH_S, 0
    while not await listener.closed_within(pause_s):
        pause_s = min(2 * pause_s, LONGEST_GROWTH_S)
        output, size = listener.so_far()
        if size > told:
            told = size
            await grew(output, size)


class Listener(asyncssh.SSHClientSession[bytes]):
    """Takes in what the server sends about one command, and hands over its input."""

    def __init__(
        self,
        output_limit: int,
        redaction: Redaction,
        *,
        is_split: bool = False,
        sink: IO[bytes] | None = None,
        heard: Heard | None = None,
    ) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.closed = asyncio.Event()
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._output: BoundedBuffer = RedactedBuffer(output_limit, Redaction() if is_split else redaction, heard)
        if sink is not None:
            self._output = Sink(output_limit, sink)
        self._errors: BoundedBuffer = RedactedBuffer(65536, redaction, heard) if is_split else self._output
        self._exit_code: int | None = None
        self._signal: str | None = None

    async def feed(self, pieces: Sequence[bytes]) -> None:
        """Send the command input, as fast as it takes it."""
        if self.channel is None:
            return
        # A command that reads nothing may have ended by now, and its channel with it.
        with suppress(BrokenPipeError):
            for piece in pieces:
                for first in range(0, len(piece), PIECE):
                    await self._room.wait()
                    self.channel.write(piece[first : first + PIECE])

    def end_input(self) -> None:
        """Tell the command that no more will come."""
        if self.channel is not None:
            with suppress(BrokenPipeError):
                self.channel.write_eof()

    async def closed_within(self, pause_s: float) -> bool:
        """Wait for the end, but no longer; a timer alone costs less than a scope with a deadline."""
        self._woken = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(pause_s, self._woken.set)
        try:
            if not self.closed.is_set():
                await self._woken.wait()
        finally:
            timer.cancel()
        return self.closed.is_set()

    async def end(self) -> None:
        """Ask the command to end, then kill it, then close its channel; OpenSSH signals the whole process group.

        One that has ended, or never began, is left alone.
        """
        if self.channel is None or self.closed.is_set():
            return
        for act in (self.channel.terminate, self.channel.kill, self.channel.abort):
            with anyio.move_on_after(TERM_GRACE_S, shield=True):
                try:
                    act()
                except OSError:
                    return
                await self.closed.wait()
                return

    def so_far(self) -> tuple[bytes, int]:
        """The output as it would be kept, and how much came in."""
        return self._output.value(), self._output.size

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; the command is asked for next."""
        self.channel = chan

    def pause_writing(self) -> None:
        """The node has not taken in yet what it was sent."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room for more."""
        self._room.set()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Output, in the order in which it was written."""
        (self._errors if datatype else self._output).write(data)

    def exit_status_received(self, status: int) -> None:
        """The command exited."""
        self._exit_code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """The command was killed."""
        self._signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, whatever came before."""
        for buffer in {self._output, self._errors}:
            buffer.end()
        self._room.set()
        self.closed.set()
        self._woken.set()

    def execution(self, *, timed_out: bool, seconds: float) -> Execution:
        """What has come in so far."""
        return Execution(
            ended=self._ended(timed_out=timed_out),
            exit_code=None if timed_out else self._exit_code,
            signal=self._signal,
            output=self._output.value(),
            output_bytes=self._output.size,
            errors=b"" if self._errors is self._output else self._errors.value(),
            seconds=seconds,
        )

    def _ended(self, *, timed_out: bool) -> Ended:
        if timed_out:
            return Ended.TIMED_OUT
        if self._signal is not None:
            return Ended.KILLED
        return Ended.EXITED if self._exit_code is not None else Ended.INTERRUPTED
