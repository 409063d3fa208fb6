"""Commands on a host: real processes of this machine, in their host's home, ended with their channel."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from signal import SIGKILL, Signals

import asyncssh
from asyncssh.sftp import MIN_SFTP_VERSION

from ogc_async.sandbox.enclosure import Cell
from ogc_async.sandbox.view import Account

CHUNK = 65536
DRAIN_TIMEOUT_S = 5.0
"""A process that went to the background may hold the output open; its command is over all the same."""
SFTP = "sftp"
TAKEN = ("LANG", "LC_")
"""Variables that a client may set, as on Debian's servers; others could change what runs outside of the enclosure."""


class Session(asyncssh.SSHServerProcess[bytes]):
    """A channel whose SFTP server is a process as well, with an exit status that OpenSSH's clients wait for.

    Signals reach the command also after its input has ended; asyncssh's own go to who reads input.
    """

    def __init__(self, run: Callable[[Session], None]) -> None:
        super().__init__(lambda _: run(self), None, MIN_SFTP_VERSION, allow_scp=False)
        self._early: list[str] = []
        self._take: Callable[[str], None] = self._early.append

    def signal_received(self, signal: str) -> None:
        """Hand it on; one that comes while the command starts is kept for it."""
        self._take(signal)

    def hand_signals_to(self, take: Callable[[str], None]) -> None:
        """Those that came before, and every one from now on."""
        self._take = take
        for signal in self._early:
            take(signal)

    def subsystem_requested(self, subsystem: str) -> bool:
        """SFTP is the only one."""
        return subsystem == SFTP

    def session_started(self) -> None:
        """Every kind of session is a process: asyncssh's own SFTP server would know this computer's paths only."""
        reader: asyncssh.SSHReader[bytes] = asyncssh.SSHReader(self, self.channel)
        writer: asyncssh.SSHWriter[bytes] = asyncssh.SSHWriter(self, self.channel)
        self._start_process(reader, writer, asyncssh.SSHWriter(self, self.channel, asyncssh.EXTENDED_DATA_STDERR))


async def run_session(process: Session, cell: Cell, account: Account) -> None:
    """Serve one channel: run its command, shell or SFTP server, pass everything on, tell how it ended."""
    try:
        child = await asyncio.create_subprocess_exec(
            *await _words(process, cell, account),
            cwd=cell.folder(account.user),
            env=_environment(process, cell, account),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, TimeoutError) as error:
        process.stderr.write(f"{error or 'the machine did not start in time'}\n".encode())
        process.exit(126)
        return
    await _Command(process, cell, child).serve()


async def _words(process: Session, cell: Cell, account: Account) -> list[str]:
    """What a server runs for the channel: everything but SFTP by the login shell."""
    if process.subsystem == SFTP:
        return await cell.sftp(account, str(process.get_extra_info("client_version") or ""))
    if process.command is not None:
        return await cell.command([account.shell, "-c", process.command], account)
    return await cell.command([account.shell, "-l"], account)


class _Command:
    """A running child and its channel."""

    def __init__(self, process: Session, cell: Cell, child: asyncio.subprocess.Process) -> None:
        self._process = process
        self._cell = cell
        self._child = child

    async def serve(self) -> None:
        """Until the command has ended; where its channel closes first, the command's group is ended with it."""
        self._process.hand_signals_to(self._receive)
        feeding = asyncio.create_task(self._feed())
        pumps = [
            asyncio.create_task(_pump(self._child.stdout, self._process.stdout)),
            asyncio.create_task(_pump(self._child.stderr, self._process.stderr)),
        ]
        gone = asyncio.create_task(self._process.channel.wait_closed())
        ended = asyncio.create_task(self._child.wait())
        try:
            await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                self._send(SIGKILL)
            code = await ended
            await asyncio.wait(pumps, timeout=DRAIN_TIMEOUT_S)
            _tell(self._process, code)
        finally:
            if not ended.done():
                self._send(SIGKILL)
            for task in (feeding, gone, *pumps):
                task.cancel()
            await asyncio.gather(feeding, gone, *pumps, return_exceptions=True)

    def _send(self, number: int) -> None:
        # A process that has ended has given its number back.
        if self._child.returncode is None:
            self._cell.send(self._child.pid, number)

    def _receive(self, signal: str) -> None:
        with suppress(KeyError):
            self._send(Signals[f"SIG{signal}"])

    async def _feed(self) -> None:
        """Input for the child."""
        if self._child.stdin is None:
            return
        with suppress(BrokenPipeError, ConnectionError):
            while True:
                try:
                    data = await self._process.stdin.read(CHUNK)
                except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                    continue
                if not data:
                    break
                self._child.stdin.write(data)
                await self._child.stdin.drain()
            self._child.stdin.close()


def _tell(process: Session, code: int) -> None:
    if process.is_closing():
        return
    if code < 0:
        process.exit_with_signal(Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _pump(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    if source is None:
        return
    with suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()


def _environment(process: Session, cell: Cell, account: Account) -> dict[str, str]:
    """As OpenSSH's server makes it: bash reads ``.bashrc`` where it finds ``SSH_CLIENT``."""
    sent = {os.fsdecode(name): os.fsdecode(value) for name, value in process.channel.get_environment_bytes().items()}
    peer, own = _ends(process.get_extra_info("peername")), _ends(process.get_extra_info("sockname"))
    return {
        "LANG": "C.UTF-8",
        **{name: value for name, value in sent.items() if name.startswith(TAKEN)},
        "PATH": cell.path,
        "HOME": cell.home(account.user),
        "USER": account.user,
        "LOGNAME": account.user,
        "SHELL": account.shell,
        "SSH_CLIENT": f"{peer} {own.rpartition(' ')[2]}",
        "SSH_CONNECTION": f"{peer} {own}",
    }


def _ends(name: Sequence[object] | None) -> str:
    return f"{name[0]} {name[1]}" if name else "UNKNOWN 65535"
