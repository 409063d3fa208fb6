"""What lists and lookups show of a project's machines, whole or not at all, and what this process remembers of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from ogc_async.errors import NotFound, ProviderError
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.described import ended_instance, last_part, read_instance
from ogc_async.providers.google.errors import insert_error, is_missing, unreadable
from ogc_async.providers.google.replies import unreached
from ogc_async.providers.google.tags import both
from ogc_async.types import Instance

REMEMBERED = 20_000
"""Machines whose end is remembered; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that was begun: its operation's name, when by the client's clock, and why it failed, if it did."""

    operation: str
    at: float
    error: ProviderError | None = None


@dataclass(slots=True)
class Memory:
    """What this process knows of machines that a listing does not tell: what was there, and why it went."""

    zones: dict[str, str] = field(default_factory=dict)
    """Zone by batch token."""
    groups: dict[str, str] = field(default_factory=dict)
    """Operation group by batch token."""
    seen: dict[str, Instance] = field(default_factory=dict)
    """By id, as last seen in a list."""
    deleted: dict[str, Deletion] = field(default_factory=dict)
    """By id: machines that were asked to go."""
    unseen: dict[str, float] = field(default_factory=dict)
    """By id: machines that were asked for and never seen, and when by the client's clock."""

    def trim(self) -> None:
        """Forget the oldest of what there is too much of."""
        parts: tuple[dict[str, Any], ...] = (self.seen, self.deleted, self.unseen, self.zones, self.groups)
        for part in parts:
            for key in list(part)[: max(len(part) - REMEMBERED, 0)]:
                del part[key]


class Listing:
    """The machines of one project and region, by zone, by region, or by id. A list that is not whole is an error."""

    def __init__(self, client: GoogleClient) -> None:
        self._client = client
        self.memory = Memory()

    async def zone(self, zone: str, filter_: str) -> dict[str, Instance]:
        """A zone's machines that the filter lets through, by id."""
        return self._noted(await self._items("instances.list", zone, filter_))

    async def region(self, filter_: str) -> dict[str, Instance]:
        """The machines of all zones of the region."""
        here = f"zones/{self._client.region}-"
        found: list[Reply] = []
        async for page in self._client.pages("instances.aggregatedList", filter_=filter_):
            check_whole("instances.aggregatedList", page, self._client.region)
            for scope, part in (page.get("items") or {}).items():
                found += (part.get("instances") or ()) if scope.startswith(here) else ()
        return self._noted(found)

    async def get(self, instance_id: str) -> Instance:
        """One machine, by its own name: terminated where Compute Engine says that this machine does not exist."""
        zone, _, name = instance_id.partition("/")
        try:
            described = await self._client.call("instances.get", zone=zone, instance=name)
        except NotFound as error:
            if is_missing(error, f"zones/{zone}/instances/{name}"):
                return ended_instance(instance_id)
            raise
        found = self._read(described)
        if found.id != instance_id:
            raise unreadable("instances.get", f"{found.id} where {instance_id} was asked for", HTTPStatus.OK)
        return found

    async def causes(self, zone: str, group: str) -> dict[str, ProviderError]:
        """Why machines of a bulk insert failed, each by its name: the errors of its operation's children."""
        if not group:
            return {}
        filter_ = both(["operationType = insert", f'operationGroupId = "{group}"'])
        children = await self._items("zoneOperations.list", zone, filter_)
        errors = {
            last_part(str(each.get("targetLink", ""))): insert_error(each, "instances.insert") for each in children
        }
        return {name: error for name, error in errors.items() if error is not None}

    async def _items(self, operation: str, zone: str, filter_: str) -> list[Reply]:
        items: list[Reply] = []
        async for page in self._client.pages(operation, zone=zone, filter_=filter_):
            check_whole(operation, page, self._client.region)
            items += page.get("items") or ()
        return items

    def _noted(self, described: Iterable[Mapping[str, Any]]) -> dict[str, Instance]:
        by_id = {each.id: each for each in map(self._read, described)}
        self.memory.seen |= by_id
        self.memory.zones |= {each.token: each.zone for each in by_id.values()}
        self.memory.trim()
        return by_id

    def _read(self, described: Mapping[str, Any]) -> Instance:
        instance = read_instance(described)
        return instance if instance.account else replace(instance, account=self._client.account)


def check_whole(operation: str, page: Mapping[str, Any], region: str | None) -> None:
    """Raises :class:`~ogc_async.errors.UnreadableReply` where a page lacks what there is in the region, or in any."""
    beyond = unreached(page, region)
    if beyond:
        raise unreadable(operation, f"a list that is not whole: {beyond}", HTTPStatus.OK)
