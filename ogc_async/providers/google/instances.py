"""Machines on Compute Engine: a batch a call, under names of their own; described by zone; deleted one by one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ogc_async.aio.gather import gather_all, gather_bounded
from ogc_async.errors import InstanceDied, InvalidRequest, NotFound, ProviderError, ServiceUnavailable, TokenSpent
from ogc_async.providers.google.body import insert_body
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.described import asked_for, last_part, read_instance
from ogc_async.providers.google.errors import operation_error
from ogc_async.providers.google.tags import both, either, label_is
from ogc_async.settings import Settings
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure, LaunchRequest, Prepared
from ogc_async.types.launch import TAG_BATCH, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

CONDITIONS = 20
"""Above that many batches and names in a filter, a whole scope is listed instead: one short filter."""

INSERT_TIMEOUT_S = 300.0
"""A bulk insert shows every machine, or says why not, within minutes."""

APPEAR_S = 10.0
"""How long a machine whose name is taken already may not carry its labels in lists yet."""

REMEMBERED = 20_000
"""Machines whose end is remembered; the oldest are forgotten first."""

_ID = re.compile(r"(?P<zone>[a-z][-a-z0-9]*)/(?P<name>[a-z][-a-z0-9]*)")


@dataclass(slots=True)
class _Memory:
    """What this process knows of machines that a listing does not tell: what was there, and why it went."""

    zones: dict[str, str] = field(default_factory=dict)
    """Zone by batch token."""
    groups: dict[str, str] = field(default_factory=dict)
    """Operation group by batch token."""
    seen: dict[str, Instance] = field(default_factory=dict)
    """By id, as last seen in a list."""
    deleted: dict[str, bool] = field(default_factory=dict)
    """Ids that were asked to go."""

    def trim(self) -> None:
        """Forget the oldest of what there is too much of."""
        parts: tuple[dict[str, Any], ...] = (self.seen, self.deleted, self.zones, self.groups)
        for part in parts:
            for key in list(part)[: max(len(part) - REMEMBERED, 0)]:
                del part[key]


class Instances:
    """The instances of one project and region."""

    def __init__(self, client: GoogleClient, settings: Settings, *, default_zone: str | None) -> None:
        self._client = client
        self._settings = settings
        self._default_zone = default_zone
        self._memory = _Memory()

    def zone_of(self, request: LaunchRequest) -> str:
        """Where to launch. Raises :class:`~ogc_async.errors.InvalidRequest` where nothing says so."""
        zone = request.zone or self._default_zone
        if zone is None:
            raise _misplaced(request, f"no zone is named, and GOOGLE_DATACENTER is not in {self._client.region}")
        if not zone.startswith(f"{self._client.region}-"):
            raise _misplaced(request, f"zone {zone!r} is not in region {self._client.region!r}")
        return zone

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """One bulk insert for the whole batch: an answer a name, in order, once every machine shows or has failed."""
        zone = self.zone_of(request)
        self._memory.zones[request.token] = zone
        operation = await self._insert(request, prepared, zone)
        deadline = self._client.clock() + INSERT_TIMEOUT_S
        while True:
            is_done = operation is None or operation.get("status") == "DONE"
            found = await self._batch(request, zone)
            if is_done or all(name in found for name in request.names):
                break
            if self._client.clock() > deadline:
                raise _unfinished(operation)
            await self._client.sleep(self._settings.ogc_poll_s)
            operation = await self._client.call(
                "zoneOperations.get", zone=zone, operation=str((operation or {})["name"])
            )
        missing = [name for name in request.names if name not in found]
        if operation is None:
            found |= await self._appear(request, zone, missing)
        reasons = await self._reasons(zone, operation) if missing else {}
        summary = operation_error(operation, "instances.bulkInsert") if operation else _not_ours(zone)
        return [
            found.get(name) or _outcome(request, zone, name, reasons.get(name) or summary) for name in request.names
        ]

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """What there is of these batches and ids, a listing a zone; what was there and is no more is terminated."""
        by_zone, unplaced = self._places(request)
        listings = [(zone, self._filter(request, tokens, names)) for zone, (tokens, names) in by_zone.items()]
        found = await gather_all(lambda each: self._list(*each), listings, limit=len(listings) or 1)
        seen: dict[str, Instance] = {}
        for (zone, _), part in zip(listings, found, strict=True):
            seen |= part | await self._gone(request, zone, by_zone[zone], part)
        if unplaced:
            seen |= await self._list_region(self._filter(request, unplaced, []))
        is_asked = asked_for(request)
        return {instance_id: each for instance_id, each in seen.items() if is_asked(each)}

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with the owner's label that is there, in any zone of the region."""
        found = await self._list_region(label_is(TAG_OWNER, owner))
        return [each for each in found.values() if not each.state.is_gone]

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id, each by a call of its own."""
        ids = list(dict.fromkeys(instance_ids))
        answers = await gather_bounded(self._get, ids, limit=self._settings.ogc_max_api_calls, catch=ProviderError)
        return dict(zip(ids, answers, strict=True))

    async def list_layout(self, layout: str, *, owner: str, scope: str) -> list[Instance]:
        """Every machine of a layout that is there."""
        labels = ((TAG_OWNER, owner), (TAG_SCOPE, scope), (TAG_LAYOUT, layout))
        found = await self._list_region(both(label_is(tag, value) for tag, value in labels))
        return list(found.values())

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id: there is no call for many, so each is deleted by its own, side by side."""
        ids = list(dict.fromkeys(instance_ids))
        answers = await gather_bounded(self._delete, ids, limit=self._settings.ogc_max_api_calls, catch=ProviderError)
        return dict(zip(ids, answers, strict=True))

    async def _insert(self, request: LaunchRequest, prepared: Prepared, zone: str) -> Reply | None:
        """Begin the launch, or find the one that a former call has begun; ``None`` where its names are taken."""
        body = insert_body(request, prepared, self._settings.google_application_service_account)
        try:
            operation = await self._client.call(
                "instances.bulkInsert", zone=zone, query={"requestId": request.token}, body=body
            )
        except TokenSpent:
            # The names are there: ours, if they carry our batch's label, and that is looked at next.
            return None
        if operation.get("operationGroupId"):
            self._memory.groups[request.token] = str(operation["operationGroupId"])
        return operation

    async def _batch(self, request: LaunchRequest, zone: str) -> dict[str, Instance]:
        conditions = [label_is(TAG_SCOPE, request.scope), label_is(TAG_BATCH, request.token)]
        found = await self._list(zone, both(conditions))
        return {each.name: each for each in found.values() if each.name in request.names}

    async def _appear(self, request: LaunchRequest, zone: str, names: Sequence[str]) -> dict[str, Instance]:
        """The batch's machines of these names, once the zone's list shows them all, or after a while."""
        deadline = self._client.clock() + APPEAR_S
        found: dict[str, Instance] = {}
        while not all(name in found for name in names) and self._client.clock() < deadline:
            await self._client.sleep(self._settings.ogc_poll_s)
            found = await self._batch(request, zone)
        return found

    async def _list(self, zone: str, filter_: str) -> dict[str, Instance]:
        found = [
            read_instance(each)
            async for page in self._client.pages("instances.list", zone=zone, filter_=filter_)
            for each in page.get("items") or ()
        ]
        return self._noted(found)

    async def _list_region(self, filter_: str) -> dict[str, Instance]:
        scopes: list[tuple[str, Mapping[str, Any]]] = [
            item
            async for page in self._client.pages("instances.aggregatedList", filter_=filter_)
            for item in (page.get("items") or {}).items()
        ]
        here = f"zones/{self._client.region}-"
        found = [
            read_instance(each)
            for scope, part in scopes
            if scope.startswith(here)
            for each in part.get("instances") or ()
        ]
        return self._noted(found)

    def _noted(self, found: Iterable[Instance]) -> dict[str, Instance]:
        by_id = {each.id: self._as_ending(each) for each in found}
        self._memory.seen |= by_id
        self._memory.zones |= {each.token: each.zone for each in by_id.values()}
        self._memory.trim()
        return by_id

    def _as_ending(self, instance: Instance) -> Instance:
        """One that we have deleted is on its way out, whatever it still looks like."""
        return replace(instance, state=InstanceState.TERMINATING) if instance.id in self._memory.deleted else instance

    async def _gone(
        self, request: DescribeRequest, zone: str, asked: tuple[list[str], list[str]], found: Mapping[str, Instance]
    ) -> dict[str, Instance]:
        """Machines that were there, are asked for, and are in the zone's list no more."""
        tokens, names = map(set, asked)
        missing = [
            each
            for each in self._memory.seen.values()
            if each.zone == zone
            and each.id not in found
            and (each.name in names or each.token in tokens)
            and each.state is not InstanceState.TERMINATED
        ]
        missing += [
            _ended(f"{zone}/{name}")
            for name in names
            if f"{zone}/{name}" in self._memory.deleted and f"{zone}/{name}" not in {*found, *self._memory.seen}
        ]
        gone = {each.id: await self._explain(each) for each in missing}
        self._memory.seen |= {key: each for key, each in gone.items() if each.state is InstanceState.TERMINATED}
        again = [
            each
            for each in self._memory.seen.values()
            if each.state is InstanceState.TERMINATED and each.zone == zone and each.id not in found
        ]
        return {each.id: each for each in again} | gone

    async def _explain(self, instance: Instance) -> Instance:
        """Why a machine is in no list any more; nobody's wish but ours needs no second look."""
        ended = replace(instance, state=InstanceState.TERMINATED)
        if instance.id in self._memory.deleted:
            return ended
        try:
            described = await self._client.call("instances.get", zone=instance.zone, instance=instance.name)
        except NotFound:
            operation = {"operationGroupId": self._memory.groups.get(instance.token, "")}
            reason = (await self._reasons(instance.zone, operation)).get(instance.name)
            error = reason or InstanceDied(
                f"{instance.name} is gone, and nobody here ended it", provider=PROVIDER, operation="instances.get"
            )
            return replace(ended, reason=f"{error.code or 'gone'}: {error.message}", error=error)
        return read_instance(described)

    async def _reasons(self, zone: str, operation: Mapping[str, Any] | None) -> dict[str, ProviderError]:
        """Why machines of a bulk insert failed, each by its name: the errors of its operation's children."""
        group = (operation or {}).get("operationGroupId")
        if not group:
            return {}
        filter_ = both(["operationType = insert", f'operationGroupId = "{group}"'])
        pages = self._client.pages("zoneOperations.list", zone=zone, filter_=filter_)
        children = [each async for page in pages for each in page.get("items") or ()]
        errors = {
            last_part(str(each.get("targetLink", ""))): operation_error(each, "instances.insert") for each in children
        }
        return {name: error for name, error in errors.items() if error is not None}

    async def _get(self, instance_id: str) -> Instance:
        zone, _, name = instance_id.partition("/")
        try:
            return read_instance(await self._client.call("instances.get", zone=zone, instance=name))
        except NotFound:
            return _ended(instance_id)

    async def _delete(self, instance_id: str) -> Instance:
        match = _ID.fullmatch(instance_id)
        if match is None:
            message = f"{instance_id!r} is no instance of Compute Engine: those are written zone/name"
            raise InvalidRequest(message, provider=PROVIDER, operation="instances.delete")
        try:
            await self._client.call("instances.delete", zone=match["zone"], instance=match["name"])
        except NotFound:
            return _ended(instance_id)
        self._memory.deleted[instance_id] = True
        return replace(_ended(instance_id), state=InstanceState.TERMINATING)

    def _places(self, request: DescribeRequest) -> tuple[dict[str, tuple[list[str], list[str]]], list[str]]:
        """Batches and names by zone, and the batches that another process launched: they may be anywhere."""
        by_zone: dict[str, tuple[list[str], list[str]]] = {}
        unplaced: list[str] = []
        for token in request.tokens:
            zone = self._memory.zones.get(token)
            if zone is None:
                unplaced.append(token)
            else:
                by_zone.setdefault(zone, ([], []))[0].append(token)
        for instance_id in request.instance_ids:
            zone, _, name = instance_id.partition("/")
            if name:
                by_zone.setdefault(zone, ([], []))[1].append(name)
        return by_zone, unplaced

    def _filter(self, request: DescribeRequest, tokens: Sequence[str], names: Sequence[str]) -> str:
        ours = [label_is(TAG_OWNER, request.owner), label_is(TAG_SCOPE, request.scope)]
        wanted = [label_is(TAG_BATCH, token) for token in tokens] + [f"name = {name}" for name in names]
        return both([*ours, either(wanted)] if len(wanted) <= CONDITIONS else ours)


def _misplaced(request: LaunchRequest, why: str) -> InvalidRequest:
    message = f"layout {request.layout!r}: {why}; set its region and zones, or GOOGLE_DATACENTER"
    return InvalidRequest(message, provider=PROVIDER, operation="instances.bulkInsert")


def _unfinished(operation: Mapping[str, Any] | None) -> ServiceUnavailable:
    name = (operation or {}).get("name")
    message = f"operation {name} shows neither machines nor errors after {INSERT_TIMEOUT_S:g} s"
    return ServiceUnavailable(message, provider=PROVIDER, operation="instances.bulkInsert", retryable=True)


def _outcome(request: LaunchRequest, zone: str, name: str, error: ProviderError | None) -> Instance | LaunchFailure:
    """Of a name that no list shows. Its operation went well: it is there, and too young to be shown."""
    if error is not None:
        return LaunchFailure(name, error)
    instance_id, state = f"{zone}/{name}", InstanceState.PENDING
    return Instance(id=instance_id, state=state, token=request.token, launch_index=-1, zone=zone, name=name)


def _not_ours(zone: str) -> ProviderError:
    message = f"a machine of that name exists in {zone} and is not of this launch; launch again for another name"
    return InvalidRequest(message, provider=PROVIDER, operation="instances.bulkInsert", code="alreadyExists")


def _ended(instance_id: str) -> Instance:
    zone, _, name = instance_id.partition("/")
    return Instance(id=instance_id, state=InstanceState.TERMINATED, token="", launch_index=-1, zone=zone, name=name)
