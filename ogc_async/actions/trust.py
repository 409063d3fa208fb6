"""Which host keys are trusted: by the cloud's word at first contact, and by the record for other programs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio

from ogc_async.actions.context import Context
from ogc_async.db.nodes import find_nodes, get_nodes
from ogc_async.errors import HostKeyChanged, ProviderError, SettingsError
from ogc_async.plan import rows
from ogc_async.providers.base import PublishesHostKeys
from ogc_async.ssh.connection import Session
from ogc_async.ssh.hostkeys import fingerprint, known_hosts_line
from ogc_async.types import NodeSnapshot, NodeState

log = logging.getLogger(__name__)

PUBLISHING = frozenset({"google"})
"""Clouds that are worth a question; the others' providers need not even be opened."""

TRIES = 3
PAUSE_S = 1.0
"""sshd may answer a little before the guest agent has published its keys."""


async def check_published(node: NodeSnapshot, session: Session, context: Context) -> None:
    """Compare the host key of a first contact with what the cloud says. Raises ``HostKeyChanged`` where they differ.

    Nothing was sent to the node yet. A cloud that does not know leaves the key to be pinned as it was shown.
    """
    keys = await _published(node, context)
    if keys and session.host_key not in keys:
        said = ", ".join(map(fingerprint, keys))
        raise HostKeyChanged(
            node.name,
            f"shows host key {fingerprint(session.host_key)}, its machine has published {said}; another machine may "
            "answer there",
        )


async def _published(node: NodeSnapshot, context: Context) -> tuple[str, ...]:
    if node.provider not in PUBLISHING or node.instance_id is None:
        return ()
    try:
        provider = context.providers.unshared(node.provider, node.region)
    except SettingsError as error:
        # Work over SSH needs no cloud: without its word, the key is pinned as it is shown.
        log.warning("%s: its host key is pinned at first contact, the cloud was not asked: %s", node.name, error)
        return ()
    if not isinstance(provider, PublishesHostKeys):
        return ()
    if node.is_foreign_to(account := await provider.account()):
        log.warning("%s: its host key is pinned at first contact, account %s is not asked", node.name, account)
        return ()
    for attempt in range(TRIES):
        if attempt:
            await anyio.sleep(PAUSE_S)
        try:
            keys = await provider.published_host_keys(node.instance_id)
        except ProviderError as error:
            log.warning("%s: its host key is pinned at first contact, the cloud did not tell it: %s", node.name, error)
            return ()
        if keys:
            return keys
    return ()


async def known_hosts_of(node_ids: Sequence[int] | None, context: Context) -> str:
    """A line for each address of each node whose host key is on record; without ids, of every node that runs.

    The key is the node's, not its address's: a machine that is gone has no line, and its address may be another's.
    Raises ``UnfitRecord`` where a row would write a line that means something else.
    """
    running = {NodeState.RUNNING}
    nodes = await (
        find_nodes(context.engine, states=running) if node_ids is None else get_nodes(context.engine, node_ids)
    )
    pinned = [node for node in nodes if node.host_key is not None and node.state in running]
    for node in pinned:
        rows.check(node, "public_ip", "private_ip", "ssh_port", "host_key")
    lines = [
        known_hosts_line(address, node.ssh_port, node.host_key)
        for node in pinned
        if node.host_key is not None
        for address in dict.fromkeys((node.public_ip, node.private_ip))
        if address is not None
    ]
    return "".join(f"{line}\n" for line in lines)
