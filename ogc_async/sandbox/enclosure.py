"""What keeps a machine's commands from the rest of this computer: namespaces of the machine's own, made by bubblewrap.

Without bubblewrap, or where it may make no namespaces, commands have all the rights of the sandbox's user.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from typing import Protocol

from ogc_async.sandbox import sftp_server
from ogc_async.sandbox.guest.places import Places
from ogc_async.sandbox.sweep import Sweeper
from ogc_async.sandbox.view import MACHINE, PATH, Account, view_of, write_accounts

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
SYSTEM_FOLDERS = ("root", "kernel", "programs")
"""A machine's own, in its folder; it has them where its user data is run."""
KEEPER = "echo ready && exec cat >/dev/null"
"""The machine's first process: it tells that the view stands, and ends with the sandbox, whose pipe it reads."""


class EnclosureMissing(Exception):
    """Commands are to be enclosed, and cannot be; the message says why."""


class Cell(Protocol):
    """Where one machine's commands run."""

    def home(self, user: str) -> str:
        """The user's home folder, as commands see it."""

    def folder(self, user: str) -> str:
        """The working folder of the user's child processes, as this computer sees it."""

    async def command(self, words: Sequence[str], account: Account) -> list[str]:
        """The words that run ``words`` in there, as a child of this process. Raises ``OSError``."""

    async def sftp(self, account: Account, client: str) -> list[str]:
        """The words that serve SFTP to that client, with the paths that commands see. Raises ``OSError``."""

    @property
    def places(self) -> Places:
        """Where the machine's own files are, as commands see them."""

    @property
    def path(self) -> str:
        """Where a login's commands are looked for."""

    @property
    def system_folder(self) -> str:
        """The working folder of the system's own processes, as this computer sees it."""

    def of_system(self, words: Sequence[str]) -> list[str]:
        """The words that run ``words`` as the machine's system does."""

    def send(self, pid: int, number: int) -> None:
        """Send a signal to the whole process group of the command that this child process runs."""

    async def aclose(self) -> None:
        """End every process in there, also those whose command has ended."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What an enclosure is made with."""

    bwrap: str
    nsenter: str
    setsid: str


@dataclass(frozen=True, slots=True)
class Enclosure:
    """How commands are enclosed, or ``reason``, why they are not."""

    programs: Programs | None
    reason: str = ""

    @classmethod
    async def chosen(cls, choice: str) -> Enclosure:
        """``on``, ``off``, or ``auto``: on where it works. Raises :class:`EnclosureMissing` where ``on`` does not."""
        if choice == "off":
            return cls(None, "it is switched off")
        found = await cls.found()
        if choice == "on" and found.programs is None:
            raise EnclosureMissing(f"commands cannot be enclosed: {found.reason}; --enclosure off goes without")
        return found

    @classmethod
    async def found(cls) -> Enclosure:
        """Try it once: bubblewrap may be installed and yet not be allowed to make namespaces."""
        if not Path(f"/proc/self/task/{os.getpid()}/children").exists():  # noqa: ASYNC240  # /proc is memory
            return cls(None, "this kernel does not tell a process's children")
        paths = {name: shutil.which(name) for name in ("bwrap", "nsenter", "setsid")}
        if missing := [name for name, path in paths.items() if path is None]:
            return cls(None, f"{' and '.join(missing)} is not installed")
        programs = Programs(**{name: str(path) for name, path in paths.items()})
        with TemporaryDirectory(prefix="ogc-sandbox-") as folder:
            cell = EnclosedCell(programs, Path(folder))
            try:
                await _probe(cell)
            except (OSError, TimeoutError) as error:
                return cls(None, str(error) or "it took too long to start")
            finally:
                await cell.aclose()
        return cls(programs)

    def cell(self, folder: Path, sweeper: Sweeper) -> Cell:
        """For one machine, whose files are in ``folder``."""
        return BareCell(folder, sweeper) if self.programs is None else EnclosedCell(self.programs, folder)


async def _probe(cell: EnclosedCell) -> None:
    """Run one command in there. Raises ``OSError`` or ``TimeoutError``."""
    words = await cell.command(["/bin/true"], Account("probe", "/bin/sh"))
    child = await asyncio.create_subprocess_exec(
        *words, env={"PATH": PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(START_TIMEOUT_S):
        _, said = await child.communicate()
    if child.returncode:
        raise OSError(f"a command in a bubblewrap namespace failed: {said.decode(errors='replace').strip()}")


class BareCell:
    """No enclosure: a folder on this very computer."""

    def __init__(self, folder: Path, sweeper: Sweeper) -> None:
        self._folder = folder
        self._sweeper = sweeper
        self._is_used = False

    def home(self, user: str) -> str:
        """Where it really is."""
        return str(_home(self._folder, user))

    def folder(self, user: str) -> str:
        """Their home."""
        return self.home(user)

    async def command(self, words: Sequence[str], account: Account) -> list[str]:
        """As they are."""
        self._is_used = True
        _make_home(self._folder, account.user)
        return list(words)

    async def sftp(self, account: Account, client: str) -> list[str]:
        """A server of this computer's paths."""
        _make_home(self._folder, account.user)
        return _sftp_words(0, self.home(account.user), client)

    @property
    def places(self) -> Places:
        """Where they really are."""
        return Places(*(str(self._folder / name) for name in SYSTEM_FOLDERS))

    @property
    def path(self) -> str:
        """The machine's own programs come first, if it has some."""
        return _login_path(self._folder, self.places)

    @property
    def system_folder(self) -> str:
        """The machine's root, by which its processes are found."""
        return self.places.root

    def of_system(self, words: Sequence[str]) -> list[str]:
        """As they are."""
        self._is_used = True
        return list(words)

    def send(self, pid: int, number: int) -> None:
        """The child leads its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)

    async def aclose(self) -> None:
        """Find what has left its command's process group, too."""
        if self._is_used:
            await self._sweeper.end_all_of(self._folder)


class EnclosedCell:
    """A machine's namespaces, which commands enter one by one; they are made for the first of them.

    Commands see each other and this computer's programs, and neither its other processes nor its files.
    """

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._accounts: dict[str, Account] = {}
        self._of_system: list[str] = []
        self._keeper: asyncio.subprocess.Process | None = None
        self._init = 0
        self._is_closed = False
        self._opening = asyncio.Lock()

    def home(self, user: str) -> str:
        """Where a Linux machine has it."""
        return f"/home/{user}"

    def folder(self, user: str) -> str:
        """Nowhere: each changes to its home inside."""
        return "/"

    async def command(self, words: Sequence[str], account: Account) -> list[str]:
        """Enter the namespaces, and lead a session there: ``nsenter`` ends as its command does, by a signal too."""
        await self._open(account)
        spaces = ("--user", "--mount", "--pid", "--ipc", "--uts")
        folder = f"/proc/{self._init}/root{self.home(account.user)}"
        enter = [self._programs.nsenter, f"--target={self._init}", *spaces, "--preserve-credentials", f"--wd={folder}"]
        return [*enter, "--", self._programs.setsid, *words]

    async def sftp(self, account: Account, client: str) -> list[str]:
        """A server that enters the namespaces by itself: its own program is not to be seen in there."""
        await self._open(account)
        return _sftp_words(self._init, self.home(account.user), client)

    @property
    def places(self) -> Places:
        """Beside this computer's programs."""
        return Places(*(f"{MACHINE}/{name}" for name in SYSTEM_FOLDERS))

    @property
    def path(self) -> str:
        """The machine's own programs come first, if it has some."""
        return _login_path(self._folder, self.places)

    @property
    def system_folder(self) -> str:
        """Nowhere, as for commands."""
        return "/"

    def of_system(self, words: Sequence[str]) -> list[str]:
        """In namespaces for this run alone, as root by number: they end with it, and cost a machine nothing between."""
        if not self._of_system:
            _make_folders(self._folder)
            if not (self._folder / "etc/passwd").exists():
                write_accounts(self._folder, ())
            self._of_system = [self._programs.bwrap, *view_of(self._folder, 0), "--chdir", self.places.root, "--"]
        return [*self._of_system, *words]

    def send(self, pid: int, number: int) -> None:
        """The command leads a group of its own, which the child process waits for from outside."""
        inner = _children(pid)
        for each in inner:
            with suppress(ProcessLookupError, PermissionError):
                _signal_group(each, number)
        if not inner or number == SIGKILL:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)

    async def aclose(self) -> None:
        """The end of a namespace's first process is the end of all in it; the keeper waits for that."""
        self._is_closed = True
        async with self._opening:
            await self._end()

    async def _open(self, account: Account) -> None:
        async with self._opening:
            if self._is_closed:
                raise OSError("the machine has ended")
            if account.user not in self._accounts:
                self._accounts[account.user] = account
                _make_home(self._folder, account.user)
                write_accounts(self._folder, self._accounts.values())
            if self._keeper is None or self._keeper.returncode is not None or not _has_namespaces(self._init):
                await self._end()
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._start()

    async def _start(self) -> None:
        self._init = 0
        told, tell = os.pipe()
        with open(told, "rb") as told_pipe:  # noqa: ASYNC230, PTH123  # what it holds by then is read at once
            with open(tell, "wb"):  # noqa: ASYNC230, PTH123  # bubblewrap's end alone is to stay open
                self._keeper = keeper = await self._run_keeper(tell)
            # Before this line the namespaces may still show this computer's own files.
            is_ready = keeper.stdout is not None and await keeper.stdout.readline() == b"ready\n"
            said = b"" if is_ready or keeper.stderr is None else await keeper.stderr.read()
            if not is_ready:
                raise OSError(f"bubblewrap failed: {said.decode(errors='replace').strip()}")
            self._init = int(json.loads(told_pipe.read1())["child-pid"])

    async def _run_keeper(self, tell: int) -> asyncio.subprocess.Process:
        words = [self._programs.bwrap, *view_of(self._folder), "--info-fd", str(tell), "--", "/bin/sh", "-c", KEEPER]
        return await asyncio.create_subprocess_exec(
            *words,
            # Whoever is in there may read the environment of its first process.
            env={"PATH": PATH},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(tell,),
            start_new_session=True,
        )

    async def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        # The keeper has waited for the first process, whose number is another's once the keeper has ended.
        pids = (self._init, keeper.pid) if keeper.returncode is None else ()
        for pid in filter(None, pids):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await keeper.wait()


def _home(folder: Path, user: str) -> Path:
    return folder / "home" / user


def _make_home(folder: Path, user: str) -> None:
    _make_folders(folder)
    _home(folder, user).mkdir(mode=0o700, exist_ok=True)


def _make_folders(folder: Path) -> None:
    for each in (folder / "home", folder / "tmp", folder / "etc"):
        each.mkdir(mode=0o700, exist_ok=True)


def _login_path(folder: Path, places: Places) -> str:
    return f"{places.programs}:{PATH}" if (folder / "programs").is_dir() else PATH


def _sftp_words(pid: int, home: str, client: str) -> list[str]:
    program = [sys.executable, "-I", "-S", str(Path(sftp_server.__file__).absolute())]
    # An entry that is relative would lead into the machine's home later on.
    return [*program, str(pid), home, client, json.dumps([str(Path(each).absolute()) for each in sys.path])]


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _has_namespaces(pid: int) -> bool:
    """It gives them up before it is seen to have ended; its user may have killed all of the machine's processes."""
    with suppress(OSError):
        return bool(Path(f"/proc/{pid}/ns/mnt").readlink())
    return False


def _signal_group(leader: int, number: int) -> None:
    """To the group; while the process does not lead one yet, to it alone."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)
