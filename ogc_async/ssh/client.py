"""asyncssh's client connection, without the work that a fleet's short sessions have no use for.

asyncssh's own way to connect reads each connection's options anew, in a thread; sends an empty packet before every
packet of a login and a session; and puts what it would log into words that nobody reads. With 50 nodes that is an
eighth of the client's CPU.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any, cast

import anyio
import asyncssh
from asyncssh.logging import SSHLogger

from ogc_async.ssh.wire import Gathering, Wire

KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
MSG_IGNORE = 2
"""RFC 4253, section 11.2."""

CLOSE_TIMEOUT_S = 5.0

LOG = logging.getLogger("asyncssh")
LOGS = (LOG, LOG.getChild("sftp"))

Options = asyncssh.SSHClientConnectionOptions


def client_options(client_key: asyncssh.SSHKey) -> Options:
    """The options of all connections by one key: to read them takes longer than some parts of a login."""
    if LOG.level == logging.NOTSET:
        # asyncssh logs every command at INFO, and any secret written into one. Who wants that can set the level.
        LOG.setLevel(logging.WARNING)
    return Options(
        # OpenSSH's own files are another program's business.
        config=None,
        client_keys=[client_key],
        known_hosts=([], [], []),
        agent_path=None,
        gss_host=None,
        x509_trusted_certs=None,
        x509_trusted_cert_paths=[],
        preferred_auth="publickey",
        compression_algs=None,
        kex_algs=KEX,
        encryption_algs=CIPHERS,
        server_host_key_algs=HOST_KEYS,
        # Whoever waits for a login bounds it.
        login_timeout=0,
    )


async def log_in(
    options: Options,
    username: str,
    address: str,
    port: int,
    *,
    client: asyncssh.SSHClient,
    wire: Wire,
    through: asyncssh.SSHClientConnection | None = None,
) -> asyncssh.SSHClientConnection:
    """Connect, straight or ``through`` another session, and log in; ``client`` is told of it, and asked.

    Raises what asyncssh raises, or ``OSError``. Waits for as long as its caller lets it.
    """
    own = copy(options)
    own.username, own.host, own.port = username, address, port
    own.protocol_factory = lambda: client
    # A key pair keeps the algorithm that its last server wanted.
    own.client_keys = [copy(each) for each in options.client_keys or ()]
    own.waiter = asyncio.get_running_loop().create_future()
    try:
        connection = await _connect(lambda: Connection(own, wire), address, port, through)
    except BaseException:
        own.waiter.cancel()
        raise
    try:
        await own.waiter
    except BaseException:
        connection.abort()
        await connection.wait_closed()
        raise
    return connection


async def close(connection: asyncssh.SSHClientConnection) -> None:
    """Say goodbye, and hang up on a server that does not answer in time."""
    connection.close()
    with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True) as scope:
        await connection.wait_closed()
    if scope.cancelled_caught:
        connection.abort()


async def _connect(
    made: Callable[[], Connection], address: str, port: int, through: asyncssh.SSHClientConnection | None
) -> Connection:
    if through is None:
        return (await asyncio.get_running_loop().create_connection(made, address, port))[1]
    # To asyncssh a connection is a session like any other.
    session = cast("Callable[[], asyncssh.SSHTCPSession[bytes]]", made)
    opening = asyncio.ensure_future(through.create_connection(session, address, port))
    try:
        return cast("Connection", (await asyncio.shield(opening))[1])
    except asyncio.CancelledError:
        # A channel whose opening is cancelled stays open, once it is, for as long as the session that it is in.
        opening.add_done_callback(_hang_up)
        raise


def _hang_up(opening: asyncio.Future[tuple[asyncssh.SSHTCPChannel[bytes], Any]]) -> None:
    with suppress(asyncssh.Error, OSError, asyncio.CancelledError):
        opening.result()[0].abort()


class Connection(asyncssh.SSHClientConnection):
    """A connection to one node."""

    def __init__(self, options: Options, wire: Wire) -> None:
        super().__init__(asyncio.get_running_loop(), options, wait="auth")
        self._wire = wire
        is_heard = any(each.isEnabledFor(logging.INFO) for each in LOGS)
        self._heard = super().logger if is_heard else QUIET

    @property
    def logger(self) -> SSHLogger:
        """asyncssh's own where somebody listened to it when the connection was made; its channels' come of it."""
        return self._heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Packets leave by what gathers them."""
        super().connection_made(Gathering(cast("asyncio.Transport", transport), self._wire))

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet, and no empty one before it, which has a use for ciphers in CBC mode (RFC 4251, section 9.3.1).

        None of those is in ``CIPHERS``.
        """
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)


class _Quiet(SSHLogger):
    """Says what calls for attention, and does not even put the rest into words."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        if level >= logging.WARNING:
            super().log(level, msg, *args, **kwargs)


QUIET = _Quiet()
