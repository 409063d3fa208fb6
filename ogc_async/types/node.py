"""A node's states, and the frozen picture of a node that leaves the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ogc_async.types.launch import Market
from ogc_async.types.life import EndedBy


class NodeState(StrEnum):
    """planned → launching → running ⇄ stopped → terminating → terminated; failed (never came up), lost (vanished)."""

    PLANNED = "planned"
    LAUNCHING = "launching"
    RUNNING = "running"
    STOPPED = "stopped"
    """Somebody stopped the machine: it is there, and may be started again."""
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
    LOST = "lost"


LIVE = frozenset({NodeState.PLANNED, NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED, NodeState.TERMINATING})
"""States in which a machine may exist."""


@dataclass(frozen=True, slots=True)
class UserSnapshot:
    """The user whose tag every machine carries; ``scope`` is unique to this record, in this database."""

    id: int
    name: str
    slug: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """A node as it was on record at one moment.

    ``spec`` is the layout's ``as_dict()`` at launch. Nodes that are read together share it: it is not to be changed.
    """

    id: int
    name: str
    layout: str
    provider: str
    region: str
    zone: str | None
    state: NodeState
    token: str
    launch_index: int
    account: str | None = None
    """The account (EC2) or project (Compute Engine) that launched it; ``None`` while that is not known for certain."""
    instance_id: str | None = None
    public_ip: str | None = None
    private_ip: str | None = None
    username: str = ""
    ssh_port: int = 22
    host_key: str | None = None
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    running_at: datetime | None = None
    terminated_at: datetime | None = None
    size: str | None = None
    """The machine type that the cloud gave, which can be another one than the layout's first."""
    market: Market | None = None
    launch_id: str | None = None
    """The call of ``launch`` that it came of; ``None`` where `sync` made it, to keep the scale."""
    ends_at: datetime | None = None
    """When its time to live is over; before it runs, the latest moment of that."""
    ended_at: datetime | None = None
    """When its machine ended, as far as that is known: at the latest then."""
    ended_by: EndedBy | None = None
    worker: str | None = None
    fence: int = 0
    claimed_for: str | None = None
    claimed_at: datetime | None = None
    lease_until: datetime | None = None
    """Until when ``worker`` is believed to live, by its last sign of life."""
    read_at: datetime | None = field(default=None, compare=False)
    """When this was read, by the database's clock, as all of these times."""

    def is_of(self, account: str | None) -> bool:
        """That account launched its machine, for certain: what it shows, or does not show, is the truth about it."""
        return account is not None and self.account == account

    def is_foreign_to(self, account: str | None) -> bool:
        """Another account than that one launched its machine, for certain."""
        return None not in (account, self.account) and self.account != account

    def is_over(self, now: datetime | None = None) -> bool:
        """Its time to live is over, ``now``, or at the moment of reading."""
        at = now or self.read_at
        return self.ends_at is not None and at is not None and at >= self.ends_at

    @property
    def heard_of_at(self) -> datetime | None:
        """Latest moment at which a launch call for this node can still have been sent.

        Its last write, or the moment until which its holder is believed to live, whichever is later.
        """
        return max((each for each in (self.updated_at, self.lease_until) if each is not None), default=None)

    def is_held(self, now: datetime | None = None) -> bool:
        """A process that is believed to live works on the node, ``now``, or at the moment of reading."""
        at = now or self.read_at
        return self.worker is not None and self.lease_until is not None and at is not None and self.lease_until > at
