"""The host keys on record, for other programs to verify nodes by."""

from __future__ import annotations

from collections.abc import Sequence

from ogc_async.actions.context import Context
from ogc_async.db.nodes import find_nodes, get_nodes
from ogc_async.ssh.hostkeys import known_hosts_line
from ogc_async.types import NodeState


async def known_hosts_of(node_ids: Sequence[int] | None, context: Context) -> str:
    """A line for each address of each node whose host key is on record; without ids, of every node that runs.

    The key is the node's, not its address's: a machine that is gone has no line, and its address may be another's.
    """
    running = {NodeState.RUNNING}
    nodes = await (
        find_nodes(context.engine, states=running) if node_ids is None else get_nodes(context.engine, node_ids)
    )
    lines = [
        known_hosts_line(address, node.ssh_port, node.host_key)
        for node in nodes
        if node.host_key is not None and node.state in running
        for address in dict.fromkeys((node.public_ip, node.private_ip))
        if address is not None
    ]
    return "".join(f"{line}\n" for line in lines)
