"""From a batch to the request that a provider takes."""

from __future__ import annotations

from datetime import datetime

from ogc_async.plan.batches import Batch, offers
from ogc_async.spec import Layout
from ogc_async.types import HostKey, LaunchRequest, Then


def launch_request(
    batch: Batch,
    layout: Layout,
    *,
    owner: str,
    scope: str,
    public_key: str,
    ssh_port: int,
    host_key: HostKey | None = None,
    ends_at: datetime | None = None,
) -> LaunchRequest:
    """The request for ``batch``, which is one of ``layout``'s: equal arguments make equal requests."""
    if batch.layout != layout.name:
        raise ValueError(f"the batch is of layout {batch.layout!r}, not {layout.name!r}")
    offer = batch.offer or offers(layout)[0]
    return LaunchRequest(
        owner=owner,
        scope=scope,
        layout=layout.name,
        names=batch.names,
        token=batch.token,
        runs_on=layout.runs_on,
        instance_size=offer.size,
        public_key=public_key,
        arch=layout.arch,
        username=layout.username,
        zone=offer.zone,
        ports=layout.ports,
        ingress=layout.ingress,
        ssh_port=ssh_port,
        spot=layout.spot,
        ttl=layout.ttl,
        stops_at_end=layout.ttl is not None and layout.ttl.then is Then.STOP,
        ends_at=ends_at,
        disk_size_gib=layout.disk_size,
        tags=layout.tags,
        labels=layout.labels,
        host_key=host_key,
        # Behind a jump host, a machine is reached as well without one.
        wants_public_ip=True if layout.address == "public" and layout.jump_host is None else None,
    )
