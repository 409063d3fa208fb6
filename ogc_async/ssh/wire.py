"""The TCP connection below an SSH session: what is written in one turn of the event loop leaves in one piece.

asyncssh writes each packet by itself. On its own each costs a system call here, a segment on the way, and a wake-up of
the server.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

AT_ONCE_BYTES = 65_536
"""So much is passed on without waiting for the turn's end: the network can work on it meanwhile."""


class Wire:
    """Passes on what a loop's connections gather, at the end of each turn."""

    def __init__(self) -> None:
        self._due: list[Gathering] = []

    def flush_soon(self, connection: Gathering) -> None:
        """Have this connection's data passed on at the end of the turn, along with the others'."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.append(connection)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for connection in due:
            try:
                connection.flush()
            except Exception:
                # As channels and other event loops' transports do once closed: that is no matter of the others'.
                log.debug("a connection takes no more data", exc_info=True)
                connection.abort()


class Gathering(asyncio.Transport):
    """Passes on what was written since the last turn of the loop at once; the rest is the transport's own."""

    def __init__(self, transport: asyncio.Transport, wire: Wire) -> None:
        super().__init__()
        self._transport = transport
        self._wire = wire
        self._held = bytearray()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Take it along with what else comes in this turn."""
        if not self._held:
            self._wire.flush_soon(self)
        self._held += data
        if len(self._held) >= AT_ONCE_BYTES:
            self.flush()

    def close(self) -> None:
        """Close it once all is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close it at once; what was written is offered to the network, as it were without this. Raises nothing."""
        with suppress(Exception):
            self.flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows about the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take in nothing for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take in data again."""
        self._transport.resume_reading()

    def flush(self) -> None:
        """Pass on what is held."""
        if self._held:
            held, self._held = self._held, bytearray()
            self._transport.write(held)
