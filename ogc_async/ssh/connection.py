"""One SSH session a node: waits for sshd by the real login, verifies the host key, says plainly what failed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import asyncssh

from ogc_async.errors import HostKeyChanged, KeyRefused, RemoteError, Unreachable
from ogc_async.ssh.client import client_options, close, log_in
from ogc_async.ssh.hostkeys import HostKeyCheck, fingerprint
from ogc_async.ssh.jump import Jump
from ogc_async.ssh.redaction import Redaction
from ogc_async.ssh.shell import POSIX, POWERSHELL, Shell
from ogc_async.ssh.wire import Wire

ATTEMPT_TIMEOUT_S = 20.0
"""One login. A server that accepts and then says nothing must not use up the whole wait."""

REFUSAL_GRACE_S = 10.0
"""From the first refusal, how long the key is tried again: sshd may be up before cloud-init has installed it."""

BANNER_PAUSE_S = 2.0
"""OpenSSH 9.8 and later penalise sources whose logins fail in quick succession; two seconds apart is let pass."""

KEEPALIVE_S = 15.0
KEEPALIVE_MISSES = 4
"""A session counts as broken once the node has left so many questions unanswered, so many seconds apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to connect to. ``host_key`` is the one on record, ``None`` where the first one shown is to be accepted."""

    node: str
    address: str
    port: int
    username: str
    host_key: str | None = None
    is_windows: bool = False


class Session:
    """An open session to one node; ``host_key`` is the key that the node proved to hold."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        node: str,
        host_key: str,
        *,
        redaction: Redaction | None = None,
        shell: Shell = POSIX,
    ) -> None:
        self.connection = connection
        self.node = node
        self.host_key = host_key
        self.redaction = redaction or Redaction()
        self.shell = shell
        self._lasting: asyncio.TimerHandle | None = None

    @property
    def is_windows(self) -> bool:
        """Commands are read by PowerShell, and files come by SFTP."""
        return self.shell.is_windows

    async def __aenter__(self) -> Self:
        # A timer that starts anew with every packet is more than a short session has need of.
        self._lasting = asyncio.get_running_loop().call_later(
            KEEPALIVE_S, self.connection.set_keepalive, KEEPALIVE_S, KEEPALIVE_MISSES
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lasting is not None:
            self._lasting.cancel()
        await close(self.connection)


class Connector:
    """Opens sessions with one client key, through ``jump`` where there is one.

    At most ``max_handshakes`` logins are under way at once. Public-key arithmetic runs on the event loop, and its
    longest stall grows with the logins in flight.
    """

    def __init__(
        self,
        client_key: asyncssh.SSHKey,
        *,
        max_handshakes: int = 50,
        jump: Jump | None = None,
        redaction: Redaction | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._jump = jump
        self._redaction = redaction
        self._gate = asyncio.Semaphore(max_handshakes)
        self._wire = Wire()
        self._sleep = sleep
        self._clock = clock or asyncio.get_running_loop().time
        self._rng = rng or random.Random()  # noqa: S311  # spreads retries, hides nothing
        self._options = client_options(client_key)

    async def connect(self, target: Target, *, timeout_s: float) -> Session:
        """Log in as soon as the node lets us, within ``timeout_s`` seconds.

        Raises ``Unreachable`` with the last cause, ``KeyRefused``, or at once ``HostKeyChanged``.
        """
        deadline = self._clock() + timeout_s
        tries = 0
        refused_at: float | None = None
        error: RemoteError | None = None
        while True:
            check = HostKeyCheck(target.host_key)
            left = deadline - self._clock()
            try:
                return await self._attempt(target, check, min(ATTEMPT_TIMEOUT_S, left))
            except RemoteError as failed:
                # The jump host has said what is wrong with it.
                error = failed
            except (asyncssh.Error, OSError, TimeoutError) as cause:
                # An attempt that only our own deadline ended says less than the one before it.
                if error is None or left >= ATTEMPT_TIMEOUT_S or not isinstance(cause, TimeoutError):
                    error = what_failed(target, check, cause)
            now = self._clock()
            if isinstance(error, KeyRefused) and refused_at is None:
                refused_at = now
            refused_s = 0.0 if refused_at is None else now - refused_at
            pause = next_pause(error, check, tries, refused_s=refused_s, left=deadline - now)
            if pause is None:
                raise error
            tries += 1
            await self._sleep(pause * self._rng.uniform(1.0, 1.4))

    async def aclose(self) -> None:
        """Close the way to the nodes, where it is not theirs alone; their sessions have been closed before."""
        if self._jump is not None:
            await self._jump.aclose()

    async def _attempt(self, target: Target, check: HostKeyCheck, timeout_s: float) -> Session:
        async with self._gate:
            async with asyncio.timeout(max(timeout_s, 0.001)):
                connection = await log_in(
                    self._options,
                    target.username,
                    target.address,
                    target.port,
                    client=check,
                    wire=self._wire,
                    through=await self._jump.connection(target.node) if self._jump is not None else None,
                )
        return Session(
            connection,
            target.node,
            check.shown or "",
            redaction=self._redaction,
            shell=POWERSHELL if target.is_windows else POSIX,
        )


def next_pause(error: RemoteError, check: HostKeyCheck, tries: int, *, refused_s: float, left: float) -> float | None:
    """Seconds until the next attempt, or nothing where another can not help or no time is left for it."""
    if isinstance(error, HostKeyChanged) or (isinstance(error, KeyRefused) and refused_s >= REFUSAL_GRACE_S):
        return None
    pause = min(0.2 * 1.6 ** min(tries, 10), BANNER_PAUSE_S) if check.shown is None else BANNER_PAUSE_S
    return pause if pause < left else None


def what_failed(target: Target, check: HostKeyCheck, cause: Exception) -> RemoteError:
    """The one place where SSH's errors are mapped to ours."""
    where = f"{target.username}@{target.address}:{target.port}"
    if check.is_changed:
        assert target.host_key is not None  # noqa: S101  # is_changed says so
        return HostKeyChanged(
            target.node,
            f"{target.address}:{target.port} shows host key {fingerprint(check.shown or '')}, on record is "
            f"{fingerprint(target.host_key)}; find out why before you trust it: another machine may answer there",
        )
    if isinstance(cause, asyncssh.PermissionDenied):
        return KeyRefused(
            target.node, f"{where} refuses the layout's SSH key; check the layout's ssh-keys and username"
        )
    said = str(cause).strip() or type(cause).__name__
    if isinstance(cause, TimeoutError):
        said = "no answer in time"
    return Unreachable(
        target.node, f"no SSH session with {where}: {said}; check the layout's ports, ingress and ssh-port"
    )
