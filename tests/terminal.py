"""A program on a terminal that is none: what it draws can be looked at, and keys can be pressed."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte

from ogc_async.sandbox.process import kill_group
from tests.timing import HANGS_AFTER_S

CTRL_C = b"\x03"


class Terminal:
    """A terminal of so many columns and lines; ``screens`` are all that were seen on it, without blank lines."""

    def __init__(self, columns: int, lines: int) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.raw = b""
        self.screens: list[list[str]] = []
        self._looked_at = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def screen(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The screen as one text, lines that were folded at its edge unfolded."""
        return "".join(line for line in self._screen.display).strip()

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, is_there: Callable[[list[str]], bool], timeout_s: float = HANGS_AFTER_S) -> list[str]:
        """The first screen of which that is true, from the one that was waited for last on; none is passed over."""
        deadline = time.monotonic() + timeout_s
        while True:
            while self._looked_at < len(self.screens):
                if is_there(self.screens[self._looked_at]):
                    return self.screens[self._looked_at]
                self._looked_at += 1
            assert self._read(deadline), f"the program ended, and showed: {self.screens[-1:]}\n{self.raw[-2000:]!r}"

    def ended(self, timeout_s: float = HANGS_AFTER_S) -> int:
        """Wait for the program's end; its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline):
            pass
        assert self.process is not None
        return self.process.wait(max(deadline - time.monotonic(), 1))

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([self.master], [], [], max(left, 0))
        assert ready, f"nothing more came, and this is the screen: {self.screen}"
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False  # EIO: whoever had the terminal is gone.
        self.raw += data
        # A reader that comes late finds several pictures in one piece: each begins with a line that is wiped.
        for piece in re.split(rb"(?=\r\x1b\[2K)", data):
            self._stream.feed(piece)
            self.screens.append(self.screen)
        return bool(data)


@contextmanager
def on_terminal(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path, columns: int = 80, lines: int = 24
) -> Iterator[Terminal]:
    """Run the program for the block on a terminal of its own, which is its controlling one: Ctrl-C reaches it."""
    terminal = Terminal(columns, lines)
    terminal.process = subprocess.Popen(
        words,
        env={**env, "TERM": "xterm-256color"},
        cwd=cwd,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal.slave)
    try:
        yield terminal
    finally:
        kill_group(terminal.process)
        terminal.process.wait(HANGS_AFTER_S)
        os.close(terminal.master)
