"""The hosts behind the machines: a real SSH server each, on an address of its own, with a home folder of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import asyncssh

from ogc_async.sandbox.enclosure import Cell, Enclosure
from ogc_async.sandbox.guest.system import Guest
from ogc_async.sandbox.processes import Session, run_session
from ogc_async.sandbox.sweep import Sweeper
from ogc_async.sandbox.view import Account

CLOSE_TIMEOUT_S = 5.0
LOCAL = frozenset({"localhost", "127.0.0.1"})
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.ASCII)
"""A machine's users have a home folder by their name."""
SHELL_FOLDERS = ("/bin", "/usr/bin", "/usr/local/bin")
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
        self._sweeper = Sweeper()
        self._folder = Path(tempfile.mkdtemp(prefix="ogc-sandbox-"))
        self._addresses = self._endless()
        self._made = 0

    def make(self, logins: Iterable[Login], shell: str, host_key: asyncssh.SSHKey | None = None) -> Host:
        """A host that holds its address, and does not listen yet; what it takes to listen is made then.

        ``shell`` is every user's login shell. Without ``host_key`` the host has one of its own.
        """
        address, held = self._take()
        self._made += 1
        # Of its own name: the folder of a machine that is stopped outlives its address, which another may have then.
        folder = self._folder / f"{address}-{self._made}"
        return Host(address, held, folder, logins, self._cell(folder), shell=shell, host_key=host_key)

    def revive(self, host: Host, *, keeps_address: bool = False) -> None:
        """Give a host that was halted a new address, or its old one again, and what it takes to listen there."""
        held = _hold(host.address, self._port, is_again=True) if keeps_address else None
        address, held = (host.address, held) if held is not None else self._take()
        host.revive(address, held, self._cell(host.folder))

    def homes(self) -> int:
        """How many home folders there are."""
        return sum(1 for _ in self._folder.iterdir()) if self._folder.exists() else 0

    def remove(self) -> None:
        """Remove the folder that held the homes."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self) -> tuple[str, socket.socket]:
        for _ in range(TRIES):
            address = next(self._addresses)
            held = _hold(address, self._port)
            if held is not None:
                return address, held
        raise AddressesTaken(f"no free address in {self._network} with port {self._port} after {TRIES} tries")

    def _cell(self, folder: Path) -> Cell:
        return self._enclosure.cell(folder, self._sweeper)

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
        folder: Path,
        logins: Iterable[Login],
        cell: Cell,
        *,
        shell: str,
        host_key: asyncssh.SSHKey | None = None,
    ) -> None:
        self.address = address
        self.folder = folder
        self._socket = held
        self._logins = tuple(logins)
        self._authorized: list[tuple[str, asyncssh.SSHKey]] = []
        self._cell = cell
        self._shell = path_of_shell(shell)
        self._given_key = host_key
        self.guest: Guest | None = None
        """The machine's system, where its user data is run."""
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

    @property
    def cell(self) -> Cell:
        """Where its commands run, until it halts."""
        return self._cell

    async def open(self) -> None:
        """Listen from now on."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.authorize(self._logins)
        self._server = await asyncssh.listen(
            sock=self._socket,
            config=None,
            server_factory=lambda: _Door(self._authorized, self._connections, self._run),
            server_host_keys=[self.host_key],
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            compression_algs=None,
            x509_trusted_certs=None,
            gss_host=None,
            backlog=128,
        )

    async def halt(self) -> None:
        """Cut every connection and end every process; the home stays."""
        if self.guest is not None:
            await self.guest.halt()
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        self._socket.close()
        if self._commands:
            # Each kills its processes when its channel is cut; what they still write would come back otherwise.
            await asyncio.wait(self._commands, timeout=CLOSE_TIMEOUT_S)
        await self._cell.aclose()

    def revive(self, address: str, held: socket.socket, cell: Cell) -> None:
        """Hold this address from now on; it takes :meth:`open` to listen there."""
        self.address, self._socket, self._cell, self._server = address, held, cell, None

    async def aclose(self) -> None:
        """Halt, and remove the home."""
        await self.halt()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    def _run(self, process: Session) -> None:
        account = Account(process.get_extra_info("username"), self._shell)
        if self.guest is not None:
            self.guest.tell_time()
        task = asyncio.create_task(run_session(process, self._cell, account))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)


def path_of_shell(shell: str) -> str:
    """Where the shell of that name is; a path is one already, and a name that is found nowhere stays what it is."""
    found = (f"{folder}/{shell}" for folder in SHELL_FOLDERS if Path(folder, shell).is_file())
    return shell if "/" in shell else next(found, shell)


class _Door(asyncssh.SSHServer):
    """Lets in who holds a key of this machine, and in no other way."""

    def __init__(
        self,
        authorized: list[tuple[str, asyncssh.SSHKey]],
        connections: set[asyncssh.SSHServerConnection],
        run: Callable[[Session], None],
    ) -> None:
        self._authorized = authorized
        self._connections = connections
        self._run = run
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

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return Session(self._run)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return USER_NAME.fullmatch(username) is not None and any(
            key == known and user in ("", username) for user, known in self._authorized
        )


def _hold(address: str, port: int, *, is_again: bool = False) -> socket.socket | None:
    """A socket bound to the address, so that no other sandbox takes it; it refuses connections until it listens.

    ``is_again`` takes an address that this sandbox has just given up: what is left of its connections is no obstacle.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, is_again)
    try:
        held.bind((address, port))
    except OSError:
        held.close()
        return None
    # Only now: what is left of its connections, which have it from here, is then no obstacle to taking it again. Before
    # it binds, two sandboxes could hold one address.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    held.setblocking(False)
    return held
