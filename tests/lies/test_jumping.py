"""The loop that jumps: waiting costs nothing, and what a thread has to say comes before any timer."""

from __future__ import annotations

import asyncio
import threading

from tests.lies.jumping import jumping


def test_an_hour_of_waiting_is_over_in_a_moment_and_in_order() -> None:
    async def wait() -> tuple[list[str], float]:
        loop = asyncio.get_running_loop()
        began, woken = loop.time(), []

        async def wake(after_s: float, name: str) -> None:
            await asyncio.sleep(after_s)
            woken.append(name)

        await asyncio.gather(wake(3600, "late"), wake(1800, "early"))
        return woken, loop.time() - began

    with jumping() as runner:
        woken, took_s = runner.run(wait())
    assert woken == ["early", "late"]
    assert 3600 <= took_s < 3601


def test_a_deadline_does_not_run_out_while_a_thread_works() -> None:
    async def ask() -> str:
        asked = threading.Event()
        asyncio.get_running_loop().call_later(0, asked.set)

        def answer() -> str:
            asked.wait()
            return "done"

        async with asyncio.timeout(0.001):
            return await asyncio.to_thread(answer)

    with jumping() as runner:
        assert runner.run(ask()) == "done"


def test_what_was_sent_arrives_before_the_next_timer() -> None:
    async def talk() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            heard = await reader.readline()
            writer.close()
            return heard

    with jumping() as runner:
        assert runner.run(talk()) == b"hello\n"
