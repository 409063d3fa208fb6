"""Where a command's output goes while it comes in: bounded, redacted, or on into a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from ogc_async.ssh.redaction import Redaction

Heard = Callable[[bytes], None]
"""Told what is kept, as it arrives."""

MARK_ROOM = 64


class BoundedBuffer:
    """Keeps the beginning and the end of what is written, up to ``limit`` bytes, and marks the cut between them.

    What is kept is always shorter than what was written where there is a cut, and never longer than it.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take in more."""
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def end(self) -> None:
        """No more will come."""

    def value(self) -> bytes:
        """All of it, or head, mark and tail."""
        tail = bytes(self._tail[-self._half :])
        cut = self.size - len(self._head) - len(tail)
        if cut <= MARK_ROOM and len(self._head) + len(self._tail) == self.size:
            # The mark would take more room than what it stands for.
            return bytes(self._head + self._tail)
        mark = f"\n[… {cut} bytes cut …]\n".encode() if cut else b""
        return bytes(self._head) + mark + tail


class RedactedBuffer(BoundedBuffer):
    """Keeps what is written without the secrets in it, which may come in pieces."""

    def __init__(self, limit: int, redaction: Redaction, heard: Heard | None = None) -> None:
        super().__init__(limit)
        self._stream = redaction.stream()
        self._heard = heard

    def write(self, data: bytes) -> None:
        """Take in more."""
        self._pass_on(self._stream.feed(data))

    def end(self) -> None:
        """No more will come."""
        self._pass_on(self._stream.end())

    def _pass_on(self, clean: bytes) -> None:
        super().write(clean)
        if clean and self._heard is not None:
            self._heard(clean)


class Sink(BoundedBuffer):
    """Passes what is written on to a file, up to ``limit`` bytes, and keeps nothing itself."""

    def __init__(self, limit: int, file: IO[bytes]) -> None:
        super().__init__(0)
        self._left = limit
        self._file = file

    def write(self, data: bytes) -> None:
        """Take in more; beyond the limit it is only counted."""
        self.size += len(data)
        self._file.write(data[: max(self._left, 0)])
        self._left -= len(data)

    def value(self) -> bytes:
        """Nothing: the file has it."""
        return b""
