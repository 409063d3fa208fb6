"""Commands on a host: real processes of this machine, in their host's home, ended with their channel."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from tempfile import TemporaryDirectory

import asyncssh

CHUNK = 65536
PROBE_TIMEOUT_S = 10
DRAIN_TIMEOUT_S = 5.0
"""A process that went to the background may hold the output open; its command is over all the same."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What keeps commands from the rest of the machine: bubblewrap where it works, nothing where not."""

    bwrap: str | None

    @classmethod
    def found(cls) -> Enclosure:
        """Try bubblewrap once: it may be installed and yet not allowed to make namespaces."""
        path = shutil.which("bwrap")
        if path is None:
            return cls(None)
        with TemporaryDirectory() as folder:
            words = cls(path).wrap(["/bin/true"], Path(folder), "probe")
            try:
                works = subprocess.run(words, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False).returncode == 0  # noqa: S603
            except (OSError, subprocess.TimeoutExpired):
                works = False
        return cls(path if works else None)

    def wrap(self, words: Sequence[str], home: Path, user: str) -> list[str]:
        """The command line that runs ``words`` in ``home``."""
        if self.bwrap is None:
            return list(words)
        inside = f"/home/{user}"
        return [
            self.bwrap,
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/home"),  # noqa: S108
            *("--bind", str(home), inside, "--chdir", inside, "--setenv", "HOME", inside),
            *("--unshare-pid", "--die-with-parent", "--"),
            *words,
        ]


async def run_command(process: asyncssh.SSHServerProcess[bytes], enclosure: Enclosure, home: Path, user: str) -> None:
    """Serve one channel: run its command (or a shell), pass everything on, tell how it ended."""
    words = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    try:
        child = await asyncio.create_subprocess_exec(
            *enclosure.wrap(words, home, user),
            cwd=home,
            env=_environment(process, home, user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        process.stderr.write(f"{error}\n".encode())
        process.exit(126)
        return
    _pass_signals(process, child)
    feeding = asyncio.create_task(_feed(process, child))
    pumps = [
        asyncio.create_task(_pump(child.stdout, process.stdout)),
        asyncio.create_task(_pump(child.stderr, process.stderr)),
    ]
    gone = asyncio.create_task(process.channel.wait_closed())
    try:
        ended = asyncio.create_task(child.wait())
        await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _kill(child, SIGKILL)
        code = await ended
        await asyncio.wait(pumps, timeout=DRAIN_TIMEOUT_S)
        _tell(process, code)
    finally:
        _kill(child, SIGKILL)
        for task in (feeding, gone, *pumps):
            task.cancel()
        await asyncio.gather(feeding, gone, *pumps, return_exceptions=True)


def _tell(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
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


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Input for the child."""
    if child.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionError):
        while True:
            try:
                data = await process.stdin.read(CHUNK)
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            child.stdin.write(data)
            await child.stdin.drain()
        child.stdin.close()


def _pass_signals(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Signals for the child's whole group, also after its input has ended, when nobody reads any more."""

    def receive(signal: str) -> None:
        with suppress(KeyError):
            _kill(child, Signals[f"SIG{signal}"])

    process.signal_received = receive  # type: ignore[method-assign]  # asyncssh's own tells only who reads input


def _kill(child: asyncio.subprocess.Process, number: Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _environment(process: asyncssh.SSHServerProcess[bytes], home: Path, user: str) -> dict[str, str]:
    sent = {os.fsdecode(name): os.fsdecode(value) for name, value in process.channel.get_environment_bytes().items()}
    own = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
    }
    return sent | own
