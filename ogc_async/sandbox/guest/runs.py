"""Processes of machines' systems: few at a time, each waited for by a thread.

A thread, and not the loop: a loop whose clock jumps over what is waited for knows of threads at work alone.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from signal import SIGKILL
from typing import TypeVar

AT_ONCE = 16
"""Hundreds of machines tick together; more processes at a time would only make each of them slower."""
TIMEOUT_S = 120.0
"""Of real time: a run that takes longer is ended, since it holds up those of other machines."""

T = TypeVar("T")


class Runs:
    """The threads that all machines share."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "machine")

    async def do(self, work: Callable[[], T]) -> T:
        """Do it in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Nothing runs any more by now, or it is about to end."""
        self._threads.shutdown(cancel_futures=True)


class Processes:
    """Those of one machine, from one boot to its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._living: set[subprocess.Popen[bytes]] = set()
        self._is_over = False

    def run(self, words: Sequence[str], folder: str, environment: Mapping[str, str], first: Callable[[], None]) -> None:
        """Run it to its end, ``first`` just before; one that cannot be run, or fails, is nobody's business here."""
        with self._lock:
            if self._is_over:
                return
            with suppress(OSError):
                first()
            try:
                child = subprocess.Popen(  # noqa: S603  # what the machine's user data asks for
                    words,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                return
            self._living.add(child)
        try:
            child.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(child)
            child.wait()
        finally:
            with self._lock:
                self._living.discard(child)

    def end(self) -> None:
        """End all; none begins any more."""
        with self._lock:
            self._is_over = True
            for child in self._living:
                _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, SIGKILL)
