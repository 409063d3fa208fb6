"""Ours after a crash: one ``sync`` once the dead process's lease is over, then a teardown of all that is on record."""

from __future__ import annotations

import asyncio
from typing import Any

from ours import application  # beside this file

from ogc_async import actions
from ogc_async.types import LIVE


def race(job: dict[str, Any], _: None) -> int:
    """How many nodes are on record after the sync."""
    return asyncio.run(_mend(job))


async def _mend(job: dict[str, Any]) -> int:
    async with application(job) as app:
        await asyncio.sleep(app.settings.ogc_lease_s)
        await actions.sync_async(app=app)
        nodes = [node.id for node in await actions.nodes_async(states=LIVE, app=app)]
        result = await actions.teardown_async(nodes, force=True, app=app)
        result.raise_for_failures()
        return len(nodes)
