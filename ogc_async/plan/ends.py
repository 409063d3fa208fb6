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

BOOTS_WITHIN = timedelta(minutes=15)
"""A machine that is found long after its launch began its life so long after it at the latest."""

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


def ends_by(node: NodeSnapshot, machine: Instance) -> datetime | None:
    """When a machine's life is over at the latest: as its cloud says, or else by when that launched it."""
    life = life_of(node)
    if machine.ends_at is not None or machine.launched_at is None or life is None:
        return machine.ends_at
    return machine.launched_at + life + BOOTS_WITHIN


def end_on_record(node: NodeSnapshot) -> datetime | None:
    """When its life is over. A release before this one put the layout's word on record alone."""
    if node.ends_at is not None:
        return node.ends_at
    life = life_of(node)
    return node.running_at + life if life is not None and node.running_at is not None else None


def is_overdue(node: NodeSnapshot, now: datetime, machine: Instance | None = None) -> bool:
    """Its machine was to be gone by now, and its layout does not want it stopped instead."""
    return is_time_over(node, now, machine, GRACE)


def is_time_over(
    node: NodeSnapshot, now: datetime, machine: Instance | None = None, grace: timedelta = timedelta(0)
) -> bool:
    """Its machine is to end, and the time for that came ``grace`` ago.

    An end that the cloud itself keeps is of the cloud's clock, and counts by the moment at which ``machine`` was seen.
    """
    ends_at, at = end_on_record(node), now
    if machine is not None and machine.ends_at is not None:
        ends_at, at = machine.ends_at, machine.seen_at or now
    return ends_at is not None and at >= ends_at + grace and not _is_stopped_at_end(node)


def end_of(machine: Instance) -> datetime | None:
    """When its life is over, by its cloud, or by its own tag."""
    if machine.ends_at is not None:
        return machine.ends_at
    written = machine.tags.get(TAG_ENDS, "")
    return datetime.fromtimestamp(int(written), UTC) if _EPOCH.fullmatch(written) else None


def judge(node: NodeSnapshot, machine: Instance, now: datetime) -> End:
    """What ended a machine that is certainly gone, and that this program did not end; ``machine`` is the last word.

    The end on record may be of the cloud's clock or of the database's, and the two may differ: it was over if it was so
    by either. Where the cloud does not say when the machine ended, it had by the time at which it was asked.
    """
    if machine.reason.startswith(OF_THE_CLOUD):
        return End(EndedBy.CLOUD, machine.ended_at)
    ends_at = end_on_record(node)
    ended_at = machine.ended_at or machine.seen_at or now
    lag = now - machine.seen_at if machine.seen_at is not None else timedelta(0)
    # What stops at its end is ended by something else.
    if ends_at is None or max(ended_at, ended_at + lag) < ends_at - EARLY or _is_stopped_at_end(node):
        return End(EndedBy.LOST, machine.ended_at)
    return End(EndedBy.TTL, machine.ended_at or min(ends_at, now))


def farewell(node: NodeSnapshot) -> str:
    """The reason of a row whose machine ended by itself."""
    return "its time to live was over" + ("; its artifacts were not fetched" if node.spec.get("artifacts") else "")


def _is_stopped_at_end(node: NodeSnapshot) -> bool:
    life = life_of(node)
    return life is not None and life.then is Then.STOP


def is_replaced(node: NodeSnapshot) -> bool:
    """Once its time is over, another node takes its place."""
    life = life_of(node)
    return life is not None and life.then is Then.REPLACE
