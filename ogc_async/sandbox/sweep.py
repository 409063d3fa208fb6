"""The end of processes that have left their command's group, on machines without an enclosure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

ROUNDS = 20
"""A process that makes others while it is looked for needs a second round; one that does nothing else is given up."""


class Sweeper:
    """One look through all processes serves every machine that ends meanwhile: a look takes milliseconds."""

    def __init__(self) -> None:
        self._waiting: set[Path] = set()
        self._looking = asyncio.Lock()

    async def end_all_of(self, folder: Path) -> None:
        """End every process whose home or working folder is in this folder."""
        self._waiting.add(folder)
        async with self._looking:
            if folder in self._waiting:
                folders, self._waiting = self._waiting, set()
                await asyncio.to_thread(_end_all_of, folders)


def _end_all_of(folders: Set[Path]) -> None:
    for _ in range(ROUNDS):
        found = [pid for pid, folder in _processes() if not folders.isdisjoint(folder)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, SIGKILL)


def _processes() -> Iterator[tuple[int, set[Path]]]:
    """Each process of this user but this one, and every folder that its home or working folder is in."""
    proc = Path("/proc")
    for each in proc.iterdir() if proc.is_dir() else ():
        if each.name.isdigit() and int(each.name) != os.getpid():
            with suppress(OSError):
                yield int(each.name), _places(each)


def _places(process: Path) -> set[Path]:
    variables = (process / "environ").read_bytes().split(b"\0")
    homes = [os.fsdecode(each[5:]) for each in variables if each.startswith(b"HOME=")]
    return {place for text in (*homes, str((process / "cwd").readlink())) for place in Path(text).parents}
