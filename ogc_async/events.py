"""What has happened, told as it happens: frozen events in the past tense, and the place to subscribe to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ogc_async.types import NodeState, StepResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one node."""

    node_id: int
    name: str
    layout: str


@dataclass(frozen=True, slots=True)
class NodeMoved(Event):
    """A node entered ``state``; ``address`` is set once it runs, ``reason`` where it went wrong."""

    state: NodeState
    address: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NodeConnected(Event):
    """An SSH session to the node was opened and its host key verified."""


@dataclass(frozen=True, slots=True)
class FilesPushed(Event):
    """The node holds the files; sizes are before compression."""

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """A script or command began."""

    script: str


@dataclass(frozen=True, slots=True)
class OutputArrived(Event):
    """A script or command wrote something: bytes as they came, cut anywhere."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StepFinished(Event):
    """A script or command ended."""

    result: StepResult


@dataclass(frozen=True, slots=True)
class NodeFinished(Event):
    """All work asked for on the node is over; ``error`` is the message where it did not go well."""

    ok: bool
    error: str | None = None


Subscriber = Callable[[Event], None]


class Events:
    """Passes each event to every subscriber, in the order they subscribed, on the loop's own thread.

    A subscriber must not block. One that raises is logged and costs the others nothing.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    @contextmanager
    def subscribed(self, subscriber: Subscriber) -> Iterator[None]:
        """Call ``subscriber`` for every event while the block runs."""
        self._subscribers.append(subscriber)
        try:
            yield
        finally:
            self._subscribers.remove(subscriber)

    def publish(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber failed on %r", event)
