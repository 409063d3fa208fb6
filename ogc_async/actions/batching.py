"""Concurrent calls of one moment: their nodes go on record together, in batches that the calls share."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from ogc_async.actions.claims import Claim
from ogc_async.actions.preflight import Checked
from ogc_async.actions.shared_batch import SharedBatch
from ogc_async.actions.transitions import Ledger, plan, renew
from ogc_async.aio.batcher import Batcher
from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.db import Engine
from ogc_async.db.holds import Hold
from ogc_async.db.nodes import NodeDraft
from ogc_async.events import Events
from ogc_async.plan import Batch, cut, expand, new_token
from ogc_async.types import NodeSnapshot, Offer, UserSnapshot

IDLE_S = 0.01
CEILING_S = 0.1
"""The window in which calls of one moment come together, as for descriptions."""
CALLERS = 5000


@dataclass(frozen=True, slots=True)
class Order:
    """What one call wants of one layout: ``count`` new nodes, or these of its nodes again, of another offer.

    ``claim`` holds the rows; ``events`` hears of what happens to them. ``launch_id`` is the user's own call's, if it is
    one; ``ends_in_s`` is how many seconds from now the machines' lives are over at the latest.
    """

    checked: Checked
    offer: Offer
    claim: Claim
    events: Events
    count: int = 0
    nodes: tuple[NodeSnapshot, ...] = ()
    launch_id: str | None = None
    ends_in_s: float | None = None


Share = tuple[SharedBatch, tuple[NodeSnapshot, ...]]
"""One call's nodes in a batch that others may share."""


class Batching:
    """Puts what calls of one moment order on record: one transaction, and batches as large as the cloud takes."""

    def __init__(self, engine: Engine, user: UserSnapshot) -> None:
        self._engine = engine
        self._user = user
        self._planning = Batcher(self._plan_all, max_batch=CALLERS, idle_s=IDLE_S, ceiling_s=CEILING_S)
        self._renewing = Batcher(self._renew_all, max_batch=CALLERS, idle_s=IDLE_S, ceiling_s=CEILING_S)

    async def plan(self, orders: Sequence[Order]) -> list[list[Share]]:
        """Commit a row for every node, with its batch's token, before any cloud hears of it: shares an order."""
        return await self._planning.submit(tuple(orders))

    async def renew(self, order: Order) -> list[Share]:
        """A capacity failure spends its token: commit a new one for another offer. Nodes taken away are left out."""
        return await self._renewing.submit(order)

    async def _plan_all(self, calls: list[tuple[Order, ...]]) -> list[list[list[Share]]]:
        orders = [order for call in calls for order in call]
        made = [each for group in _alike(orders) for each in self._made_for(group)]
        drafts = [draft for each, parts in made for order, names in parts for draft in _drafts(order, each, names)]
        for _, parts in made:
            for order, names in parts:
                # Should this be broken off, the claim finds its rows by their names.
                order.claim.expect(names)
        rows = {node.name: node for node in await plan(_ledger(self._engine, made), self._user.id, drafts)}
        for _, parts in made:
            for order, names in parts:
                order.claim.note(rows[name] for name in names)
        return _handed_out(calls, made, rows)

    async def _renew_all(self, orders: list[Order]) -> list[list[Share]]:
        made = [each for group in _alike(orders) for each in self._made_again(group)]
        before = {node.name: node for order in orders for node in order.nodes}
        renewed = {
            name: _renewed(before[name], index, each.batch)
            for each, _ in made
            for index, name in enumerate(each.batch.names)
        }
        ends_in_s = {node.id: order.ends_in_s for order in orders for node in order.nodes}
        kept = {node.name: node for node in await renew(_ledger(self._engine, made), renewed.values(), ends_in_s)}
        return [shares for (shares,) in _handed_out([(order,) for order in orders], made, kept)]

    def _made_for(self, orders: Sequence[Order]) -> list[tuple[SharedBatch, list[Part]]]:
        first = orders[0]
        layout = first.checked.layout
        total = layout.model_copy(update={"scale": sum(order.count for order in orders)})
        batches = expand(
            [total], batch_size=first.checked.provider.max_batch, region=first.checked.region, offer=first.offer
        )
        return self._manned(orders, batches, [order.count for order in orders])

    def _made_again(self, orders: Sequence[Order]) -> list[tuple[SharedBatch, list[Part]]]:
        first = orders[0]
        names = [node.name for order in orders for node in order.nodes]
        batches = [
            Batch(first.checked.layout.name, chunk, new_token(), first.checked.region, first.offer)
            for chunk in cut(names, first.checked.provider.max_batch)
        ]
        return self._manned(orders, batches, [len(order.nodes) for order in orders])

    def _manned(
        self, orders: Sequence[Order], batches: Sequence[Batch], counts: Sequence[int]
    ) -> list[tuple[SharedBatch, list[Part]]]:
        """Each batch with whose names are in it: names go to the orders one after the other."""
        whose = [order for order, count in zip(orders, counts, strict=True) for _ in range(count)]
        made: list[tuple[SharedBatch, list[Part]]] = []
        start = 0
        for batch in batches:
            parts: dict[int, Part] = {}
            for order, name in zip(whose[start:], batch.names, strict=False):
                parts.setdefault(id(order), (order, []))[1].append(name)
            members = list(parts.values())
            made.append((_batch_call(self._engine, self._user, batch, members), members))
            start += len(batch.names)
        return made


Part = tuple[Order, list[str]]


_batchings: LoopLocal[WeakKeyDictionary[Engine, Batching]] = LoopLocal(WeakKeyDictionary)


def batching_of(engine: Engine, user: UserSnapshot) -> Batching:
    """The one that all calls of the running loop on this database share."""
    batchings = _batchings.get()
    if engine not in batchings:
        batchings[engine] = Batching(engine, user)
    return batchings[engine]


def _batch_call(engine: Engine, user: UserSnapshot, batch: Batch, parts: Sequence[Part]) -> SharedBatch:
    return SharedBatch(_ledger_of(engine, parts), user, batch, parts[0][0].checked)


def _ledger(engine: Engine, made: Iterable[tuple[SharedBatch, list[Part]]]) -> Ledger:
    return _ledger_of(engine, [part for _, parts in made for part in parts])


def _ledger_of(engine: Engine, parts: Sequence[Part]) -> Ledger:
    """Each call hears of its own nodes; this loop's worker holds them all, each behind its claim's fence."""
    events = {name: order.events for order, names in parts for name in names}
    claims = list({id(order.claim): order.claim for order, _ in parts}.values())
    fences = ChainMap(*(claim.fences for claim in claims))
    worker = claims[0].worker if claims else ""
    return Ledger(engine, Hold(worker, fences), events.__getitem__)


def _alike(orders: Iterable[Order]) -> list[list[Order]]:
    """Orders that one call to the cloud can serve together."""
    groups: dict[tuple[object, ...], list[Order]] = {}
    for order in orders:
        if order.nodes or order.count:
            groups.setdefault(_shape(order), []).append(order)
    return list(groups.values())


def _shape(order: Order) -> tuple[object, ...]:
    checked = order.checked
    layout = checked.layout.as_dict() | {"scale": 0, "min-ready": None, "spare": 0}
    # The layout tells what the machine is and what its row says of it.
    return id(checked.provider), checked.region, checked.public_key, checked.ssh_port, order.offer, json.dumps(layout)


def _handed_out(
    calls: Sequence[tuple[Order, ...]], made: Sequence[tuple[SharedBatch, list[Part]]], rows: Mapping[str, NodeSnapshot]
) -> list[list[list[Share]]]:
    shares: dict[int, list[Share]] = {}
    for each, parts in made:
        for order, names in parts:
            mine = tuple(rows[name] for name in names if name in rows)
            each.add(mine)
            shares.setdefault(id(order), []).append((each, mine))
    return [[shares.get(id(order), []) for order in call] for call in calls]


def _renewed(node: NodeSnapshot, index: int, batch: Batch) -> NodeSnapshot:
    zone = batch.offer.zone if batch.offer else None
    return replace(node, token=batch.token, launch_index=index, zone=zone)


def _drafts(order: Order, each: SharedBatch, names: Sequence[str]) -> list[NodeDraft]:
    layout = order.checked.layout
    spec = layout.as_dict()
    places = {name: index for index, name in enumerate(each.batch.names)}
    return [
        NodeDraft(
            name=name,
            layout=layout.name,
            provider=layout.provider,
            region=order.checked.region,
            zone=order.offer.zone,
            token=each.batch.token,
            launch_index=places[name],
            username=layout.username or "",
            ssh_port=order.checked.ssh_port,
            tags=layout.tags,
            labels=layout.labels,
            spec=spec,
            worker=order.claim.worker,
            claimed_for=order.claim.claimed_for,
            launch_id=order.launch_id,
            ends_in_s=order.ends_in_s,
        )
        for name in names
    ]
