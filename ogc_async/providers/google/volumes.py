"""Disks that outlived their machines: found by their labels, and deleted. Their ids, here, are ``zone/name``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ogc_async.aio.gather import gather_bounded
from ogc_async.errors import NotFound, ProviderError, Unauthorized
from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.described import zone_and_name
from ogc_async.providers.google.errors import is_missing
from ogc_async.providers.google.listing import check_whole
from ogc_async.providers.google.operations import finish
from ogc_async.providers.google.tags import both, label_is, tags_of
from ogc_async.types import Volume
from ogc_async.types.launch import TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

log = logging.getLogger(__name__)

AT_ONCE = 10
"""Disks that are deleted side by side: each deletion is followed to its end."""


async def list_volumes(client: GoogleClient, *, owner: str, scope: str | None) -> list[Volume]:
    """Those of every layout, in any zone of the region, that no machine has; of every database without a scope."""
    return await _search(client, {TAG_OWNER: owner} | ({} if scope is None else {TAG_SCOPE: scope}))


async def delete_volume(client: GoogleClient, volume_id: str) -> None:
    """Delete it, and wait until that is done; one that is gone already is fine."""
    zone, name = zone_and_name(volume_id, "disks.delete", "disk")
    try:
        begun = await client.call("disks.delete", zone=zone, disk=name)
        await finish(client, begun, "disks.delete", zone=zone)
    except NotFound as error:
        if not is_missing(error, f"zones/{zone}/disks/{name}"):
            raise


async def delete_volumes(client: GoogleClient, layout: str, *, owner: str, scope: str) -> None:
    """Delete what the layout's machines left; the first error is raised, once all others are deleted.

    Credentials that may not look for disks have none to delete: Compute Engine deletes them with their machines, and
    there is something to be found only after a change from outside.
    """
    try:
        left = await _search(client, {TAG_OWNER: owner, TAG_SCOPE: scope, TAG_LAYOUT: layout})
    except Unauthorized as error:
        log.info("leftover disks are not looked for: %s", error)
        return
    answers = await gather_bounded(
        lambda each: delete_volume(client, each.id), left, limit=AT_ONCE, catch=ProviderError
    )
    failed = {each.id: answer for each, answer in zip(left, answers, strict=True) if answer is not None}
    if failed:
        raise _left(failed)


def _left(failed: Mapping[str, ProviderError]) -> ProviderError:
    first = next(iter(failed.values()))
    message = f"disks left: {', '.join(failed)}: {first.message}"
    return type(first)(
        message, provider=PROVIDER, operation=first.operation, code=first.code, retryable=first.retryable
    )


async def _search(client: GoogleClient, tags: Mapping[str, str]) -> list[Volume]:
    here = f"zones/{client.region}-"
    filter_ = both(label_is(tag, value) for tag, value in tags.items())
    found: list[Volume] = []
    async for page in client.pages("disks.aggregatedList", filter_=filter_):
        check_whole("disks.aggregatedList", page, client.region)
        for scope, part in (page.get("items") or {}).items():
            if scope.startswith(here):
                zone = scope.removeprefix("zones/")
                found += [_read(zone, each) for each in part.get("disks") or () if _is_left(each)]
    return found


def _is_left(described: Mapping[str, Any]) -> bool:
    """No machine has it. One that is still made, or already deleted, is somebody's work under way."""
    return described["status"] == "READY" and not described.get("users")


def _read(zone: str, described: Mapping[str, Any]) -> Volume:
    tags = tags_of(described.get("labels") or {})
    size_gib = int(described.get("sizeGb") or 0)
    return Volume(f"{zone}/{described['name']}", tags.get(TAG_LAYOUT, ""), size_gib, tags.get(TAG_SCOPE, ""))
