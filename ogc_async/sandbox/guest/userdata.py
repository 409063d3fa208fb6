"""What a machine is told at its launch: files, and what is run at each boot or at the first one."""

from __future__ import annotations

import re
from dataclasses import dataclass

STATE_FOLDER = re.compile(r"/var/lib/([\w.-]*\w)")
CLOUD_INIT = "cloud"
"""cloud-init's own folder below /var/lib."""


@dataclass(frozen=True, slots=True)
class File:
    """One file to write, below the machine's own root."""

    path: str
    content: bytes
    mode: int = 0o644
    is_appended: bool = False


@dataclass(frozen=True, slots=True)
class UserData:
    """Each script is a program's text with its ``#!`` line; "" is none."""

    files: tuple[File, ...] = ()
    at_each_boot: str = ""
    """cloud-config's ``bootcmd``."""
    at_first_boot: str = ""
    """cloud-config's ``runcmd``, or the user data itself where it is a script."""
    text: str = ""
    """As it was sent."""

    @property
    def is_idle(self) -> bool:
        """It asks for nothing."""
        return not (self.files or self.at_each_boot or self.at_first_boot)

    def state_folders(self) -> set[str]:
        """Names below /var/lib that it speaks of."""
        return set(STATE_FOLDER.findall(self.text)) - {CLOUD_INIT}
