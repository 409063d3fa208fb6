"""The hosts behind the machines: a real SSH server each, on an address of its own, with a home folder of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import asyncssh

from ogc_async.sandbox.processes import Enclosure, run_command

CLOSE_TIMEOUT_S = 5.0
LOCAL = frozenset({"localhost", "127.0.0.1"})
TRIES = 20_000
"""A sandbox of thousands of machines may stand in the way; a try takes 10 µs."""


class AddressesTaken(Exception):
    """No address of the network is free."""


@dataclass(frozen=True, slots=True)
class Login:
    """A public key and the user that it lets in; "" is every user."""

    public_key: str
    user: str = ""


class Hosts:
    """Makes hosts, each on the next free address of the network."""

    def __init__(self, network: str, port: int, enclosure: Enclosure) -> None:
        self._network = ipaddress.IPv4Network(network)
        self._port = port
        self._enclosure = enclosure
        self._folder = Path(tempfile.mkdtemp(prefix="ogc-sandbox-"))
        self._addresses = self._endless()

    def make(self, logins: Iterable[Login], host_key: asyncssh.SSHKey | None = None) -> Host:
        """A host that holds its address, and does not listen yet; what it takes to listen is made then.

        Without ``host_key`` it has one of its own.
        """
        for _ in range(TRIES):
            address = next(self._addresses)
            held = _hold(address, self._port)
            if held is not None:
                return Host(address, held, self._folder / address, logins, self._enclosure, host_key=host_key)
        raise AddressesTaken(f"no free address in {self._network} with port {self._port} after {TRIES} tries")

    def homes(self) -> int:
        """How many home folders there are."""
        return sum(1 for _ in self._folder.iterdir()) if self._folder.exists() else 0

    def remove(self) -> None:
        """Remove the folder that held the homes."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _endless(self) -> Iterator[str]:
        """Every address again and again, from a place of its own: sandboxes side by side rarely meet."""
        first, last = self._network[1], self._network[-2]
        start = random.SystemRandom().randrange(int(first), int(last) + 1)
        while True:
            yield from (str(ipaddress.IPv4Address(each)) for each in range(start, int(last) + 1))
            start = int(first)


class Host:
    """One SSH server: any user that holds a key, commands as this very user in a home of their own."""

    def __init__(
        self,
        address: str,
        held: socket.socket,
        home: Path,
        logins: Iterable[Login],
        enclosure: Enclosure,
        *,
        host_key: asyncssh.SSHKey | None = None,
    ) -> None:
        self.address = address
        self._socket = held
        self._home = home
        self._logins = tuple(logins)
        self._authorized: list[tuple[str, asyncssh.SSHKey]] = []
        self._enclosure = enclosure
        self._given_key = host_key
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._commands: set[asyncio.Task[None]] = set()

    @cached_property
    def host_key(self) -> asyncssh.SSHKey:
        """The one it was given, or its own."""
        return self._given_key or asyncssh.generate_private_key("ssh-ed25519")

    def authorize(self, logins: Iterable[Login]) -> None:
        """Let in these from now on, and nobody else."""
        self._logins = tuple(logins)
        self._authorized[:] = [(login.user, asyncssh.import_public_key(login.public_key)) for login in self._logins]

    async def open(self) -> None:
        """Listen from now on."""
        self._home.mkdir(mode=0o700)
        self.authorize(self._logins)
        self._server = await asyncssh.listen(
            sock=self._socket,
            config=None,
            server_factory=lambda: _Door(self._authorized, self._connections),
            process_factory=self._run,
            sftp_factory=self._sftp,
            server_host_keys=[self.host_key],
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            compression_algs=None,
            x509_trusted_certs=None,
            gss_host=None,
            backlog=128,
        )

    async def aclose(self) -> None:
        """Cut every connection, end every process, remove the home."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        self._socket.close()
        if self._commands:
            # Each kills its processes when its channel is cut; what they still write would come back otherwise.
            await asyncio.wait(self._commands, timeout=CLOSE_TIMEOUT_S)
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        user = process.get_extra_info("username") or "user"
        task = asyncio.create_task(run_command(process, self._enclosure, self._home, user))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        await task

    def _sftp(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=os.fsencode(self._home))


class _Door(asyncssh.SSHServer):
    """Lets in who holds a key."""

    def __init__(
        self, authorized: list[tuple[str, asyncssh.SSHKey]], connections: set[asyncssh.SSHServerConnection]
    ) -> None:
        self._authorized = authorized
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        """Like sshd, but to this machine alone: whoever holds a key looks at its ports, and goes no further."""
        return dest_host in LOCAL

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return any(key == known and user in ("", username) for user, known in self._authorized)


def _hold(address: str, port: int) -> socket.socket | None:
    """A socket bound to the address, so that no other sandbox takes it; it refuses connections until it listens."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.bind((address, port))
    except OSError:
        held.close()
        return None
    held.setblocking(False)
    return held
