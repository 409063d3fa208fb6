"""One command on one node: its output as it arrives, bounded in size, and how it ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import anyio
import asyncssh

from ogc_async.errors import ConnectionLost
from ogc_async.ssh.connection import Session

OPEN_TIMEOUT_S = 30.0
"""From asking for a channel until the command runs."""

TERM_GRACE_S = 3.0
"""Between asking a command to end and killing it, and between that and closing its channel."""


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


MARK_ROOM = 64


class BoundedBuffer:
    """Keeps the beginning and the end of what is written, up to ``limit`` bytes, and marks the cut between them.

    What is kept is always shorter than what was written where there is a cut, and never longer than it.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take in more."""
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def value(self) -> bytes:
        """All of it, or head, mark and tail."""
        tail = bytes(self._tail[-self._half :])
        cut = self.size - len(self._head) - len(tail)
        if cut <= MARK_ROOM and len(self._head) + len(self._tail) == self.size:
            # The mark would take more room than what it stands for.
            return bytes(self._head + self._tail)
        mark = f"\n[… {cut} bytes cut …]\n".encode() if cut else b""
        return bytes(self._head) + mark + tail


async def run(
    session: Session,
    command: str,
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    output_limit: int = 1_048_576,
    stdin: bytes = b"",
    is_split: bool = False,
    on_output: Callable[[bytes], None] | None = None,
) -> Execution:
    """Run a shell command and wait for its end, however it comes.

    A command that runs longer than ``timeout_s`` seconds, or whose caller is cancelled, is ended on the node too.
    ``is_split`` keeps stderr apart, in ``errors``. ``on_output`` is called with all output as it arrives. Raises
    ``ConnectionLost`` only where the command never started.
    """
    began = time.monotonic()
    listener = _Listener(output_limit, is_split=is_split, on_output=on_output)
    timed_out = False
    try:
        await _start(session, exports(env or {}) + command, listener, stdin)
        with anyio.move_on_after(timeout_s) as scope:
            await listener.closed.wait()
        timed_out = scope.cancelled_caught
    finally:
        # Whoever is cancelled between asking for the command and hearing that it runs has started it all the same.
        if listener.channel is not None and not listener.closed.is_set():
            await _end(listener.channel, listener)
    return listener.execution(timed_out=timed_out, seconds=time.monotonic() - began)


def exports(env: Mapping[str, str]) -> str:
    """The environment as the beginning of a shell command; an SSH server accepts hardly any by its own means."""
    if not env:
        return ""
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(env.items())) + "; "


async def _start(session: Session, command: str, listener: _Listener, stdin: bytes) -> None:
    try:
        with anyio.fail_after(OPEN_TIMEOUT_S):
            channel, _ = await session.connection.create_session(lambda: listener, command, encoding=None)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        raise ConnectionLost(session.node, f"the session broke before a command could start: {said}") from error
    # A command that reads nothing may have ended by now, and its channel with it.
    with suppress(BrokenPipeError):
        channel.write(stdin)
        channel.write_eof()


async def _end(channel: asyncssh.SSHClientChannel[bytes], listener: _Listener) -> None:
    """Ask the command to end, then kill it, then close its channel; OpenSSH signals the whole process group."""
    for act in (channel.terminate, channel.kill, channel.abort):
        with anyio.move_on_after(TERM_GRACE_S, shield=True):
            try:
                act()
            except OSError:
                return
            await listener.closed.wait()
            return


class _Listener(asyncssh.SSHClientSession[bytes]):
    """Takes in what the server sends about one command."""

    def __init__(self, output_limit: int, *, is_split: bool, on_output: Callable[[bytes], None] | None = None) -> None:
        self._on_output = on_output
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.closed = anyio.Event()
        self._output = BoundedBuffer(output_limit)
        self._errors = BoundedBuffer(65536) if is_split else self._output
        self._exit_code: int | None = None
        self._signal: str | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; the command is asked for next."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Output, in the order in which it was written."""
        (self._errors if datatype else self._output).write(data)
        if self._on_output is not None:
            self._on_output(data)

    def exit_status_received(self, status: int) -> None:
        """The command exited."""
        self._exit_code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """The command was killed."""
        self._signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, whatever came before."""
        self.closed.set()

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
