"""A machine's own files, as the sandbox itself writes and reads them.

The machine's commands write there too, and may leave links that lead out: the sandbox follows none.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ogc_async.sandbox.guest import standins
from ogc_async.sandbox.guest.places import PROGRAMS, Places
from ogc_async.sandbox.guest.userdata import File

REQUESTS = "requests"
MAX_BYTES = 65_536
"""Of a unit or a crontab."""
FOLDERS = ("etc/systemd/system", "etc/cron.d", "usr/local/sbin", "usr/local/bin", "var/lib/cloud", "opt", "srv", "root")
PER_BOOT = "var/lib/cloud/scripts/per-boot"
SHOWN = ("etc/os-release", "etc/passwd", "etc/hosts")
"""Of this computer, by a link: scripts look there for what they run on."""


class Files:
    """Three folders of one machine: its root, what the sandbox tells it, and its own programs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.kernel = folder / "kernel"
        self.programs = folder / "programs"

    def make(self, places: Places) -> None:
        """Everything that a machine has before its user data is read."""
        for each in (self.kernel, self.programs, *(self.root / name for name in FOLDERS)):
            each.mkdir(parents=True, exist_ok=True)
        for name in SHOWN:
            with suppress(FileExistsError):
                (self.root / name).symlink_to(f"/{name}")
        program = self.programs / "machine"
        program.write_text(standins.script(places))
        program.chmod(0o755)
        for name in PROGRAMS:
            with suppress(FileExistsError):
                (self.programs / name).symlink_to("machine")
        with suppress(FileExistsError):
            os.mkfifo(self.kernel / REQUESTS)

    def begin_boot(self, boot_id: str, flags: Iterable[str]) -> None:
        """What is new at each boot, while none of the machine's processes runs."""
        (self.kernel / "boot_id").write_text(f"{boot_id}\n")
        for flag in (standins.SYSTEMD, standins.BROKEN):
            self.flag(flag, is_set=flag in flags)
        run = self.root / "run"
        if run.is_symlink():
            run.unlink()
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(exist_ok=True)
        if standins.SYSTEMD in flags:
            (run / "systemd/system").mkdir(parents=True)
            (run / "systemd/active").mkdir()
            for name in self.enabled_timers():
                (run / "systemd/active" / name).touch()

    def flag(self, name: str, *, is_set: bool) -> None:
        """A file that is there, or not."""
        if is_set:
            (self.kernel / name).touch()
        else:
            (self.kernel / name).unlink(missing_ok=True)

    def tell_time(self, uptime: float, wall: float) -> None:
        """What the machine's clocks show."""
        (self.kernel / "uptime").write_text(f"{uptime:.2f} {uptime:.2f}\n")
        (self.kernel / "now").write_text(f"{int(wall)}\n")

    def write(self, file: File, places: Places) -> None:
        """One of the user data's files. Raises ``OSError``."""
        path = self._inside(file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self.root.resolve()):
            raise OSError(f"{file.path} is behind a link")
        content = file.content
        with suppress(UnicodeDecodeError):
            content = places.translate(content.decode()).encode()
        how = os.O_APPEND if file.is_appended else os.O_TRUNC
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how, 0o600)
        with open(descriptor, "wb") as opened:  # noqa: PTH123  # a descriptor
            opened.write(content)
            os.fchmod(descriptor, file.mode)

    def read(self, *paths: str) -> str | None:
        """The text of the first of these that is a file."""
        for each in paths:
            with suppress(OSError, UnicodeDecodeError):
                descriptor = os.open(self.root / each, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(descriptor, "rb") as opened:  # noqa: PTH123  # a descriptor
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        return opened.read(MAX_BYTES).decode()
        return None

    def per_boot(self) -> list[str]:
        """Names of the scripts of each boot, in order: those that may be run, as cloud-init has it."""
        return [each.name for each in self._listed(PER_BOOT) if each.is_file() and os.access(each, os.X_OK)]

    def enabled_timers(self) -> list[str]:
        """Names of the timers that a boot starts."""
        return [each.name for each in self._listed("etc/systemd/system/timers.target.wants")]

    def crontabs(self) -> list[str]:
        """Texts below /etc/cron.d."""
        texts = (self.read(f"etc/cron.d/{each.name}") for each in self._listed("etc/cron.d"))
        return [each for each in texts if each is not None]

    def occupy(self, names: Iterable[str]) -> None:
        """Put a plain file where each of these folders of /var/lib is, or would be."""
        place = self.root / "var/lib"
        if place.resolve() != self.root.resolve() / "var/lib":
            return
        for name in names:
            path = place / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.touch()

    def _inside(self, path: str) -> Path:
        return self.root / posixpath.normpath(f"/{path.lstrip('/')}").lstrip("/")

    def _listed(self, folder: str) -> list[Path]:
        try:
            return sorted((self.root / folder).iterdir())
        except OSError:
            return []
