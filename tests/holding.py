"""Nodes held by processes that tests speak of: ones that live, and ones that died."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ogc_async.db import Engine
from ogc_async.db.claims import WorkerFacts, beat, claim_nodes, release_nodes
from ogc_async.db.holds import Hold
from ogc_async.db.moves import Move, move_nodes

LONG_S = 3600.0
DEAD_S = -1.0


def facts(worker: str) -> WorkerFacts:
    return WorkerFacts(id=worker, login="adam", host="laptop", pid=4711, version="0.0")


async def held(
    engine: Engine,
    node_ids: Collection[int],
    worker: str = "other",
    *,
    for_s: float = LONG_S,
    is_taking_over: bool = False,
) -> Hold:
    """Claim them for a worker that is believed to live for so many seconds."""
    await beat(engine, facts(worker), for_s)
    claimed = await claim_nodes(engine, worker, node_ids, "deploy", is_taking_over=is_taking_over)
    assert claimed.fences.keys() == set(node_ids)
    return Hold(worker, claimed.fences)


async def moved(engine: Engine, node_ids: Iterable[int], move: Move) -> set[int]:
    """Move nodes as a process does that claims them for just that."""
    hold = await held(engine, list(node_ids), "mover")
    done = await move_nodes(engine, hold.fences, move, hold)
    await release_nodes(engine, [hold], last="mover")
    return done


async def living(engine: Engine, worker: str, *, for_s: float = LONG_S) -> Hold:
    """A worker that lives, and works on nodes beside whoever holds them."""
    await beat(engine, facts(worker), for_s)
    return Hold(worker, is_exclusive=False)
