"""What is written in one turn of the event loop leaves in one piece, whole and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ogc_async.ssh.wire import AT_ONCE_BYTES, Gathering, Wire
from tests.timing import HANGS_AFTER_S


class Pieces(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.told.append(bytes(data))

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


class Closed(Pieces):
    """A transport that takes no more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        raise self._error


async def test_the_writes_of_one_turn_are_one_and_those_of_the_next_another() -> None:
    pieces = Pieces()
    wire = Gathering(pieces, Wire())
    for each in (b"one", b"two", b"three"):
        wire.write(each)
    assert pieces.told == []
    await asyncio.sleep(0)
    wire.write(b"four")
    await asyncio.sleep(0)
    assert pieces.told == [b"onetwothree", b"four"]


async def test_many_connections_of_one_turn_each_send_their_own() -> None:
    wire = Wire()
    many = [Pieces() for _ in range(3)]
    for number, pieces in enumerate(many):
        Gathering(pieces, wire).write(str(number).encode())
    await asyncio.sleep(0)
    assert [pieces.told for pieces in many] == [[b"0"], [b"1"], [b"2"]]


async def test_a_connection_that_takes_no_more_does_not_hold_up_the_others() -> None:
    wire, closed, well = Wire(), Closed(RuntimeError("closed")), Pieces()
    for pieces in (closed, well):
        Gathering(pieces, wire).write(b"data")
    await asyncio.sleep(0)
    assert (closed.told, well.told) == (["abort"], [b"data"])


async def test_aborting_a_connection_that_takes_no_more_raises_nothing() -> None:
    closed = Closed(BrokenPipeError())
    wire = Gathering(closed, Wire())
    wire.write(b"data")
    wire.abort()
    assert closed.told == ["abort"]


async def test_much_does_not_wait_for_the_turns_end() -> None:
    pieces = Pieces()
    wire = Gathering(pieces, Wire())
    wire.write(b"first")
    wire.write(b"x" * AT_ONCE_BYTES)
    assert pieces.told == [b"first" + b"x" * AT_ONCE_BYTES]
    wire.write(b"last")
    await asyncio.sleep(0)
    assert pieces.told[1:] == [b"last"]


async def test_closing_and_aborting_pass_on_what_was_written_before() -> None:
    closed, aborted = Pieces(), Pieces()
    for transport, end in ((closed, Gathering.close), (aborted, Gathering.abort)):
        wire = Gathering(transport, Wire())
        wire.write(b"bye")
        end(wire)
        await asyncio.sleep(0)
    assert closed.told == [b"bye", "close"]
    assert aborted.told == [b"bye", "abort"]


async def test_over_tcp_it_is_a_connection_from_its_beginning_to_its_end() -> None:
    async with _echo_server() as port:
        caller = Caller()
        await asyncio.get_running_loop().create_connection(lambda: caller, "127.0.0.1", port)
        assert caller.wire.get_extra_info("peername") == ("127.0.0.1", port)
        async with asyncio.timeout(HANGS_AFTER_S):
            await caller.answered.wait()
            caller.wire.close()
            await caller.gone.wait()
        assert caller.wire.is_closing()
    assert bytes(caller.heard) == b"hello"


class Caller(asyncio.Protocol):
    """Says hello in two words, and waits for as much."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.wire = Gathering(transport, Wire())
        self.wire.write(b"hel")
        self.wire.write(b"lo")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if len(self.heard) >= len(b"hello"):
            self.answered.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


@asynccontextmanager
async def _echo_server() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
