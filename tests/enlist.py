"""Nodes on record for servers that no cloud launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from ogc_async.db import Engine
from ogc_async.db.claims import release_nodes
from ogc_async.db.holds import Hold
from ogc_async.db.moves import asked, move_nodes, running
from ogc_async.db.nodes import NodeDraft, plan_nodes
from ogc_async.db.users import current_user
from ogc_async.spec import Layout
from ogc_async.types import Instance, InstanceState
from tests.openssh import Host

WORKER = "enlists"


async def enlist(
    engine: Engine, hosts: Sequence[Host], layout: Layout | Mapping[str, Any], *, public_ip: str | None = None
) -> list[int]:
    """Put a running node on record for each host, of one layout; their ids, in order.

    ``public_ip`` stands in place of the hosts' own address, which is their private one in any case.
    """
    layout = Layout.of(layout)
    user = await current_user(engine)
    token = uuid4().hex
    drafts = [
        NodeDraft(
            name=f"ogc-{layout.name}-{host.address.replace('.', '-')}",
            layout=layout.name,
            provider=layout.provider,
            region="nowhere-1",
            token=token,
            launch_index=number,
            username=host.username,
            ssh_port=host.port,
            tags=layout.tags,
            spec=layout.as_dict(),
            worker=WORKER,
            claimed_for="launch",
        )
        for number, host in enumerate(hosts)
    ]
    ids = [node.id for node in await plan_nodes(engine, user.id, drafts)]
    hold = Hold(WORKER, dict.fromkeys(ids, 1))
    await move_nodes(engine, ids, asked(), hold)
    machines = [_machine(host, token, number, public_ip) for number, host in enumerate(hosts)]
    await move_nodes(engine, ids, running(dict(zip(ids, machines, strict=True))), hold)
    await release_nodes(engine, [hold])
    return ids


def _machine(host: Host, token: str, number: int, public_ip: str | None) -> Instance:
    return Instance(
        id=f"i-{host.address}",
        state=InstanceState.RUNNING,
        token=token,
        launch_index=number,
        public_ip=public_ip or host.address,
        private_ip=host.address,
    )
