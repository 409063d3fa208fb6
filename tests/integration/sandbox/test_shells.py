"""A machine's login shell: the sandbox's, or its own by a tag; a server runs every command by it."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from tests.cloud import running_sandbox
from tests.machine import DEADLINE_S, ENCLOSURES, launch, need_enclosure, running_machine

pytestmark = pytest.mark.parametrize("enclosure", ENCLOSURES)
NAME = "echo ${BASH_VERSION:+bash} $SHELL"


@pytest.mark.parametrize(
    ("setting", "tags", "says"),
    [
        ("/bin/sh", {}, "/bin/sh"),
        ("/bin/bash", {}, "bash /bin/bash"),
        ("bash", {}, "bash /bin/bash"),
        ("/bin/bash", {"sandbox-login-shell": "/bin/sh"}, "/bin/sh"),
        ("/bin/sh", {"sandbox-login-shell": "bash"}, "bash /bin/bash"),
    ],
)
async def test_commands_run_by_the_machines_own_shell(
    enclosure: str, setting: str, tags: dict[str, str], says: str
) -> None:
    async with running_machine(tags, enclosure=enclosure, login_shell=setting) as machine, machine.connect() as there:
        assert str((await there.run(NAME)).stdout).strip() == says


async def test_bash_reads_bashrc_for_a_command_as_over_any_ssh(enclosure: str) -> None:
    async with running_machine(enclosure=enclosure, login_shell="/bin/bash") as machine, machine.connect() as there:
        await there.run("echo 'echo Welcome' > .bashrc", check=True)
        assert (await there.run("echo done")).stdout == "Welcome\ndone\n"


async def test_a_shell_that_prints_spoils_no_sftp(enclosure: str) -> None:
    """As with sshd's internal SFTP server, which no shell starts."""
    async with running_machine(enclosure=enclosure, login_shell="/bin/bash") as machine, machine.connect() as there:
        await there.run("echo 'echo Welcome' > .bashrc", check=True)
        async with there.start_sftp_client() as sftp:
            assert await sftp.exists(".bashrc")


async def test_an_account_without_a_command_is_a_login_shell_that_reads_its_input(enclosure: str) -> None:
    async with running_machine(enclosure=enclosure, login_shell="/bin/bash") as machine, machine.connect() as there:
        await there.run("echo 'export FROM_PROFILE=yes' > .bash_profile", check=True)
        done = await there.run(input="echo $FROM_PROFILE\nexit 5\n")
        assert (done.stdout, done.exit_status) == ("yes\n", 5)


@pytest.mark.parametrize(("shell", "code"), [("/bin/true", 0), ("/bin/false", 1)])
async def test_an_account_may_run_nothing_at_all(enclosure: str, shell: str, code: int) -> None:
    async with running_machine(enclosure=enclosure, login_shell=shell) as machine, machine.connect() as there:
        done = await there.run("echo never")
        assert (done.stdout, done.exit_status) == ("", code)


async def test_a_shell_that_is_not_there_is_told(enclosure: str) -> None:
    async with running_machine(enclosure=enclosure, login_shell="/bin/no-such") as machine, machine.connect() as there:
        done = await there.run("echo never")
        assert done.exit_status in (126, 127)
        assert "/bin/no-such" in str(done.stderr)


async def test_the_program_takes_both_options(enclosure: str) -> None:
    if enclosure == "on":
        await need_enclosure()
    key = asyncssh.generate_private_key("ssh-ed25519")
    with running_sandbox("--boot", "0", "--enclosure", enclosure, "--login-shell", "bash") as cloud:
        await asyncio.to_thread(launch, cloud, key, {})
        async with asyncio.timeout(DEADLINE_S):
            while not (seen := await asyncio.to_thread(cloud.instances))[0]["is_ssh_open"]:
                await asyncio.sleep(0.01)
        where = {"port": int(cloud.environment["OGC_SSH_PORT"]), "username": "ubuntu", "config": None}
        async with asyncssh.connect(seen[0]["public_ip"], client_keys=[key], known_hosts=None, **where) as there:
            done = await there.run(f"{NAME} $HOME")
    assert str(done.stdout).startswith("bash /bin/bash ")
    assert str(done.stdout).endswith(" /home/ubuntu\n") == (enclosure == "on")
