"""A launch that is broken off: its rows and its machines left in agreement, as the policy says."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio

from ogc_async.actions.claims import Claim
from ogc_async.actions.context import Context
from ogc_async.actions.tear_down import tear_down_nodes
from ogc_async.actions.transitions import Ledger, move
from ogc_async.errors import OgcError
from ogc_async.types import LIVE, NodeState

log = logging.getLogger(__name__)

REASON = "the launch was broken off"


async def withdraw(context: Context, claim: Claim, node_ids: Sequence[int] = ()) -> None:
    """Take back the nodes of the claim, and these.

    ``cleanup`` leaves no machine of the call; ``keep`` leaves those that were launched, for `sync` to go on with. Both
    are cut off after ``OGC_CANCEL_S`` seconds, and `sync` does the rest.
    """
    with anyio.move_on_after(context.settings.ogc_cancel_s, shield=True) as scope:
        try:
            if missing := set(node_ids) - await claim.take(node_ids):
                log.warning(
                    "a launch was broken off, and %d of its nodes are held elsewhere: %s", len(missing), missing
                )
            await _withdraw(context, claim)
        except OgcError as error:
            log.warning(
                "a launch was broken off, and not all of it could be taken back; `ogc sync` does that: %s", error
            )
    if scope.cancelled_caught:
        log.warning("a launch was broken off, and could not be taken back in time; `ogc sync` does the rest")


async def _withdraw(context: Context, claim: Claim) -> None:
    held = await claim.find()
    ledger = Ledger.of(context, claim.hold)
    unasked = [node for node in held if node.state is NodeState.PLANNED]
    failed = await move(ledger, unasked, NodeState.FAILED, came_from={NodeState.PLANNED}, reason=REASON)
    ended = {node.id for node in failed}
    begun = [node.id for node in held if node.state in LIVE and node.id not in ended]
    if begun and context.settings.ogc_on_cancel == "cleanup":
        result = await tear_down_nodes(begun, context, force=True, only_db=False, claim=claim)
        for error in (*result.failures, *result.leftovers):
            log.warning("taking back a launch: %s", error)
