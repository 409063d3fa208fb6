"""Real OpenSSH servers on loopback, one on an address of its own for each host, for tests and benchmarks.

The server is Debian's package, unpacked once into this checkout's ``.bench``: that needs neither root nor a change of
the machine. ``python -m tests.openssh`` fetches it beforehand, by the user's own proxies and settings. Each host has a
host key and a login folder of its own; every login is by one key, as one user.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import psutil

PACKAGES = ("openssh-server", "openssh-sftp-server", "libwrap0", "libnss-wrapper")
"""What is needed beside a Debian base system; the last one gives a login user that the machine does not have."""

FOLDER = Path(__file__).parents[1] / ".bench" / "openssh"
USER = "ubuntu"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
APT_TIMEOUT_S = 300.0

# Everything not said here is as OpenSSH ships it. PAM and modes would ask for root, or for a home of this user's own.
CONFIG = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
"""


@dataclass(frozen=True)
class Installation:
    """The programs and libraries of one OpenSSH server."""

    sshd: Path
    wrapper: Path
    libraries: tuple[Path, ...]

    @classmethod
    def below(cls, root: Path) -> Installation | None:
        """What is unpacked below ``root``, or nothing where something is missing."""
        sshd = root / "usr/sbin/sshd"
        wrapper = next(root.rglob("libnss_wrapper.so"), None)
        if not sshd.is_file() or wrapper is None:
            return None
        folders = {each.parent for each in root.rglob("*.so*") if each.suffix != ".socket"}
        return cls(sshd, wrapper, tuple(sorted(folders)))

    def environment(self, folder: Path) -> dict[str, str]:
        """Lets this server, and nothing else, see one more user: ours, at home in ``folder``."""
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, self.libraries)),
            "LD_PRELOAD": str(self.wrapper),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group"),
        }

    def options(self) -> list[str]:
        """From OpenSSH 9.8 on the server is several programs, found by options; and it penalises whom we are to try."""
        root = self.sshd.parents[2]
        more = []
        for option, name in (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")):
            if (program := root / "usr/lib/openssh" / name).is_file():
                more.append(f"{option} {program}")
        return [*more, "PerSourcePenalties no"] if more else []


@dataclass(frozen=True)
class Host:
    """One server: where it answers, and the key that it proves itself by."""

    address: str
    port: int
    username: str
    host_key: str
    folder: Path = field(repr=False)

    @property
    def home(self) -> Path:
        """The login folder, as this machine sees it."""
        return self.folder / "home"

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return (self.folder / "log").read_text(errors="replace")


class Fleet:
    """Running servers; ``client_key`` is the file of the private key that opens each of them."""

    def __init__(
        self,
        folder: Path,
        installation: Installation,
        options: Sequence[str] = (),
        *,
        client_key: asyncssh.SSHKey | None = None,
        shell: str = "/bin/sh",
        niceness: int = 0,
    ) -> None:
        self.hosts: list[Host] = []
        self.client_key = folder / "client_key"
        self._folder = folder
        self._installation = installation
        self._options = tuple(options)
        self._shell = shell
        self._niceness = niceness
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._account = _account()
        key = client_key or asyncssh.generate_private_key("ssh-ed25519")
        self.client_key.touch(mode=0o600)
        self.client_key.write_bytes(key.export_private_key())
        self.public_key = key.export_public_key().decode().strip()
        self.client_key.with_name("client_key.pub").write_text(self.public_key + "\n")

    def known_hosts(self) -> str:
        """All hosts' keys, as a ``known_hosts`` file."""
        lines = (f"[{host.address}]:{host.port} {host.host_key}" for host in self.hosts)
        return "\n".join(lines) + "\n"

    def set_up(self, count: int, host_key: asyncssh.SSHKey | None = None) -> None:
        """Everything but the servers themselves: addresses, keys, login folders."""
        port = _free_port()
        first = _first_address()
        self.hosts = [self._set_up(str(first + number), port, host_key) for number in range(count)]

    def start(self, count: int, host_key: asyncssh.SSHKey | None = None) -> None:
        """Start that many servers, on consecutive addresses and one port, and wait until all of them listen.

        Each has a host key of its own, unless one is given.
        """
        self.set_up(count, host_key)
        self.launch()

    def launch(self) -> None:
        """Start the servers that were set up."""
        for host in self.hosts:
            self._launch(host)
        self._await(self.hosts)

    def rekey(self, host: Host, host_key: asyncssh.SSHKey | None = None) -> Host:
        """Give a server another host key; a running one is started anew, as a machine that was replaced would be."""
        changed = self._replace(host, self._set_up(host.address, host.port, host_key))
        return self.restart(changed) if host.address in self._processes else changed

    def restart(self, host: Host, options: Sequence[str] = ()) -> Host:
        """End a server with its connections, and start it again with these options besides."""
        self.stop(host)
        (host.folder / "more").write_text("\n".join(options))
        self._launch(host)
        self._await([host])
        return host

    def cut(self, host: Host) -> None:
        """Break every connection to a server, which goes on; what ran there is left to itself."""
        listener = psutil.Process(self._processes[host.address].pid)
        for process in listener.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.kill()

    def stop(self, host: Host) -> None:
        """End a server and everything that runs on it."""
        process = self._processes.pop(host.address, None)
        if process is not None:
            _end([process], host.folder)

    def close(self) -> None:
        """End every server and everything that runs on them."""
        _end(list(self._processes.values()), self._folder)
        self._processes.clear()

    def _replace(self, old: Host, new: Host) -> Host:
        self.hosts[self.hosts.index(old)] = new
        return new

    def _set_up(self, address: str, port: int, host_key: asyncssh.SSHKey | None = None) -> Host:
        folder = self._folder / address
        uid, gid = self._account
        (folder / "home").mkdir(parents=True, exist_ok=True)
        key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        (folder / "host_key").unlink(missing_ok=True)
        (folder / "host_key").touch(mode=0o600)
        (folder / "host_key").write_bytes(key.export_private_key())
        (folder / "authorized_keys").write_text(self.public_key + "\n")
        (folder / "passwd").write_text(f"{USER}:x:{uid}:{gid}::{folder / 'home'}:{self._shell}\n")
        (folder / "group").write_text(f"{USER}:x:{gid}:\n")
        (folder / "log").touch()
        (folder / "more").touch()
        if os.geteuid() == 0:
            for each in (folder, *folder.iterdir()):
                os.chown(each, uid, gid)
        line = " ".join(key.export_public_key().decode().split()[:2])
        return Host(address, port, USER, line, folder)

    def _launch(self, host: Host) -> None:
        options = [*self._installation.options(), *self._options, (host.folder / "more").read_text()]
        if not any(option.startswith("Subsystem sftp ") for option in options):
            options.append("Subsystem sftp internal-sftp")
        config = host.folder / "sshd_config"
        text = CONFIG.format(address=host.address, port=host.port, folder=host.folder)
        # OpenSSH takes the first value of an option that it meets.
        config.write_text("\n".join(options) + "\n" + text)
        uid, gid = self._account
        as_other = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        self._processes[host.address] = subprocess.Popen(
            ["nice", "-n", str(self._niceness), self._installation.sshd, "-D", "-f", config, "-E", host.folder / "log"],
            env=self._installation.environment(host.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **as_other,
        )

    def _await(self, hosts: Sequence[Host]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        waiting = {(host.address, host.port): host for host in hosts}
        while waiting:
            for place in _listening() & waiting.keys():
                del waiting[place]
            for host in waiting.values():
                code = self._processes[host.address].poll()
                assert code is None, f"sshd for {host.address} ended with {code}: {host.log}"
            assert time.monotonic() < deadline, (
                f"{len(waiting)} servers do not listen: {next(iter(waiting.values())).log}"
            )
            time.sleep(0.02)


@contextmanager
def openssh_fleet(count: int, *, options: Sequence[str] = (), niceness: int = 0) -> Iterator[Fleet]:
    """``count`` servers for the block, each with these lines in its ``sshd_config`` before all others.

    ``niceness`` lets them stand back behind who is measured: real servers do not share a client's processors.
    """
    with openssh_folder() as (folder, installation):
        fleet = Fleet(folder, installation, options, niceness=niceness)
        try:
            fleet.start(count)
            yield fleet
        finally:
            fleet.close()


@contextmanager
def openssh_folder() -> Iterator[tuple[Path, Installation]]:
    """A folder for servers, and the programs that they run.

    The servers' user may enter it: a test's own folder is closed to others.
    """
    installation = installed()
    with tempfile.TemporaryDirectory(prefix="ogc-openssh-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)
        is_out_of_reach = os.geteuid() == 0 or bool(re.search(r"[\s:]", str(installation.wrapper)))
        yield folder, _copied(installation, folder / "programs") if is_out_of_reach else installation


def installed() -> Installation:
    """This checkout's copy of Debian's OpenSSH server, fetched once. Fails loudly where it can not be had."""
    folder = FOLDER
    found = Installation.below(folder)
    if found is not None:
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        fresh = Path(made) / "root"
        _download(Path(made))
        for package in Path(made).glob("*.deb"):
            _run(["dpkg", "-x", package, fresh])
        assert Installation.below(fresh) is not None, f"{', '.join(PACKAGES)}: no sshd in them"
        # Somebody else may have been first.
        with suppress(OSError):
            fresh.rename(folder)
    found = Installation.below(folder)
    assert found is not None, f"{folder} is not whole; remove it and try again"
    return found


def _download(folder: Path) -> None:
    """By the machine's own package lists, or by fresh ones that need no root."""
    own = ["-o", f"Dir::State={folder}/state", "-o", f"Dir::Cache={folder}/cache"]
    try:
        _run(["apt-get", "download", *PACKAGES], cwd=folder)
    except AssertionError:
        (folder / "state/lists/partial").mkdir(parents=True)
        _run(["apt-get", *own, "update"], cwd=folder)
        _run(["apt-get", *own, "download", *PACKAGES], cwd=folder)


def _run(words: Sequence[str | Path], cwd: Path | None = None) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False)
    said = f"{done.stdout}\n{done.stderr}".strip()
    assert done.returncode == 0, f"the tests need an OpenSSH server (apt install openssh-server): {words}: {said}"


def _copied(installation: Installation, folder: Path) -> Installation:
    """For root, whose folders are closed to the servers' user, and for paths that ``LD_PRELOAD`` would take for two."""
    shutil.copytree(installation.sshd.parents[2], folder, symlinks=True)
    copy = Installation.below(folder)
    assert copy is not None
    return copy


def _account() -> tuple[int, int]:
    """Whom the servers run as: this user, or nobody in place of root, whom sshd would separate from itself."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    return port


def _first_address() -> ipaddress.IPv4Address:
    """Apart from the sandbox's addresses, and hardly ever where another run of the tests is."""
    return ipaddress.IPv4Address(f"127.{random.randint(60, 250)}.{random.randint(0, 200)}.1")


def _listening() -> set[tuple[str, int]]:
    """Addresses and ports of this machine's IPv4 listeners, without connecting to any."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        if state == "0A":
            address, port = local.split(":")
            found.add((str(ipaddress.IPv4Address(int(address, 16).to_bytes(4, "little"))), int(port, 16)))
    return found


def _end(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Kill these servers, what runs below them, and what of it was left without its parent."""
    doomed: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            doomed += psutil.Process(process.pid).children(recursive=True)
        process.kill()
    for each in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(each.cwd()).is_relative_to(folder):
                doomed.append(each)
    for each in doomed:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait(STOP_TIMEOUT_S)


if __name__ == "__main__":
    installed()
