"""The end of a machine's life, put off: what Compute Engine keeps, and what the machine's label says of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil
from typing import Any

from ogc_async.errors import InvalidRequest
from ogc_async.providers.google.body import TTL_S
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.described import read_instance, zone_and_name
from ogc_async.providers.google.errors import is_overtaken, unreadable
from ogc_async.providers.google.operations import finish
from ogc_async.providers.google.tags import label_key
from ogc_async.types import Instance, InstanceState
from ogc_async.types.carried import end_tag
from ogc_async.types.launch import TAG_ENDS

SETTLE_S = 30.0
"""How long others may be in the way of new labels."""

SET = "instances.setScheduling"


async def move_end(client: GoogleClient, instance_id: str, ends_at: datetime, *, now: datetime) -> None:
    """Limit a machine that stands still to what is left until ``ends_at``, and write that moment on it.

    Compute Engine changes the limit of a stopped machine only
    (https://docs.cloud.google.com/compute/docs/reference/rest/v1/instances/setScheduling), and counts it from the
    machine's next start (https://docs.cloud.google.com/compute/docs/instances/limit-vm-runtime): it ends as much later
    as it stands still from now on. A time of day would be exact, and over at the start after that.

    Raises :class:`~ogc_async.errors.InvalidRequest` for a machine that does not stand still, unless it ends just then
    already, and :class:`~ogc_async.errors.NotFound` for one that is not there.
    """
    zone, name = zone_and_name(instance_id, SET)

    async def once() -> None:
        described = await client.call("instances.get", zone=zone, instance=name)
        machine = read_instance(described)
        if machine.id != instance_id:
            raise unreadable("instances.get", f"{machine.id} where {instance_id} was asked for", HTTPStatus.OK)
        if not ends_then(machine, ends_at):
            body = limited(machine, described.get("scheduling") or {}, ends_at - now)
            await finish(client, await client.call(SET, zone=zone, instance=name, body=body), SET, zone=zone)
        await _label(client, zone, described, ends_at)

    # Others may label it meanwhile: it is read again then.
    await client.retry(once, is_overtaken, SETTLE_S)


def ends_then(machine: Instance, ends_at: datetime) -> bool:
    """The machine is not stopped, and Compute Engine says already that it ends then, to the second."""
    is_stopped = machine.state is InstanceState.STOPPED
    return not is_stopped and machine.ends_at is not None and abs(machine.ends_at - ends_at) < timedelta(seconds=1)


def limited(machine: Instance, scheduling: Mapping[str, Any], life: timedelta) -> Reply:
    """The machine's scheduling with a life of that length from its next start on; all else stays as it is.

    Raises :class:`~ogc_async.errors.InvalidRequest` where Compute Engine would not take it.
    """
    if machine.state is not InstanceState.STOPPED:
        message = (
            f"Compute Engine changes the time limit of a stopped machine only, and {machine.id} is {machine.state}: "
            "stop it, move its end, and start it again"
        )
        raise InvalidRequest(message, provider=PROVIDER, operation=SET, code="notStopped")
    seconds = ceil(life.total_seconds())
    if not TTL_S[0] <= seconds <= TTL_S[1]:
        message = f"{machine.id} would live {seconds} s more; Compute Engine keeps limits of 30 seconds to 120 days"
        raise InvalidRequest(message, provider=PROVIDER, operation=SET, code="outOfRange")
    body: Reply = {"instanceTerminationAction": "STOP", **scheduling, "maxRunDuration": {"seconds": str(seconds)}}
    # A machine has one limit, and what is merely left out of the call may stay.
    return body | ({"terminationTime": None} if "terminationTime" in scheduling else {})


async def _label(client: GoogleClient, zone: str, described: Reply, ends_at: datetime) -> None:
    there: Mapping[str, str] = described.get("labels") or {}
    labels = {**there, label_key(TAG_ENDS): end_tag(ends_at)}
    if labels == there:
        return
    body: Reply = {"labels": labels, "labelFingerprint": described.get("labelFingerprint", "")}
    begun = await client.call("instances.setLabels", zone=zone, instance=str(described["name"]), body=body)
    await finish(client, begun, "instances.setLabels", zone=zone)
