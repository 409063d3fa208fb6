"""A real SSH server on a loopback port, which runs real commands as OpenSSH does and misbehaves where it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import asyncssh
import pytest
from asyncssh.stream import SSHServerStreamSession

from ogc_async.ssh.connection import Connector, Session, Target
from tests.integration.ssh.openssh_server import OpenSshServer
from tests.integration.ssh.ports import held_port
from tests.timing import HANGS_AFTER_S

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Server:
    """One sshd. Like OpenSSH it signals a command's process group, and lets a command live that loses its channel."""

    def __init__(self, home: Path, authorized: asyncssh.SSHKey) -> None:
        self.home = home
        self.authorized = authorized
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._place = held_port()
        self.port: int = self._place.getsockname()[1]
        self.path = PATH
        self.is_refusing = False
        self.is_closing_at_once = False
        self.has_sftp_next = False
        self.logins = 0
        self.at_once = 0
        self.most_at_once = 0
        self.commands: list[str] = []
        self.children: list[asyncio.subprocess.Process] = []
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.running = anyio.Event()
        self.on_login: Callable[[], Awaitable[None]] | None = None
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def host_line(self) -> str:
        return " ".join(self.host_key.export_public_key().decode().split()[:2])

    def target(self, *, host_key: str | None = None, port: int | None = None) -> Target:
        return Target(node="web-1", address="127.0.0.1", port=port or self.port, username="ubuntu", host_key=host_key)

    async def start(self) -> None:
        self._acceptor = await asyncssh.listen(
            sock=self._place,
            config=None,
            server_factory=lambda: Door(self),
            server_host_keys=[self.host_key],
            encoding=None,
            gss_host=None,
            x509_trusted_certs=None,
        )

    def break_connections(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()

    async def idle(self) -> None:
        """Wait until the command that was asked for has ended."""
        with anyio.fail_after(HANGS_AFTER_S):
            await self.running.wait()
            for child in self.children:
                await child.wait()

    async def emptied(self) -> None:
        """Wait until nobody is connected."""
        with anyio.fail_after(HANGS_AFTER_S):
            while self.connections:
                await anyio.sleep(0.005)

    async def stop(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            self.break_connections()
            await self._acceptor.wait_closed()
        self._place.close()
        for child in self.children:
            kill(child, signal.SIGKILL)
            await child.wait()
        await self.emptied()
        await anyio.sleep(0)


class Door(asyncssh.SSHServer):
    """Lets in who holds the key, and counts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._is_waiting = True

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.connections.add(conn)
        self._server.at_once += 1
        self._server.most_at_once = max(self._server.most_at_once, self._server.at_once)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        if self._connection is not None:
            self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._server.logins += 1
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if self._server.on_login is not None:
            await self._server.on_login()
        return not self._server.is_refusing and key.public_data == self._server.authorized.public_data

    def auth_completed(self) -> None:
        self._done()

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        if not (self._server.has_sftp_next and self._server.commands):
            return Command(self._server)
        home = os.fsencode(self._server.home)
        return SSHServerStreamSession(no_shell, lambda channel: asyncssh.SFTPServer(channel, chroot=home), 3, False)

    def _done(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._server.at_once -= 1


class Command(asyncssh.SSHServerSession[bytes]):
    """One command, a process group of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._child: asyncio.subprocess.Process | None = None
        self._signals: list[str] = []

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        self._server.commands.append(command)
        return True

    def session_started(self) -> None:
        if self._server.is_closing_at_once:
            self._channel.exit(7)
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._input.put_nowait(data)

    def eof_received(self) -> bool:
        self._input.put_nowait(None)
        return True

    def signal_received(self, signal: str) -> None:
        if self._child is None:
            self._signals.append(signal)
        else:
            kill(self._child, number_of(signal))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._input.put_nowait(None)
        self._room.set()

    async def _run(self) -> None:
        child = self._child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            self._command,
            cwd=self._server.home,
            env={"PATH": self._server.path, "HOME": str(self._server.home), "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._server.children.append(child)
        self._server.running.set()
        for name in self._signals:
            kill(child, number_of(name))
        feeding = asyncio.create_task(self._feed(child))
        await asyncio.gather(self._pump(child.stdout, None), self._pump(child.stderr, asyncssh.EXTENDED_DATA_STDERR))
        code = await child.wait()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if self._channel.is_closing():
            return
        if code < 0:
            self._channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            self._channel.exit(code)

    async def _pump(self, source: asyncio.StreamReader | None, datatype: asyncssh.DataType) -> None:
        assert source is not None
        while data := await source.read(65536):
            with suppress(OSError):
                self._channel.write(data, datatype)
            await self._room.wait()

    async def _feed(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None
        with suppress(ConnectionError):
            while (data := await self._input.get()) is not None:
                child.stdin.write(data)
                await child.stdin.drain()
        child.stdin.close()


async def no_shell(stdin: object, stdout: object, stderr: object) -> None:
    """A session for SFTP and nothing else."""


def kill(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def number_of(name: str) -> signal.Signals:
    return signal.Signals[f"SIG{name}"]


@asynccontextmanager
async def listening(kind: Callable[[], asyncssh.SSHServer], **given: Any) -> AsyncIterator[int]:
    """A server of asyncssh's; its port."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    given |= {"config": None, "gss_host": None, "x509_trusted_certs": None}
    acceptor = await asyncssh.listen("127.0.0.1", 0, server_factory=kind, server_host_keys=[host_key], **given)
    async with acceptor:
        yield acceptor.get_port()


@pytest.fixture
def client_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(params=[Server, OpenSshServer], ids=["asyncssh", "openssh"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, client_key: asyncssh.SSHKey) -> AsyncIterator[Server]:
    """A server that listens once a test starts it; stopped after the test. One suite, two kinds of server."""
    home = tmp_path / "home"
    home.mkdir()
    server: Server = request.param(home, client_key)
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def session(server: Server, client_key: asyncssh.SSHKey) -> AsyncIterator[Session]:
    """A session on a server that is well."""
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        yield session
