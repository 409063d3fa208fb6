"""The SSH servers behind the machines, as an SSH client that knows nothing of us sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from tests.machine import DEADLINE_S, ENCLOSURES, Machine, running_machine


@pytest.fixture(params=ENCLOSURES)
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    async with running_machine(enclosure=request.param) as made:
        yield made


async def test_a_room_without_ssh_holds_the_addresses_and_nobody_answers_there() -> None:
    async with running_machine(has_ssh=False) as machine:
        assert machine.seen()["is_ssh_open"] is False
        with pytest.raises(ConnectionRefusedError):
            await machine.connect()
        assert machine.sandbox.state()["homes"] == 0


async def test_commands_run_in_a_home_of_their_own_and_tell_how_they_ended(machine: Machine) -> None:
    async with machine.connect() as connection:
        done = await connection.run("echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 3)
        done = await connection.run("kill -9 $$")
        assert done.exit_signal is not None
        assert done.exit_signal[0] == "KILL"
        await connection.run("echo kept > file", check=True)
        done = await connection.run("cat file; pwd; echo $HOME $USER")
        kept, folder, variables = str(done.stdout).splitlines()
        assert kept == "kept"
        assert variables == f"{folder} ubuntu"


async def test_input_is_passed_on_byte_for_byte_and_so_is_output(machine: Machine) -> None:
    data = bytes(range(256)) * 4096
    async with machine.connect() as connection:
        done = await connection.run("cat", input=data, encoding=None)
        assert done.stdout == data
        done = await connection.run("wc -c", input=data, encoding=None)
        assert done.stdout is not None
        assert int(done.stdout) == len(data)


async def test_sftp_sees_the_home(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x00\xff")
    async with machine.connect() as connection, connection.start_sftp_client() as sftp:
        await sftp.put(tmp_path / "file", "pushed")
        assert (await connection.run("od -An -tx1 pushed")).stdout == " 00 ff\n"


async def test_only_the_key_of_the_launch_opens(machine: Machine) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(client_keys=[other])


async def test_signals_reach_the_command(machine: Machine) -> None:
    async with machine.connect() as connection:
        process = await connection.create_process("trap 'echo caught; exit 7' TERM; echo ready; read line")
        assert await process.stdout.readline() == "ready\n"
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait_closed()
        assert process.returncode == 7


async def test_signals_reach_a_command_whose_input_has_ended(machine: Machine) -> None:
    async with machine.connect() as connection:
        process = await connection.create_process("cat; trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done")
        process.stdin.write_eof()
        assert await process.stdout.readline() == "ready\n"
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait_closed()
        assert process.returncode == 8


async def test_the_end_of_the_machine_cuts_connections_and_leaves_nothing(machine: Machine) -> None:
    async with machine.connect() as connection:
        process = await connection.create_process("echo ready; exec sleep 1000")
        assert await process.stdout.readline() == "ready\n"
        assert machine.sandbox.state()["homes"] == 1
        await machine.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await connection.wait_closed()
    assert machine.sandbox.state()["homes"] == 0
    with pytest.raises(OSError, match=r"refused|Connect"):
        await machine.connect()


async def test_a_machines_files_outlast_a_command_in_its_folder_for_all_too(machine: Machine) -> None:
    async with machine.connect() as connection:
        made = await connection.run("name=$(mktemp); echo kept > $name; echo $name", check=True)
        path = str(made.stdout).strip()
        assert (await connection.run(f"cat {path}; rm {path}")).stdout == "kept\n"
