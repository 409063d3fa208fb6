"""Ports that nobody listens on, and that nobody else can take."""

from __future__ import annotations

import socket


def held_port() -> socket.socket:
    """A socket that has a port to itself: who connects is refused until somebody listens on it."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held
