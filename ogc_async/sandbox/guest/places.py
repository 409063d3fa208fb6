"""Where a machine's files are, for commands that name them by a machine's usual paths.

A command runs on this very computer, whose ``/etc`` and ``/var`` are not the machine's. So that one way serves machines
in an enclosure and without, paths are replaced in the text of what is run, once, when it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOTS = ("var", "etc", "run", "opt", "srv", "root", "usr/local")
KERNEL_FILES = {
    "proc/uptime": "uptime",
    "proc/sys/kernel/random/boot_id": "boot_id",
    "proc/sysrq-trigger": "requests",
}
PROGRAMS = (
    *("shutdown", "poweroff", "halt", "reboot", "init", "telinit"),
    *("systemctl", "date", "logger", "sudo"),
)
"""What a machine has of its own; by their names, and by their usual paths."""
BEFORE = r"(?<![\w./}~*?)\]-])"
"""Not the middle of another path, of a URL, or of what a variable stands for."""
AFTER = r"(?![\w.-])"

_PATHS = re.compile(rf"{BEFORE}/({'|'.join((*map(re.escape, KERNEL_FILES), *ROOTS))}){AFTER}")
_PROGRAMS = re.compile(rf"{BEFORE}(?:/usr)?/s?bin/({'|'.join(PROGRAMS)}){AFTER}")
_SEARCH = re.compile(r"(?<![\w$])PATH=([\"']?)")


@dataclass(frozen=True, slots=True)
class Places:
    """Three folders, as the machine's commands see them."""

    root: str
    """The machine's own files."""
    kernel: str
    """What the sandbox tells and hears; commands write to ``requests`` alone."""
    programs: str
    """The stand-ins for what would reach this computer itself."""

    @property
    def search_path(self) -> str:
        """What comes before a system's own ``PATH``."""
        return f"{self.programs}:{self.root}/usr/local/sbin:{self.root}/usr/local/bin"

    def translate(self, text: str) -> str:
        """The text with the machine's own paths; a ``#!`` line is this computer's, and stays."""
        first, line_end, rest = text.partition("\n")
        if first.startswith("#!"):
            return first + line_end + self._translate(rest)
        return self._translate(text)

    def _translate(self, text: str) -> str:
        text = _PROGRAMS.sub(lambda match: f"{self.programs}/{match[1]}", text)
        text = _PATHS.sub(lambda match: self._path(match[1]), text)
        return _SEARCH.sub(lambda match: f"{match[0]}{self.programs}:", text)

    def _path(self, path: str) -> str:
        return f"{self.kernel}/{KERNEL_FILES[path]}" if path in KERNEL_FILES else f"{self.root}/{path}"
