"""When and how nodes' machines end: what rows and replies say of it, as one verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ogc_async.spec import Layout
from ogc_async.spec.fields import Unfit, ttl
from ogc_async.types import EndedBy, Instance, NodeSnapshot, Then, Ttl
from ogc_async.types.launch import TAG_ENDS

GRACE = timedelta(minutes=2)
"""A machine that ends by itself is gone by then: Compute Engine takes up to 30 s more than its limit, and a timer of
minutes with two tries to shut down as much as that.
"""

EARLY = timedelta(minutes=1)
"""How much earlier than on record an end may be: a machine counts from its boot, which is noticed a little later."""

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
    return datetime.fromtimestamp(int(written), UTC) if written.isdecimal() and len(written) <= 10 else None


def judge(node: NodeSnapshot, machine: Instance | None, now: datetime) -> EndedBy:
    """What ended a machine that is certainly gone, and that this program did not end.

    ``machine`` is the cloud's last word on it, where there is one.
    """
    if machine is not None and machine.reason.startswith(OF_THE_CLOUD):
        return EndedBy.CLOUD
    at = machine.ended_at if machine is not None and machine.ended_at is not None else now
    return EndedBy.TTL if node.ends_at is not None and at >= node.ends_at - EARLY else EndedBy.LOST


def satisfied(node: NodeSnapshot) -> bool:
    """It did what it was launched for until its time was over, and no other node is to take its place."""
    life = life_of(node)
    return node.ended_by is EndedBy.TTL and (life is None or life.then is not Then.REPLACE)
