"""Where in the project an owner's machines are, or disks that they left."""

from __future__ import annotations

from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.listing import check_whole
from ogc_async.providers.google.tags import label_is
from ogc_async.types.launch import TAG_OWNER

LISTS = {"instances.aggregatedList": "instances", "disks.aggregatedList": "disks"}
"""What is looked through, a call each, and what their scopes hold."""


async def find_regions(client: GoogleClient, owner: str) -> list[str]:
    """The regions where lists of all zones show something with the owner's label, sorted.

    A list that is not whole is an error, wherever it lacks something.
    """
    found: set[str] = set()
    for operation, what in LISTS.items():
        async for page in client.pages(operation, filter_=label_is(TAG_OWNER, owner)):
            check_whole(operation, page, None)
            found |= {region_of(scope) for scope, part in (page.get("items") or {}).items() if part.get(what)}
    return sorted(found)


def region_of(scope: str) -> str:
    """The region of a list's scope: ``zones/us-central1-a`` and ``regions/us-central1`` are both in us-central1."""
    kind, _, name = scope.partition("/")
    return name.rpartition("-")[0] if kind == "zones" else name
