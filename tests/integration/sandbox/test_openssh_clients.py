"""OpenSSH's own clients against a machine: they exit with 0, and SFTP has the paths of the shell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import programs
from tests.machine import ENCLOSURES, Machine, running_machine

OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")


@dataclass(frozen=True)
class Clients:
    """ssh, scp and sftp, which log in to one machine; ``folder`` is theirs."""

    machine: Machine
    folder: Path

    @property
    def there(self) -> str:
        return f"ubuntu@{self.machine.address}"

    async def run(self, program: str, *words: str) -> str:
        """What it prints; it must exit with 0."""
        options = [word for each in OPTIONS for word in ("-o", each)]
        port = ("-p" if program == "ssh" else "-P", str(self.machine.sandbox.settings.ssh_port))
        words = (program, "-F", "none", *options, *port, "-i", str(self.folder / "key"), *words)
        done = await asyncio.to_thread(programs.run, words, cwd=self.folder)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(params=ENCLOSURES, scope="module")
async def clients(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clients]:
    async with running_machine(enclosure=request.param) as machine:
        folder = tmp_path_factory.mktemp("clients")
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_bytes(machine.key.export_private_key())
        yield Clients(machine, folder)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("protocol", [(), ("-O",)], ids=["sftp", "scp"])
async def test_scp_copies_there_and_back_and_exits_with_0(clients: Clients, protocol: tuple[str, ...]) -> None:
    tree = clients.folder / f"tree{len(protocol)}"
    (tree / "below").mkdir(parents=True)
    (tree / "file").write_bytes(bytes(range(256)) * 1000)
    (tree / "below" / "with blank").write_text("deep")
    await clients.run("scp", *protocol, "-r", tree.name, f"{clients.there}:")
    assert await clients.run("ssh", clients.there, f"wc -c < {tree.name}/file") == "256000\n"
    await clients.run("scp", *protocol, "-r", f"{clients.there}:{tree.name}", "back")
    back = clients.folder / "back"
    assert (back / "file").read_bytes() == (tree / "file").read_bytes()
    assert (back / "below" / "with blank").read_text() == "deep"
    await clients.run("scp", *protocol, f"{clients.there}:{tree.name}/file", "one")
    assert (clients.folder / "one").stat().st_size == 256_000
    back.rename(clients.folder / f"back{len(protocol)}")


async def test_sftp_has_the_paths_of_the_shell(clients: Clients) -> None:
    folder = (await clients.run("ssh", clients.there, "pwd")).strip()
    name = (await clients.run("ssh", clients.there, "echo deep > here; mktemp -d")).strip()
    (clients.folder / "batch").write_text(
        f"pwd\nput key {folder}/by-sftp\ncd {name}\nmkdir inner\nsymlink {folder}/here link\nget link\n"
        "ls -l /usr/bin/env\n"
    )
    said = await clients.run("sftp", "-b", "batch", clients.there)
    assert f"Remote working directory: {folder}\n" in said
    assert "/usr/bin/env" in said
    assert (clients.folder / "link").read_text() == "deep\n"
    assert await clients.run("ssh", clients.there, f"ls by-sftp; ls {name}; cat {name}/link") == (
        "by-sftp\ninner\nlink\ndeep\n"
    )
    await clients.run("ssh", clients.there, f"rm -r {name}")


async def test_inside_bubblewrap_sftp_follows_no_link_out_of_the_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    async with running_machine(enclosure="on") as machine, machine.connect() as connection:
        await connection.run(f"ln -s {secret} link; ln -s /proc/1/root/etc/shadow shadow", check=True)
        async with connection.start_sftp_client() as sftp:
            for path in ("link", str(secret), f"/proc/self/root/{secret}", "shadow", "/etc/shadow", "../../etc/shadow"):
                assert not await sftp.exists(path)
