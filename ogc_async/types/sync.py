"""What ``sync`` will do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ogc_async.errors import OgcError, OutcomeUnknown, WrongAccount
from ogc_async.types.life import End
from ogc_async.types.node import NodeSnapshot
from ogc_async.types.result import LaunchResult, NodeFailure, TeardownResult


class ChangeKind(StrEnum):
    """One thing that brings cloud, database and spec together."""

    ADOPT = "adopt"
    """A machine that came up, or is about to, under a node that nobody waits for any more."""
    HALT = "mark stopped"
    """A node whose machine somebody stopped."""
    RESUME = "mark running"
    """A stopped node whose machine somebody started again, or a lost one whose machine is there after all."""
    READDRESS = "note address"
    """A running node whose machine has other addresses than are on record."""
    FINISH = "finish teardown"
    """A teardown that broke off."""
    EXPIRE = "note end"
    """A node whose machine ended by itself, since its time to live was over."""
    OVERDUE = "end overdue"
    """A machine that runs although its time to live is over."""
    LOSE = "mark lost"
    """A node whose machine is not there any more."""
    FAIL = "mark failed"
    """A node that no machine was launched for."""
    REAP = "terminate leak"
    """A machine of ours that no node stands for."""
    ADD = "launch"
    """A node that is missing at the layout's scale."""
    REMOVE = "tear down"
    """A node beyond the layout's scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``node`` is "" where there is none yet, or none any more; ``instance_id`` "" where there is no machine."""

    kind: ChangeKind
    layout: str
    provider: str
    region: str
    node_id: int = 0
    node: str = ""
    instance_id: str = ""
    reason: str = ""
    end: End | None = field(default=None, compare=False)
    """How its machine ended, where it had one that is gone by itself."""

    def __str__(self) -> str:
        what = self.node or self.instance_id or f"a node of {self.layout}"
        return f"{self.kind}: {what}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A node of whose machine nothing is known for certain; ``account`` is the one that was asked."""

    node: NodeSnapshot
    account: str | None
    reason: str

    @property
    def is_foreign(self) -> bool:
        """Another account launched it."""
        return self.node.is_foreign_to(self.account)

    @property
    def error(self) -> OgcError:
        """Why nothing is done about the node."""
        node = self.node
        if self.is_foreign:
            return WrongAccount(node.provider, str(node.account), str(self.account), [node.name])
        return OutcomeUnknown(f"{node.name}: {self.reason}", provider=node.provider, operation="sync")


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The changes, in the order of their kinds; ``busy`` are nodes that a living process works on.

    ``doubts`` are nodes that are left as they are, since the cloud's word on them could not be had. ``notes`` are
    sentences about what stays as it is, and may not be meant so.
    """

    changes: tuple[Change, ...] = ()
    busy: tuple[NodeSnapshot, ...] = field(default=(), compare=False)
    doubts: tuple[Doubt, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def of(self, *kinds: ChangeKind) -> tuple[Change, ...]:
        """The changes of these kinds."""
        return tuple(change for change in self.changes if change.kind in kinds)

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True, slots=True)
class SyncResult:
    """``launched`` and ``torn_down`` are what the scale asked for; ``failures`` and ``leftovers`` what did not work."""

    plan: SyncPlan
    launched: LaunchResult
    torn_down: TeardownResult
    failures: tuple[NodeFailure | OgcError, ...] = ()

    @property
    def ok(self) -> bool:
        """Cloud, database and spec agree now."""
        return not (self.failures or self.launched.failures or self.torn_down.failures or self.torn_down.leftovers)
