"""Logging in: waiting for a node, giving up on it, knowing it again, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import asyncssh
import psutil
import pytest

from ogc_async.errors import HostKeyChanged, KeyRefused, Unreachable
from ogc_async.ssh import connection
from ogc_async.ssh.connection import REFUSAL_GRACE_S, Connector
from ogc_async.ssh.execute import run
from tests.integration.ssh.conftest import Server
from tests.integration.ssh.ports import held_port
from tests.timing import HANGS_AFTER_S


class Time:
    """A clock that only sleeping moves on; ``on_sleep`` is called with each sleep's number, counted from 1."""

    def __init__(self, on_sleep: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._on_sleep = on_sleep

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self._on_sleep is not None:
            await self._on_sleep(len(self.slept))

    def connector(self, client_key: asyncssh.SSHKey) -> Connector:
        return Connector(client_key, clock=self.clock, sleep=self.sleep)


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def open_connections() -> set[tuple[object, ...]]:
    return {
        (each.fd, each.laddr, each.raddr)
        for each in psutil.Process().net_connections(kind="tcp")
        if each.raddr and each.status == psutil.CONN_ESTABLISHED
    }


async def test_a_session_needs_no_ssh_program(
    server: Server, client_key: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
    monkeypatch.setenv("HOME", "/nonexistent")
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        assert (await run(session, "echo here", timeout_s=60)).output == b"here\n"


async def test_first_contact_reports_the_host_key_to_pin_and_the_next_contact_is_held_to_it(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        pinned = session.host_key
    assert pinned == server.host_line
    async with await Connector(client_key).connect(server.target(host_key=pinned), timeout_s=60) as session:
        assert session.host_key == pinned


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_host_keys_of_other_kinds_are_pinned_and_known_again(
    server: Server, client_key: asyncssh.SSHKey, kind: str
) -> None:
    server.host_key = asyncssh.generate_private_key(kind)
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        pinned = session.host_key
    assert pinned == server.host_line
    async with await Connector(client_key).connect(server.target(host_key=pinned), timeout_s=60):
        pass


async def test_a_changed_host_key_is_refused_at_once_and_no_login_is_tried(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    recorded = server.host_line
    before = server.host_key.get_fingerprint()
    server.host_key = asyncssh.generate_private_key("ssh-ed25519")
    await server.start()
    time = Time()
    with pytest.raises(HostKeyChanged) as changed:
        await time.connector(client_key).connect(server.target(host_key=recorded), timeout_s=60)
    assert changed.value.node == "web-1"
    assert before in str(changed.value)
    assert server.host_key.get_fingerprint() in str(changed.value)
    assert time.slept == []
    await server.emptied()
    assert (server.logins, server.commands) == (0, [])


async def test_a_node_that_does_not_listen_yet_is_tried_until_it_does(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    async def boot(number: int) -> None:
        if number == 6:
            await server.start()

    time = Time(boot)
    async with await time.connector(client_key).connect(server.target(), timeout_s=60) as session:
        assert session.node == "web-1"
    assert len(time.slept) == 6
    assert time.slept == sorted(time.slept)
    assert server.logins == 1


async def test_a_node_that_never_listens_is_unreachable_at_the_deadline_with_what_was_tried(
    client_key: asyncssh.SSHKey, server: Server
) -> None:
    time = Time()
    with pytest.raises(Unreachable) as gave_up:
        await time.connector(client_key).connect(server.target(), timeout_s=30)
    said = str(gave_up.value)
    assert said.startswith(f"web-1: no SSH session with ubuntu@127.0.0.1:{server.port}: ")
    assert "Connect call failed" in said
    assert "ingress" in said
    assert sum(time.slept) <= 30 + 1
    assert max(time.slept) <= 3


async def test_a_last_attempt_cut_short_by_the_deadline_does_not_hide_what_failed_before(
    client_key: asyncssh.SSHKey, server: Server
) -> None:
    with held_port() as silent:
        there = server.target(port=silent.getsockname()[1])

        async def oversleep(number: int) -> None:
            silent.listen()
            time.now = 1030

        time = Time(oversleep)
        with pytest.raises(Unreachable, match="Connect call failed"):
            await time.connector(client_key).connect(there, timeout_s=30)
    assert len(time.slept) == 1


async def test_hours_of_waiting_do_not_overflow_the_growth_of_the_pauses(
    client_key: asyncssh.SSHKey, server: Server
) -> None:
    time = Time()
    with pytest.raises(Unreachable):
        await time.connector(client_key).connect(server.target(), timeout_s=4000)
    assert len(time.slept) > 1510


async def test_a_server_that_accepts_and_never_says_a_word_does_not_use_up_the_whole_wait(
    client_key: asyncssh.SSHKey, server: Server, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ATTEMPT_TIMEOUT_S", 0.05)
    time = Time()
    with pytest.raises(Unreachable, match="no answer in time"):
        await time.connector(client_key).connect(server.target(port=silent_port), timeout_s=5)
    assert len(time.slept) > 2


async def test_something_that_is_not_ssh_is_unreachable(client_key: asyncssh.SSHKey, server: Server) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
            await Time().connector(client_key).connect(server.target(port=port), timeout_s=1)


async def test_a_refused_key_is_tried_again_for_a_while_and_then_named(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    server.is_refusing = True
    await server.start()
    time = Time()
    with pytest.raises(KeyRefused, match=r"^web-1: ubuntu@127.0.0.1:\d+ refuses the layout's SSH key"):
        await time.connector(client_key).connect(server.target(), timeout_s=600)
    assert REFUSAL_GRACE_S <= sum(time.slept) < REFUSAL_GRACE_S + 3
    assert min(time.slept) >= 2, "OpenSSH penalises who comes back sooner"
    await server.emptied()
    assert server.commands == []


async def test_a_key_that_is_installed_a_little_after_the_server_listens_is_let_in(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    async def boot(number: int) -> None:
        if number == 1:
            time.now += 60
            server.is_refusing = True
            await server.start()
        server.is_refusing = number < 3

    time = Time(boot)
    async with await time.connector(client_key).connect(server.target(), timeout_s=180):
        assert server.logins == 3


async def test_no_more_handshakes_than_allowed_are_under_way_at_once(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    full = anyio.Event()
    go_on = anyio.Event()

    async def hold() -> None:
        if server.at_once == 3:
            full.set()
        await go_on.wait()

    server.on_login = hold
    await server.start()
    connector = Connector(client_key, max_handshakes=3)
    logins = [asyncio.create_task(connector.connect(server.target(), timeout_s=60)) for _ in range(9)]
    with anyio.fail_after(HANGS_AFTER_S):
        await full.wait()
        go_on.set()
        sessions = await asyncio.gather(*logins)
    assert server.most_at_once == 3
    assert len(server.connections) == 9, "a session that is open no longer counts"
    for session in sessions:
        async with session:
            pass


async def test_a_login_cancelled_while_it_waits_for_the_server_leaves_no_task_and_no_socket(
    client_key: asyncssh.SSHKey, server: Server
) -> None:
    asked = anyio.Event()

    async def hang() -> None:
        asked.set()
        await anyio.sleep_forever()

    server.on_login = hang
    await server.start()
    tasks, sockets = asyncio.all_tasks(), open_connections()
    login = asyncio.create_task(Connector(client_key).connect(server.target(), timeout_s=60))
    with anyio.fail_after(HANGS_AFTER_S):
        await asked.wait()
        login.cancel()
        with pytest.raises(asyncio.CancelledError):
            await login
        await server.emptied()
        while asyncio.all_tasks() - tasks or open_connections() - sockets:
            await anyio.sleep(0.005)


async def test_a_login_that_ran_out_of_time_leaves_no_task_and_no_socket(
    client_key: asyncssh.SSHKey, server: Server, silent_port: int
) -> None:
    connector = Connector(client_key)
    tasks, sockets = asyncio.all_tasks(), open_connections()
    with pytest.raises(Unreachable, match="no answer in time"):
        await connector.connect(server.target(port=silent_port), timeout_s=0.05)
    await anyio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert open_connections() == sockets


async def test_a_cancelled_login_gives_its_place_to_the_next_one(
    client_key: asyncssh.SSHKey, server: Server, silent_port: int
) -> None:
    await server.start()
    connector = Connector(client_key, max_handshakes=1)
    stuck = asyncio.create_task(connector.connect(server.target(port=silent_port), timeout_s=60))
    await anyio.sleep(0)
    stuck.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stuck
    with anyio.fail_after(HANGS_AFTER_S):
        async with await connector.connect(server.target(), timeout_s=60):
            pass


async def test_a_closed_session_is_gone_from_the_server(server: Server, client_key: asyncssh.SSHKey) -> None:
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60):
        assert len(server.connections) == 1
    await server.emptied()


async def test_leaving_a_session_that_broke_raises_nothing(server: Server, client_key: asyncssh.SSHKey) -> None:
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60):
        server.break_connections()


async def test_one_connector_serves_nodes_with_different_host_keys_and_confuses_none(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    await server.start()
    other = type(server)(server.home, client_key)
    await other.start()
    try:
        connector = Connector(client_key)
        one, two = await asyncio.gather(
            connector.connect(server.target(host_key=server.host_line), timeout_s=60),
            connector.connect(other.target(host_key=other.host_line), timeout_s=60),
        )
        async with one, two:
            assert (one.host_key, two.host_key) == (server.host_line, other.host_line)
        with pytest.raises(HostKeyChanged):
            await connector.connect(other.target(host_key=server.host_line), timeout_s=60)
    finally:
        await other.stop()
