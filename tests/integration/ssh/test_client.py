"""A connection of ours against asyncssh's own: what it sends and says, and that it ends as well."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import anyio
import asyncssh
import pytest

from ogc_async.ssh.client import CIPHERS, client_options, log_in
from ogc_async.ssh.connection import Connector
from ogc_async.ssh.execute import run
from ogc_async.ssh.wire import Wire
from tests.integration.ssh.conftest import Server, listening
from tests.integration.ssh.openssh_server import OpenSshServer
from tests.timing import HANGS_AFTER_S

# The other server is of asyncssh too, in this very process, and its packets would be in the same log.
against_openssh = pytest.mark.parametrize("server", [OpenSshServer], ids=["openssh"], indirect=True)

in_our_loop = pytest.mark.parametrize("server", [Server], ids=["asyncssh"], indirect=True)

MOST_TURNS = 1000
"""Of the event loop, for one login."""


class Trusting(asyncssh.SSHClient):
    """Takes any server for the right one."""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return True


Login = Callable[..., Awaitable[asyncssh.SSHClientConnection]]


@pytest.fixture
def login(client_key: asyncssh.SSHKey) -> Login:
    """Log in to a port, with nothing around it that would try again."""
    return logins_by(client_key)


def logins_by(client_key: asyncssh.SSHKey) -> Login:
    options, wire = client_options(client_key), Wire()

    async def login(port: int, through: Any = None) -> asyncssh.SSHClientConnection:
        with anyio.fail_after(HANGS_AFTER_S):
            return await log_in(options, "ubuntu", "127.0.0.1", port, client=Trusting(), wire=wire, through=through)

    return login


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the event loop was told of as nobody's business."""
    told: list[str] = []
    asyncio.get_event_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    yield told
    asyncio.get_event_loop().set_exception_handler(None)


@pytest.fixture
def told_packets() -> Iterator[None]:
    """asyncssh tells of every packet, to whoever hears its logger at that level."""
    asyncssh.set_debug_level(3)
    yield
    asyncssh.set_debug_level(1)


@against_openssh
@pytest.mark.usefixtures("told_packets")
async def test_whoever_listens_hears_of_every_packet_and_none_of_them_is_empty(
    server: Server, client_key: asyncssh.SSHKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asyncssh")
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        assert (await run(session, "cat", stdin=b"x" * 300_000, timeout_s=60)).output_bytes == 300_000
    sent = [each.getMessage().partition("Sent ")[2].split()[0] for each in caplog.records if "Sent MSG" in each.message]
    assert sent.count("MSG_CHANNEL_DATA") > 5
    assert {"MSG_KEXINIT", "MSG_USERAUTH_REQUEST", "MSG_CHANNEL_OPEN"} <= set(sent)
    assert "MSG_IGNORE" not in sent


@against_openssh
@pytest.mark.usefixtures("told_packets")
async def test_where_nobody_listens_only_a_warning_is_said(
    server: Server, client_key: asyncssh.SSHKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asyncssh")
    await server.start()
    async with await Connector(client_key).connect(server.target(), timeout_s=60) as session:
        await run(session, "echo secret", timeout_s=60)
        session.connection.logger.info("of no interest")
        session.connection.logger.warning("of interest")
    assert [each.message for each in caplog.records] == ["of interest"]


def test_no_cipher_is_offered_that_wants_empty_packets() -> None:
    assert not [each for each in CIPHERS if "cbc" in each]


@in_our_loop
async def test_a_login_cancelled_at_any_turn_leaves_nothing_open_and_nothing_to_complain_of(
    server: Server, login: Login, complaints: list[str]
) -> None:
    await server.start()
    for turns in range(MOST_TURNS):
        attempt = asyncio.ensure_future(login(server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        if attempt.done():
            break
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    assert 5 < turns < MOST_TURNS - 1
    attempt.result().abort()
    await attempt.result().wait_closed()
    await server.emptied()
    del attempt
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_peer_that_is_gone_before_it_is_looked_at_ends_the_login_at_once(login: Login) -> None:
    class Gone(asyncio.Transport):
        """Without so much as an address any more."""

        def abort(self) -> None:
            pass

        def write(self, data: bytes | bytearray | memoryview) -> None:
            pass

    class Network:
        async def create_connection(self, made: Callable[[], asyncio.Protocol], *_: object) -> tuple[Any, Any]:
            protocol, transport = made(), Gone()
            protocol.connection_made(transport)
            await asyncio.sleep(0)
            protocol.connection_lost(ConnectionResetError("reset by peer"))
            return transport, protocol

    with pytest.raises(ConnectionResetError, match="reset by peer"):
        await login(22, through=Network())


async def test_the_reason_that_a_server_gives_for_hanging_up_is_told(login: Login) -> None:
    class Drained(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            asyncio.get_running_loop().call_soon(conn.disconnect, asyncssh.DISC_BY_APPLICATION, "come back at noon")

    async with listening(Drained) as port:
        with pytest.raises(asyncssh.DisconnectError, match="come back at noon"):
            await login(port)


async def test_servers_that_want_different_signatures_of_one_rsa_key_do_not_confuse_each_others_logins() -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    login = logins_by(key)
    trusted = asyncssh.import_authorized_keys(key.export_public_key().decode())
    async with (
        listening(asyncssh.SSHServer, authorized_client_keys=trusted, signature_algs=["rsa-sha2-512"]) as one,
        listening(asyncssh.SSHServer, authorized_client_keys=trusted, signature_algs=["rsa-sha2-256"]) as other,
    ):
        for connection in await asyncio.gather(*(login(port) for port in (one, other) * 5)):
            connection.abort()
            await connection.wait_closed()


async def test_a_way_through_a_jump_host_that_opens_too_late_is_closed_again(
    login: Login, client_key: asyncssh.SSHKey
) -> None:
    asked, may_open, hung_up = anyio.Event(), anyio.Event(), anyio.Event()

    class Slow(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn

        async def connection_requested(
            self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
        ) -> asyncssh.SSHForwarder:
            asked.set()
            await may_open.wait()
            return cast("asyncssh.SSHForwarder", await self._connection.forward_connection(dest_host, dest_port))

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        hung_up.set()
        writer.close()

    trusted = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
    node = await asyncio.start_server(silent, "127.0.0.1", 0)
    with anyio.fail_after(HANGS_AFTER_S):
        async with node, listening(Slow, authorized_client_keys=trusted) as jump_port:
            jump = await login(jump_port)
            attempt = asyncio.ensure_future(login(node.sockets[0].getsockname()[1], through=jump))
            await asked.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            may_open.set()
            await hung_up.wait()
            jump.abort()
            await jump.wait_closed()
