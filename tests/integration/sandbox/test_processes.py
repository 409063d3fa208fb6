"""Signals, process groups and ends on a machine, inside bubblewrap and without.

What runs there holds a connection to the test: its end is the connection's end, wherever the process is to be seen.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh
import pytest

from tests.machine import DEADLINE_S, ENCLOSURES, Machine, running_machine

SIGNALS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "ABRT", "KILL")


@pytest.fixture(params=ENCLOSURES, scope="module")
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    """One machine for all tests of a kind: each command is its own."""
    async with running_machine(enclosure=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Lines:
    """A port that processes hold open; each says its name there."""

    port: int
    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def holding(self, name: str, then: str) -> str:
        """A command that holds the line of that name, in itself and all that it starts."""
        # bash alone opens ports by itself, and ignores QUIT: sh goes on from there.
        shell = shlex.quote(f"echo {name} >&3; {then}")
        return f"bash -c {shlex.quote(f'exec 3<>/dev/tcp/127.0.0.1/{self.port}; exec sh -c {shell}')}"

    async def held(self, *names: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not self.ends.keys() >= set(names):
                await self.came.wait()
                self.came.clear()

    async def ended(self, *names: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            for name in names:
                await self.ends[name].wait()


@asynccontextmanager
async def open_lines() -> AsyncIterator[Lines]:
    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        end = lines.ends[name] = asyncio.Event()
        lines.came.set()
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            end.set()
            writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        lines = Lines(server.sockets[0].getsockname()[1])
        yield lines


@pytest.mark.parametrize("name", SIGNALS)
async def test_a_signal_ends_the_commands_whole_group_and_is_told(machine: Machine, name: str) -> None:
    async with open_lines() as lines, machine.connect() as connection:
        # A shell's pipeline, since what it runs with & ignores INT and QUIT.
        child = lines.holding("child", "exec sleep 1000")
        process = await connection.create_process(lines.holding("parent", f"{child} | cat"))
        await lines.held("parent", "child")
        process.send_signal(name)
        async with asyncio.timeout(DEADLINE_S):
            await process.wait_closed()
        assert process.exit_signal is not None
        assert process.exit_signal[0] == name
        await lines.ended("parent", "child")


@pytest.mark.parametrize(("command", "code"), [("exit 143", 143), ("exit 0", 0), ("sh -c 'kill -9 $$'; exit $?", 137)])
async def test_an_exit_code_above_128_is_no_signal(machine: Machine, command: str, code: int) -> None:
    async with machine.connect() as connection:
        done = await connection.run(command)
        assert (done.exit_status, done.exit_signal) == (code, None)


async def test_a_command_may_outlast_a_signal_that_it_catches(machine: Machine) -> None:
    async with machine.connect() as connection:
        process = await connection.create_process("trap 'echo caught' HUP; echo ready; while read line; do :; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("HUP")
        process.stdin.write("wake up\n")
        assert await process.stdout.readline() == "caught\n"
        process.stdin.write_eof()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait_closed()
        assert process.exit_status == 0


async def test_a_channel_that_closes_ends_the_command_and_its_group(machine: Machine) -> None:
    async with open_lines() as lines, machine.connect() as connection:
        command = "trap '' HUP TERM; " + lines.holding("step", "sleep 1000 & wait")
        process = await connection.create_process(command)
        await lines.held("step")
        process.close()
        await lines.ended("step")
        assert (await connection.run("echo still here")).stdout == "still here\n"


async def test_what_goes_to_the_background_lives_on_and_other_commands_reach_it(machine: Machine) -> None:
    async with open_lines() as lines, machine.connect() as connection:
        daemon = lines.holding("daemon", "exec sleep 1000")
        done = await connection.run(f"nohup {daemon} >/dev/null 2>&1 & echo $!")
        await lines.held("daemon")
        assert not lines.ends["daemon"].is_set()
        assert (await connection.run(f"kill -TERM {str(done.stdout).strip()}")).exit_status == 0
        await lines.ended("daemon")


@pytest.mark.parametrize("enclosure", ENCLOSURES)
async def test_the_end_of_a_machine_ends_also_what_has_left_its_group(enclosure: str) -> None:
    async with open_lines() as lines, running_machine(enclosure=enclosure) as machine:
        async with machine.connect() as connection:
            for name, start in (("group", "nohup"), ("session", "setsid")):
                await connection.run(f"{start} {lines.holding(name, 'exec sleep 1000')} >/dev/null 2>&1 &")
            await connection.create_process("trap '' HUP; " + lines.holding("front", "exec sleep 1000"))
            await lines.held("group", "session", "front")
            await machine.terminate()
            await lines.ended("group", "session", "front")
        assert machine.sandbox.state()["homes"] == 0


@pytest.mark.parametrize("enclosure", ENCLOSURES)
async def test_the_end_of_the_sandbox_ends_all_of_it(enclosure: str) -> None:
    async with open_lines() as lines:
        async with running_machine(enclosure=enclosure) as machine, machine.connect() as connection:
            await connection.run(f"setsid {lines.holding('left', 'exec sleep 1000')} >/dev/null 2>&1 &")
            await lines.held("left")
        await lines.ended("left")


async def test_a_machine_whose_first_process_is_killed_takes_commands_again() -> None:
    async with running_machine(enclosure="on") as machine, machine.connect() as connection:
        with pytest.raises(asyncssh.ProcessError):
            await connection.run("kill -KILL -1; kill -KILL 2; read line", check=True)
        assert (await connection.run("echo again")).stdout == "again\n"
