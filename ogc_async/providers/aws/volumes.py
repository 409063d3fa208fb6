"""Volumes that outlived their machines: found by their tags, and deleted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ogc_async.errors import NotFound, ProviderError, Unauthorized
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import PROVIDER
from ogc_async.providers.aws.tags import layout_tags, read_tags, tag_filters
from ogc_async.types import Volume
from ogc_async.types.launch import TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

log = logging.getLogger(__name__)

PAGE = 500
"""The most that DescribeVolumes gives at once."""


async def list_volumes(client: AwsClient, *, owner: str, scope: str | None) -> list[Volume]:
    """Those of every layout that no machine has; of every database where no scope is given."""
    return await _search(client, {TAG_OWNER: owner} | ({} if scope is None else {TAG_SCOPE: scope}))


async def delete_volume(client: AwsClient, volume_id: str) -> None:
    """Delete it; one that is gone already is fine."""
    try:
        await client.call("DeleteVolume", VolumeId=volume_id)
    except NotFound:
        return


async def delete_volumes(client: AwsClient, layout: str, *, owner: str, scope: str) -> None:
    """Delete what the layout's machines left; the first error is raised, once all others are deleted.

    Credentials that may not look for volumes have none to delete: EC2 deletes them with their machines, and there is
    something to be found only after a change from outside.
    """
    try:
        left = await _search(client, layout_tags(owner, scope, layout))
    except Unauthorized as error:
        log.info("leftover volumes are not looked for: %s", error)
        return
    failed: dict[str, ProviderError] = {}
    for each in left:
        try:
            await delete_volume(client, each.id)
        except ProviderError as error:
            failed[each.id] = error
    if failed:
        raise _left(failed)


def _left(failed: Mapping[str, ProviderError]) -> ProviderError:
    first = next(iter(failed.values()))
    message = f"volumes left: {', '.join(failed)}: {first.message}"
    return type(first)(
        message,
        provider=PROVIDER,
        operation=first.operation,
        code=first.code,
        request_id=first.request_id,
        retryable=first.retryable,
    )


async def _search(client: AwsClient, tags: Mapping[str, str]) -> list[Volume]:
    pages = client.pages("DescribeVolumes", "Volumes", Filters=tag_filters(tags), MaxResults=PAGE)
    # A volume in use goes with its machine.
    return [_read(each) async for page in pages for each in page if each["State"] == "available"]


def _read(described: Mapping[str, Any]) -> Volume:
    tags = read_tags(described)
    size_gib = int(described.get("Size") or 0)
    return Volume(described["VolumeId"], tags.get(TAG_LAYOUT, ""), size_gib, tags.get(TAG_SCOPE, ""))
