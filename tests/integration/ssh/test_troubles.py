"""Servers in trouble: real OpenSSH that drops logins, answers late, hangs after accepting, or shows another key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import asyncssh
import pytest

from ogc_async.errors import ConnectionLost, HostKeyChanged
from ogc_async.ssh.connection import ATTEMPT_TIMEOUT_S, Connector, Target
from ogc_async.ssh.execute import run
from ogc_async.ssh.keys import load_private_key
from tests.integration.ssh.conftest import Server, listening
from tests.openssh import Fleet, Host, openssh_fleet
from tests.timing import LoopTime


def target(host: Host, host_key: str | None = None) -> Target:
    return Target(node="web-1", address=host.address, port=host.port, username=host.username, host_key=host_key)


async def soon(_seconds: float) -> None:
    """A pause between two tries, long enough for a server to finish the login before."""
    await anyio.sleep(0.02)


@pytest.fixture
async def strict() -> AsyncIterator[Fleet]:
    """A server that drops every login beyond two that are under way, as MaxStartups tells it."""
    with openssh_fleet(1, options=["MaxStartups 2:100:2"]) as fleet:
        yield fleet


async def test_logins_dropped_above_max_startups_are_tried_again_until_all_are_in(strict: Fleet) -> None:
    (host,) = strict.hosts
    connector = Connector(load_private_key(strict.client_key), max_handshakes=12, sleep=soon)
    sessions = await asyncio.gather(*(connector.connect(target(host), timeout_s=60) for _ in range(12)))
    assert {session.host_key for session in sessions} == {host.host_key}
    for session in sessions:
        async with session:
            assert (await run(session, "echo in", timeout_s=60)).output == b"in\n"
    assert "drop connection" in host.log or "past MaxStartups" in host.log


async def test_a_server_that_lets_a_session_have_one_channel_runs_one_command_after_another() -> None:
    with openssh_fleet(4, options=["MaxSessions 1"]) as fleet:
        connector = Connector(load_private_key(fleet.client_key))

        async def work(host: Host) -> set[bytes]:
            async with await connector.connect(target(host), timeout_s=60) as session:
                return {(await run(session, f"echo {number}", timeout_s=60)).output for number in range(20)}

        printed = await asyncio.gather(*map(work, fleet.hosts))
    assert printed == [{f"{number}\n".encode() for number in range(20)}] * 4


async def test_a_server_that_opens_no_channel_at_all_is_told_of_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ogc_async.ssh.execute.REOPEN_PAUSES_S", (0.0, 0.0))
    with openssh_fleet(1, options=["MaxSessions 0"]) as fleet:
        connector = Connector(load_private_key(fleet.client_key))
        async with await connector.connect(target(fleet.hosts[0]), timeout_s=60) as session:
            with pytest.raises(ConnectionLost, match="before a command could start: open failed"):
                await run(session, "true", timeout_s=60)


async def test_a_command_that_is_refused_on_an_open_channel_is_not_asked_for_again(
    client_key: asyncssh.SSHKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogc_async.ssh.execute.REOPEN_PAUSES_S", (3600.0,))
    asked: list[str] = []

    class Refusing(asyncssh.SSHServerSession[bytes]):
        def exec_requested(self, command: str) -> bool:
            asked.append(command)
            return False

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

        def session_requested(self) -> Refusing:
            return Refusing()

    async with listening(Open) as port:
        there = Target(node="web-1", address="127.0.0.1", port=port, username="ubuntu")
        async with await Connector(client_key).connect(there, timeout_s=60) as session:
            with pytest.raises(ConnectionLost, match="could start: Session request failed"):
                await run(session, "true", timeout_s=60)
    assert asked == ["true"]


async def test_a_server_that_answers_late_is_waited_for(server: Server, client_key: asyncssh.SSHKey) -> None:
    asked, go_on = anyio.Event(), anyio.Event()

    async def hold() -> None:
        asked.set()
        await go_on.wait()

    server.on_login = hold
    await server.start()
    login = asyncio.create_task(Connector(client_key).connect(server.target(), timeout_s=60))
    await asked.wait()
    assert not login.done()
    go_on.set()
    async with await login as session:
        assert session.host_key == server.host_line


async def test_a_server_that_hangs_after_accepting_costs_one_attempt_and_not_the_node(
    server: Server, client_key: asyncssh.SSHKey
) -> None:
    time = LoopTime()
    hung: list[int] = []

    async def hang_twice() -> None:
        if len(hung) < 2:
            hung.append(len(hung))
            time.forward(ATTEMPT_TIMEOUT_S)
            await anyio.sleep_forever()

    server.on_login = hang_twice
    await server.start()
    async with await Connector(client_key, sleep=soon).connect(server.target(), timeout_s=600) as session:
        assert (await run(session, "echo in", timeout_s=60)).output == b"in\n"
    assert len(hung) == 2


async def test_a_machine_that_was_replaced_is_refused_and_none_of_our_logins_reaches_it(strict: Fleet) -> None:
    connector = Connector(load_private_key(strict.client_key))
    (before,) = strict.hosts
    async with await connector.connect(target(before), timeout_s=60) as session:
        pinned = session.host_key
    after = strict.rekey(before)
    logins = after.log.count("Accepted publickey")
    with pytest.raises(HostKeyChanged):
        await connector.connect(target(after, pinned), timeout_s=60)
    assert after.log.count("Accepted publickey") == logins
