"""When a node is ready for its scripts: its layout's gate is open, and no package manager is at work."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable

import anyio
import asyncssh

from ogc_async.errors import NotReady
from ogc_async.spec.layout import Ready
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution, run

PAUSE_S = 1.0
"""Between two looks at a gate that is closed."""

PROBE_TIMEOUT_S = 30.0
SAID_LIMIT = 4096
NO_SUCH_COMMAND = 127
CLOUD_INIT_DEGRADED = 2
"""cloud-init's exit code, from 23.4 on, where it has finished with errors that it recovered from."""

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
    "/var/lib/rpm/.rpm.lock",
    "/usr/lib/sysimage/rpm/.rpm.lock",
)


def lock_probe(files: Iterable[str] = LOCKS) -> str:
    """A shell command that prints those of the lock files that are held.

    The kernel lists who holds which lock, by inode, for everybody to read: no need for root, nor for ``fuser``.
    """
    return (
        f"set --; for lock in {' '.join(map(shlex.quote, files))}; do "
        '[ -e "$lock" ] && set -- "$@" "$lock"; done; held=; '
        'if [ "$#" -gt 0 ] && [ -r /proc/locks ]; then '
        'while read -r line; do held="$held $line"; done </proc/locks; '
        'stat -c "%i %n" "$@" 2>/dev/null | while read -r inode lock; do '
        'case "$held" in *":$inode "*) echo "$lock";; esac; done; fi'
    )


async def pass_gate(session: Session, ready: Ready, *, timeout_s: float) -> None:
    """Wait until the node's gate is open, ``timeout_s`` seconds at most. Raises ``NotReady`` with what it waited for.

    SSH has answered, or there were no session.
    """
    deadline = anyio.current_time() + timeout_s
    for waited_for, gate in _gates(ready):
        with anyio.move_on_at(deadline) as scope:
            await gate(session, timeout_s)
        if scope.cancelled_caught:
            raise NotReady(session.node, f"not ready after {timeout_s:g} s: {waited_for}; see the layout's ready")


async def wait_for_locks(session: Session, *, timeout_s: float) -> None:
    """Wait until no package manager holds a lock. Raises ``NotReady``."""
    command = f'while lock=$({lock_probe()}) && [ -n "$lock" ]; do sleep 1; done'
    done = await run(session, command, timeout_s=timeout_s, output_limit=SAID_LIMIT)
    if done.ended is Ended.TIMED_OUT:
        raise NotReady(session.node, f"a package manager still held its lock after {timeout_s:g} s; see what it does")


Gate = Callable[[Session, float], Awaitable[None]]


def _gates(ready: Ready) -> list[tuple[str, Gate]]:
    gates: list[tuple[str, Gate]] = []
    if ready.cloud_init:
        gates.append(("cloud-init has not finished", _await_cloud_init))
    if ready.port is not None:
        port = ready.port
        gates.append((f"nothing listens on TCP port {port}", lambda session, _: _await_port(session, port)))
    if ready.command is not None:
        command = ready.command
        gates.append((f"{command!r} does not exit with 0", lambda session, _: _await_command(session, command)))
    return gates


async def _await_cloud_init(session: Session, timeout_s: float) -> None:
    done = await run(session, "cloud-init status --wait", timeout_s=timeout_s, output_limit=SAID_LIMIT)
    if done.exit_code == NO_SUCH_COMMAND:
        raise NotReady(session.node, "has no cloud-init to wait for; choose another gate for its layout")
    if done.ended is Ended.EXITED and done.exit_code not in (0, CLOUD_INIT_DEGRADED):
        raise NotReady(session.node, f"cloud-init failed: {_said(done)}; see /var/log/cloud-init-output.log there")


async def _await_port(session: Session, port: int) -> None:
    """From the node itself, through the session: no firewall in between decides."""
    while True:
        try:
            with anyio.fail_after(PROBE_TIMEOUT_S):
                _, writer = await session.connection.open_connection("localhost", port, encoding=None)
        except (asyncssh.ChannelOpenError, TimeoutError) as error:
            if getattr(error, "code", None) == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise NotReady(
                    session.node, "its SSH server forbids to look at a port; use a command as gate"
                ) from None
            await anyio.sleep(PAUSE_S)
        else:
            writer.close()
            return


async def _await_command(session: Session, command: str) -> None:
    while True:
        done = await run(session, command, timeout_s=PROBE_TIMEOUT_S, output_limit=SAID_LIMIT)
        if done.exit_code == 0:
            return
        await anyio.sleep(PAUSE_S)


def _said(done: Execution) -> str:
    return done.output.decode("utf-8", "replace").strip() or f"exit code {done.exit_code}"
