"""What a launch is made of: a part for each layout, and waves, which carry a part's nodes to one offer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from ogc_async.actions.batching import Share
from ogc_async.actions.preflight import Checked
from ogc_async.actions.shared_batch import SharedBatch
from ogc_async.actions.watch import Watch
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.types import NodeSnapshot, Offer, Prepared


@dataclass(eq=False)
class Part:
    """One layout's part of a launch: how many of its nodes run, how many are wanted, and what still goes on."""

    checked: Checked
    shares: list[Share]
    wanted: int
    quorum: int
    up: list[int] = field(default_factory=list)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    preparing: SingleFlight[Offer, Prepared] = field(default_factory=lambda: SingleFlight(keep_s=float("inf")))

    @property
    def node_ids(self) -> list[int]:
        """All of the part's nodes, spares included."""
        return [node.id for _, nodes in self.shares for node in nodes]

    def arrive(self, node_ids: Iterable[int]) -> list[int]:
        """Nodes run; those of them that are wanted. Once there are enough, the launch waits for no more."""
        before = len(self.up)
        self.up += node_ids
        if self.quorum <= len(self.up) < len(self.node_ids):
            self.scope.cancel()
        return self.up[before : self.wanted]


@dataclass(frozen=True, slots=True)
class Wave:
    """One call's nodes of a batch, on their way to one offer."""

    part: Part
    share: Share
    watch: Watch
    work: TaskGroup
    tried: tuple[Offer, ...] = ()

    @property
    def batch(self) -> SharedBatch:
        """The batch, which other calls may share."""
        return self.share[0]

    @property
    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """This call's own."""
        return self.share[1]

    @property
    def offer(self) -> Offer:
        """Where the batch's machines are asked for."""
        return self.batch.offer
