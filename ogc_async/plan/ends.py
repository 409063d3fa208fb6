"""When and how nodes' machines end: what rows and replies say of it, as one verdict."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ogc_async.spec import Layout
from ogc_async.spec.fields import Unfit, ttl
from ogc_async.types import End, EndedBy, Instance, NodeSnapshot, Then, Ttl
from ogc_async.types.launch import TAG_ENDS

GRACE = timedelta(minutes=2)
"""A machine that ends by itself is gone by then: Compute Engine takes up to 30 s more than its limit, and a timer of
minutes with two tries to shut down as much as that.
"""

EARLY = timedelta(minutes=1)
"""How much earlier than on record an end may be: a machine counts from its boot, which is noticed a little later."""

_EPOCH = re.compile("[0-9]{1,10}")

OF_THE_CLOUD = "Server."
"""What EC2's reasons for an end of its own begin with."""


def life_of(node: NodeSnapshot) -> Ttl | None:
    """What its layout said of its life when it was launched."""
    try:
        written = node.spec.get("ttl")
        return None if written is None else ttl(written)
    except Unfit:
        # A row may be older than the rule, or out of a file: what nothing can be made of is no end.
        return None


def life_s(node: NodeSnapshot) -> float | None:
    """The same, in seconds."""
    life = life_of(node)
    return None if life is None else life.total_seconds()


def ends_in_s(layout: Layout, boot_timeout_s: float) -> float | None:
    """How many seconds after its planning a machine's life is over at the latest: it begins with its boot."""
    return None if layout.ttl is None else layout.ttl.total_seconds() + (layout.timeouts.boot or boot_timeout_s)


def is_overdue(node: NodeSnapshot, now: datetime) -> bool:
    """Its machine was to be gone by now, and its layout does not want it stopped instead."""
    life = life_of(node)
    keeps = life is not None and life.then is Then.STOP
    return node.ends_at is not None and now >= node.ends_at + GRACE and not keeps


def end_of(machine: Instance) -> datetime | None:
    """When its life is over, by its cloud, or by its own tag."""
    if machine.ends_at is not None:
        return machine.ends_at
    written = machine.tags.get(TAG_ENDS, "")
    return datetime.fromtimestamp(int(written), UTC) if _EPOCH.fullmatch(written) else None


def judge(node: NodeSnapshot, machine: Instance, now: datetime) -> End:
    """What ended a machine that is certainly gone, and that this program did not end; ``machine`` is the last word.

    Where the cloud does not say when it ended, it had by the time, of the cloud's own clock, at which it was asked.
    """
    by_then = machine.ended_at or machine.seen_at or now
    if machine.reason.startswith(OF_THE_CLOUD):
        return End(EndedBy.CLOUD, machine.ended_at)
    if node.ends_at is None or by_then < node.ends_at - EARLY:
        return End(EndedBy.LOST, machine.ended_at)
    return End(EndedBy.TTL, machine.ended_at or min(node.ends_at, now))


def farewell(node: NodeSnapshot) -> str:
    """The reason of a row whose machine ended by itself."""
    return "its time to live was over" + ("; its artifacts were not fetched" if node.spec.get("artifacts") else "")


def is_replaced(node: NodeSnapshot) -> bool:
    """Once its time is over, another node takes its place."""
    life = life_of(node)
    return life is not None and life.then is Then.REPLACE
