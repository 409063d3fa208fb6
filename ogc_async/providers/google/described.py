"""What Compute Engine says of a machine, as ours, and which machines a request means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ogc_async.errors import InvalidRequest
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.tags import label_value, tags_of
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchRequest, Market
from ogc_async.types.launch import TAG_BATCH, TAG_OWNER, TAG_SCOPE

STATES = {
    "PENDING": InstanceState.PENDING,
    "PROVISIONING": InstanceState.PENDING,
    "STAGING": InstanceState.PENDING,
    "REPAIRING": InstanceState.PENDING,
    "RUNNING": InstanceState.RUNNING,
    "PENDING_STOP": InstanceState.STOPPING,
    "STOPPING": InstanceState.STOPPING,
    "SUSPENDING": InstanceState.STOPPING,
    "SUSPENDED": InstanceState.STOPPED,
    "STOPPED": InstanceState.STOPPED,
    "TERMINATED": InstanceState.STOPPED,
    "DEPROVISIONING": InstanceState.TERMINATING,
}
"""Compute Engine's ``TERMINATED`` is a machine that stands still; one that is gone is in no list."""

_ID = re.compile(r"(?P<zone>[a-z][-a-z0-9]*)/(?P<name>[a-z][-a-z0-9]*)")
_PROJECT = re.compile(r"/projects/(?P<project>[^/]+)/zones/")


def read_instance(described: Mapping[str, Any]) -> Instance:
    """An instance as Compute Engine describes it. Its id, here, is ``zone/name``; it has no place in its batch."""
    labels = tags_of(described.get("labels") or {})
    zone, name = last_part(str(described.get("zone", ""))), str(described["name"])
    interface: Mapping[str, Any] = next(iter(described.get("networkInterfaces") or ()), {})
    access: Mapping[str, Any] = next(iter(interface.get("accessConfigs") or ()), {})
    state = STATES.get(str(described.get("status")), InstanceState.PENDING)
    return Instance(
        id=f"{zone}/{name}",
        state=state,
        token=labels.get(TAG_BATCH, ""),
        launch_index=-1,
        zone=zone,
        name=name,
        public_ip=access.get("natIP") or None,
        private_ip=interface.get("networkIP") or None,
        reason=str(described.get("statusMessage") or ""),
        tags=labels,
        launched_at=_moment(described.get("creationTimestamp")),
        account=_project_of(described),
        size=last_part(str(described.get("machineType", ""))),
        market=_market_of(described.get("scheduling")),
        ends_at=_end_of(described),
        ended_at=_stopped_at(described) if state is InstanceState.STOPPED else None,
    )


def pending_instance(request: LaunchRequest, zone: str, name: str, account: str) -> Instance:
    """A machine that a launch call has asked for, and that nobody has seen yet."""
    return Instance(
        id=f"{zone}/{name}",
        state=InstanceState.PENDING,
        token=request.token,
        launch_index=-1,
        zone=zone,
        name=name,
        account=account,
    )


def ended_instance(instance_id: str) -> Instance:
    """A machine that does not exist (any more)."""
    zone, _, name = instance_id.partition("/")
    return Instance(
        id=instance_id,
        state=InstanceState.TERMINATED,
        token="",
        launch_index=-1,
        zone=zone,
        name=name,
        is_known=False,
    )


def asked_for(request: DescribeRequest) -> Callable[[Instance], bool]:
    """Whether an instance is one of those that the request means; made once, for a list of thousands."""
    owner, scope = label_value(request.owner), label_value(request.scope)
    ids, tokens = frozenset(request.instance_ids), frozenset(request.tokens)

    def is_asked(instance: Instance) -> bool:
        tags = instance.tags
        is_ours = not tags or (tags.get(TAG_OWNER) == owner and tags.get(TAG_SCOPE) == scope)
        return is_ours and (instance.id in ids or instance.token in tokens)

    return is_asked


def last_part(url: str) -> str:
    """What a resource's URL ends in: its name."""
    return url.rpartition("/")[2]


def zone_and_name(given: str, operation: str, what: str = "instance") -> tuple[str, str]:
    """The two parts of an id. Raises :class:`~ogc_async.errors.InvalidRequest` for what is no id."""
    match = _ID.fullmatch(given)
    if match is None:
        message = f"{given!r} is no {what} of Compute Engine: those are written zone/name"
        raise InvalidRequest(message, provider=PROVIDER, operation=operation)
    return match["zone"], match["name"]


def _market_of(scheduling: Mapping[str, Any] | None) -> Market | None:
    if scheduling is None:
        return None
    is_spot = scheduling.get("provisioningModel") == "SPOT" or scheduling.get("preemptible")
    return Market.SPOT if is_spot else Market.ON_DEMAND


def _end_of(described: Mapping[str, Any]) -> datetime | None:
    """When Compute Engine will end or stop it: by its own word while it runs, else by what it was told."""
    status: Mapping[str, Any] = (described.get("resourceStatus") or {}).get("scheduling") or {}
    told: Mapping[str, Any] = described.get("scheduling") or {}
    return _moment(status.get("terminationTimestamp")) or _moment(told.get("terminationTime"))


def _stopped_at(described: Mapping[str, Any]) -> datetime | None:
    is_suspended = described.get("status") == "SUSPENDED"
    return _moment(described.get("lastSuspendedTimestamp" if is_suspended else "lastStopTimestamp"))


def _project_of(described: Mapping[str, Any]) -> str:
    """The project that the machine is in, by the URLs in its own description."""
    urls = (str(described.get(key, "")) for key in ("selfLink", "zone"))
    found = next(filter(None, map(_PROJECT.search, urls)), None)
    return found["project"] if found else ""


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        told = datetime.fromisoformat(text)
        return told.astimezone(UTC) if told.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
