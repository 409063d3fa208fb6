"""A way to nodes that only another SSH server reaches: one session to that server, shared by all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncssh

from ogc_async.errors import HostKeyChanged, RemoteError, SettingsError, Unreachable
from ogc_async.ssh.client import close

LOGIN_TIMEOUT_S = 30.0

_FORM = re.compile(r"(?P<user>[^@]+)@(?:\[(?P<six>[^]]+)\]|(?P<host>[^:@]+))(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class JumpHost:
    """Where the jump host is; ``known_hosts`` is the file that its host key has to be in."""

    username: str
    address: str
    port: int
    known_hosts: Path

    @classmethod
    def parse(cls, written: str, known_hosts: Path) -> JumpHost:
        """``user@host`` or ``user@host:port``. Raises ``ValueError`` for anything else."""
        match = _FORM.fullmatch(written)
        if match is None:
            raise ValueError(f"{written!r} is not user@host or user@host:port")
        address = match["six"] or match["host"]
        return cls(match["user"], address, int(match["port"] or 22), known_hosts.expanduser())

    def __str__(self) -> str:
        return f"{self.username}@{self.address}:{self.port}"


class Jump:
    """The session to one jump host, opened when it is first needed, and again where it has broken.

    Its host key is verified like a user's own ``ssh`` would: by ``known_hosts``, where it has to be on record already.
    """

    def __init__(self, host: JumpHost, client_key: asyncssh.SSHKey) -> None:
        self._host = host
        self._client_key = client_key
        self._connection: asyncssh.SSHClientConnection | None = None
        self._turn = anyio.Lock()

    async def connection(self, node: str) -> asyncssh.SSHClientConnection:
        """The open session.

        Raises ``Unreachable`` or ``HostKeyChanged``, in the name of the node beyond it, or ``SettingsError``.
        """
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open(node)
            return self._connection

    async def aclose(self) -> None:
        """Close the session, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)

    async def _open(self, node: str) -> asyncssh.SSHClientConnection:
        host = self._host
        if not host.known_hosts.is_file():
            raise SettingsError(
                f"OGC_KNOWN_HOSTS: {host.known_hosts}, which the host key of {host} must be in, is no file"
            )
        try:
            with anyio.fail_after(LOGIN_TIMEOUT_S):
                return await asyncssh.connect(
                    host.address,
                    host.port,
                    username=host.username,
                    client_keys=[self._client_key],
                    known_hosts=str(host.known_hosts),
                    config=None,
                    agent_path=None,
                    gss_host=None,
                    x509_trusted_certs=None,
                    preferred_auth="publickey",
                    keepalive_interval=15,
                    keepalive_count_max=4,
                )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise _what_failed(node, host, error) from error


def _what_failed(node: str, host: JumpHost, error: Exception) -> RemoteError:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostKeyChanged(
            node,
            f"jump host {host}: {error}; its host key is not the one in {host.known_hosts}, or not in there: connect "
            "to it once by ssh, and compare its fingerprint",
        )
    said = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unreachable(node, f"jump host {host}: {said}; check jump-host, and that it takes the layout's key")
