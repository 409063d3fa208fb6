"""The other body of the suite: a real OpenSSH server, behind a front that counts, holds up and cuts connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio
import asyncssh
import psutil

from ogc_async.ssh.connection import Target
from tests.integration.ssh.ports import held_port
from tests.openssh import USER, Fleet, openssh_folder
from tests.timing import HANGS_AFTER_S

# The login shell of the one user there is: notes each command and its process, and is that process from then on.
SHELL = """\
#!/bin/sh
printf '%s\\0' "$2" >> {folder}/commands
echo $$ >> {folder}/processes
[ -e {folder}/closing ] && exit 7
exec /bin/sh "$@"
"""

SFTP = """\
#!/bin/sh
[ -e {folder}/sftp ] && exec {program}
exit 127
"""


class OpenSshServer:
    """One sshd, with the switches of the suite's other server."""

    def __init__(self, _home: Path, authorized: asyncssh.SSHKey) -> None:
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._place = held_port()
        self.port: int = self._place.getsockname()[1]
        self.at_once = 0
        self.most_at_once = 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.on_login: Callable[[], Awaitable[None]] | None = None
        self._stack = ExitStack()
        folder, installation = self._stack.enter_context(openssh_folder())
        self._folder = folder
        self._write("shell", SHELL.format(folder=folder))
        sftp_server = installation.sshd.parents[1] / "lib/openssh/sftp-server"
        self._write("sftp-server", SFTP.format(folder=folder, program=sftp_server))
        for name in ("commands", "processes"):
            (folder / name).touch()
            (folder / name).chmod(0o666)
        options = ["PermitUserEnvironment yes", f"Subsystem sftp {folder}/sftp-server"]
        self._fleet = Fleet(folder, installation, options, client_key=authorized, shell=str(folder / "shell"))
        self._fleet.set_up(1, self.host_key)
        self._front: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def home(self) -> Path:
        return self._fleet.hosts[0].home

    @property
    def host_line(self) -> str:
        return " ".join(self.host_key.export_public_key().decode().split()[:2])

    @property
    def commands(self) -> list[str]:
        return (self._folder / "commands").read_text().split("\0")[:-1]

    @property
    def logins(self) -> int:
        """Logins that were let in or refused, as the server counts them."""
        log = self._fleet.hosts[0].log
        return log.count("Accepted publickey for") + log.count("Failed publickey for")

    @property
    def children(self) -> list[Child]:
        return [Child(int(number)) for number in (self._folder / "processes").read_text().split()]

    @property
    def running(self) -> Running:
        return Running(self._folder / "processes")

    @property
    def path(self) -> str:
        raise AttributeError

    @path.setter
    def path(self, value: str) -> None:
        (self.home / ".ssh").mkdir(exist_ok=True)
        (self.home / ".ssh" / "environment").write_text(f"PATH={value}\n")

    @property
    def is_refusing(self) -> bool:
        return not (self._fleet.hosts[0].folder / "authorized_keys").read_text()

    @is_refusing.setter
    def is_refusing(self, value: bool) -> None:
        keys = "" if value else self._fleet.public_key
        (self._fleet.hosts[0].folder / "authorized_keys").write_text(keys)

    def _switch(name: str) -> property:  # noqa: N805  # a maker of properties
        """On while the file is there."""

        def is_on(self: OpenSshServer) -> bool:
            return (self._folder / name).exists()

        def turn(self: OpenSshServer, value: bool) -> None:
            if value:
                (self._folder / name).touch()
            else:
                (self._folder / name).unlink(missing_ok=True)

        return property(is_on, turn)

    is_closing_at_once = _switch("closing")
    has_sftp_next = _switch("sftp")

    def target(self, *, host_key: str | None = None, port: int | None = None) -> Target:
        return Target(node="web-1", address="127.0.0.1", port=port or self.port, username=USER, host_key=host_key)

    async def start(self) -> None:
        is_refusing = self.is_refusing
        self._fleet.rekey(self._fleet.hosts[0], self.host_key)
        self.is_refusing = is_refusing
        await anyio.to_thread.run_sync(self._fleet.launch)
        self._front = await asyncio.start_server(self._serve, sock=self._place)

    def break_connections(self) -> None:
        for writer in tuple(self.connections):
            writer.transport.abort()

    async def idle(self) -> None:
        """Wait until no command runs; one that was ended at once had no time to note itself."""
        with anyio.fail_after(HANGS_AFTER_S):
            while any(Path(each.cwd()).is_relative_to(self.home) for each in self._processes()):
                await anyio.sleep(0.01)

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                process.cwd()
                yield process

    async def emptied(self) -> None:
        """Wait until nobody is connected."""
        with anyio.fail_after(HANGS_AFTER_S):
            while self.connections:
                await anyio.sleep(0.005)

    async def stop(self) -> None:
        if self._front is not None:
            self._front.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._front is not None:
            await self._front.wait_closed()
        self._place.close()
        await anyio.to_thread.run_sync(self._fleet.close)
        self._stack.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections.add(writer)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            begun = await self._held_up(reader) if self.on_login is not None else b""
            self.at_once -= 1
            await self._pass_on(begun, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _held_up(self, reader: asyncio.StreamReader) -> bytes:
        """Wait as the test wants it, or until the client has gone; what the client has said until then."""
        assert self.on_login is not None
        waiting = asyncio.ensure_future(self.on_login())
        begun = b""
        try:
            while not waiting.done():
                reading = asyncio.ensure_future(reader.read(65536))
                await asyncio.wait({waiting, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    if not (data := reading.result()):
                        raise ConnectionError
                    begun += data
                else:
                    reading.cancel()
                    await asyncio.wait({reading})
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return begun

    async def _pass_on(self, begun: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = self._fleet.hosts[0]
        inside, outside = await asyncio.open_connection(host.address, host.port)
        try:
            outside.write(begun)
            pumps = {asyncio.ensure_future(pump(reader, outside)), asyncio.ensure_future(pump(inside, writer))}
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            outside.transport.abort()

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)
        (self._folder / name).chmod(0o755)


class Child:
    """A command's process, which is another process's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def wait(self) -> None:
        """Return once it is gone; how it ended, only its parent knows."""
        while psutil.pid_exists(self.pid):
            await anyio.sleep(0.005)


class Running:
    """A command was started."""

    def __init__(self, processes: Path) -> None:
        self._processes = processes

    async def wait(self) -> None:
        with anyio.fail_after(HANGS_AFTER_S):
            while not self._processes.stat().st_size:
                await anyio.sleep(0.005)


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
