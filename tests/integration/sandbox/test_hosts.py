"""The SSH servers behind the machines, as an SSH client that knows nothing of us sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from ogc_async.sandbox import Sandbox, SandboxSettings
from tests.cloud import Cloud
from tests.integration.sandbox.conftest import client_of

DEADLINE_S = 30


@dataclass
class Machine:
    sandbox: Sandbox
    id: str
    address: str
    key: asyncssh.SSHKey

    def connect(self, **values: object) -> asyncssh.connection._ACMWrapper[asyncssh.SSHClientConnection]:
        given: dict[str, object] = {
            "port": self.sandbox.settings.ssh_port,
            "username": "ubuntu",
            "client_keys": [self.key],
            "known_hosts": None,
            "config": None,
        }
        return asyncssh.connect(self.address, **(given | values))

    def seen(self) -> dict[str, object]:
        instances: list[dict[str, object]] = self.sandbox.state()["instances"]["aws"]  # type: ignore[index]
        return next(each for each in instances if each["id"] == self.id)


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    """A running machine of a sandbox in this very process."""
    async with running_machine(SandboxSettings(boot=(0.01, 0.01), shutdown=0.01)) as made:
        async with asyncio.timeout(DEADLINE_S):
            while not made.seen()["is_ssh_open"]:
                await asyncio.sleep(0.01)
        yield made


@asynccontextmanager
async def running_machine(settings: SandboxSettings) -> AsyncIterator[Machine]:
    async with Sandbox(settings) as sandbox:
        cloud = Cloud(sandbox.env(), sandbox.url)
        key = asyncssh.generate_private_key("ssh-ed25519")

        def launch() -> str:
            ec2 = client_of(cloud)
            ec2.import_key_pair(KeyName="key", PublicKeyMaterial=key.export_public_key())
            image = ec2.describe_images(
                Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-2023*x86_64"]}]
            )
            asked = {"ImageId": image["Images"][0]["ImageId"], "InstanceType": "t3.micro", "KeyName": "key"}
            instance_id: str = ec2.run_instances(MinCount=1, MaxCount=1, **asked)["Instances"][0]["InstanceId"]
            return instance_id

        made = Machine(sandbox, await asyncio.to_thread(launch), "", key)
        async with asyncio.timeout(DEADLINE_S):
            while made.seen()["state"] != "running":
                await asyncio.sleep(0.01)
        made.address = str(made.seen()["public_ip"])
        yield made


async def test_a_room_without_ssh_holds_the_addresses_and_nobody_answers_there() -> None:
    async with running_machine(SandboxSettings(boot=(0.01, 0.01), shutdown=0.01, has_ssh=False)) as machine:
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


async def test_the_end_of_the_machine_is_the_end_of_all_on_it(machine: Machine) -> None:
    async with machine.connect() as connection:
        process = await connection.create_process("echo $$; exec sleep 1000")
        pid = int(await process.stdout.readline())
        assert machine.sandbox.state()["homes"] == 1
        ec2 = client_of(Cloud(machine.sandbox.env(), machine.sandbox.url))
        await asyncio.to_thread(ec2.terminate_instances, InstanceIds=[machine.id])
        async with asyncio.timeout(DEADLINE_S):
            await connection.wait_closed()
            while machine.seen()["state"] != "terminated":
                await asyncio.sleep(0)
    assert not Path(f"/proc/{pid}").exists()
    assert machine.sandbox.state()["homes"] == 0
    with pytest.raises(OSError, match=r"refused|Connect"):
        await machine.connect()
