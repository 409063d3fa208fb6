"""Machines on Compute Engine: a batch a call, under names of their own; described by zone; deleted one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf

from ogc_async.aio.gather import gather_all, gather_bounded
from ogc_async.errors import InstanceDied, InvalidRequest, NotFound, ProviderError, ServiceUnavailable
from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.described import asked_for, ended_instance, zone_and_name
from ogc_async.providers.google.errors import is_missing, operation_error
from ogc_async.providers.google.launching import Launching
from ogc_async.providers.google.listing import Deletion, Listing
from ogc_async.providers.google.tags import both, either, label_is
from ogc_async.settings import Settings
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure, LaunchRequest, Prepared
from ogc_async.types.launch import TAG_BATCH, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

CONDITIONS = 20
"""Above that many batches and names in a filter, a whole scope is listed instead: one short filter."""

DELETED_S = 10.0
"""A machine that does not look deleted so long after its deletion was begun is one whose deletion may have failed."""

TERMINATED = InstanceState.TERMINATED
GOING = frozenset({InstanceState.STOPPING, InstanceState.TERMINATING, TERMINATED})


class Instances:
    """The instances of one project and region."""

    def __init__(self, client: GoogleClient, settings: Settings, *, default_zone: str | None) -> None:
        self._client = client
        self._settings = settings
        self._default_zone = default_zone
        self._listing = Listing(client)
        self._memory = self._listing.memory
        self._launching = Launching(client, settings, self._listing)

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
        return await self._launching.launch(request, prepared, self.zone_of(request))

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """What there is of these batches and ids, a listing a zone; what was there and is no more is terminated."""
        by_zone, unplaced = self._places(request)
        listings = [(zone, self._filter(request, tokens, names)) for zone, (tokens, names) in by_zone.items()]
        found = await gather_all(lambda each: self._listing.zone(*each), listings, limit=len(listings) or 1)
        seen: dict[str, Instance] = {}
        for (zone, _), part in zip(listings, found, strict=True):
            seen |= part | await self._gone(request, zone, by_zone[zone], part)
        if unplaced:
            seen |= await self._listing.region(self._filter(request, unplaced, []))
        is_asked = asked_for(request)
        asked = {instance_id: each for instance_id, each in seen.items() if is_asked(each)}
        await self._check_deletions(asked.values())
        return {instance_id: self._as_ending(each) for instance_id, each in asked.items()}

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with the owner's label that is there, in any zone of the region."""
        found = await self._listing.region(label_is(TAG_OWNER, owner))
        return [each for each in map(self._as_ending, found.values()) if not each.state.is_gone]

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id, each by a call of its own."""
        ids = list(dict.fromkeys(instance_ids))
        return dict(zip(ids, await self._side_by_side(self._look_up, ids), strict=True))

    async def list_layout(self, layout: str, *, owner: str, scope: str) -> list[Instance]:
        """Every machine of a layout that is there."""
        labels = ((TAG_OWNER, owner), (TAG_SCOPE, scope), (TAG_LAYOUT, layout))
        found = await self._listing.region(both(label_is(tag, value) for tag, value in labels))
        return list(found.values())

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id: there is no call for many, so each is deleted by its own, side by side."""
        ids = list(dict.fromkeys(instance_ids))
        answers = dict(zip(ids, await self._side_by_side(self._delete, ids), strict=True))
        unknown = [
            each for each, answer in answers.items() if isinstance(answer, Instance) and answer.state is TERMINATED
        ]
        return answers | await self._agreed(unknown)

    async def _side_by_side(
        self, call: Callable[[str], Awaitable[Instance]], ids: Sequence[str]
    ) -> list[Instance | ProviderError]:
        return await gather_bounded(call, ids, limit=self._settings.ogc_max_api_calls, catch=ProviderError)

    async def _look_up(self, instance_id: str) -> Instance:
        zone_and_name(instance_id, "instances.get")
        return self._as_ending(await self._listing.get(instance_id))

    async def _delete(self, instance_id: str) -> Instance:
        zone, name = zone_and_name(instance_id, "instances.delete")
        ended = ended_instance(instance_id)
        try:
            operation = await self._client.call("instances.delete", zone=zone, instance=name)
        except NotFound as error:
            if not is_missing(error, f"zones/{zone}/instances/{name}"):
                raise
            return ended
        self._memory.deleted[instance_id] = Deletion(str(operation["name"]), self._client.clock())
        return replace(ended, state=InstanceState.TERMINATING, account=self._client.account)

    async def _agreed(self, unknown: Sequence[str]) -> dict[str, Instance | ProviderError]:
        """Machines that their deletion did not find, once their zones' lists have agreed that they are not there."""
        by_zone: dict[str, list[str]] = {}
        for instance_id in unknown:
            by_zone.setdefault(instance_id.partition("/")[0], []).append(instance_id)
        listed = await gather_bounded(
            lambda each: self._listing.zone(each[0], _named(each[1])),
            list(by_zone.items()),
            limit=len(by_zone) or 1,
            catch=ProviderError,
        )
        return {
            instance_id: answer if isinstance(answer, ProviderError) else self._not_there(instance_id, answer)
            for ids, answer in zip(by_zone.values(), listed, strict=True)
            for instance_id in ids
        }

    def _not_there(self, instance_id: str, listed: Mapping[str, Instance]) -> Instance | ProviderError:
        """A machine that its deletion did not find, by the list of its zone."""
        is_unseen = instance_id not in self._memory.seen
        asked_at = self._memory.unseen.get(instance_id, -inf) if is_unseen else -inf
        if instance_id in listed and listed[instance_id].state in GOING:
            return replace(listed[instance_id], state=InstanceState.TERMINATING)
        if instance_id in listed:
            why = f"is listed as {listed[instance_id].state}, and its deletion did not find it"
        elif self._client.clock() - asked_at < self._settings.ogc_settle_s:
            why = f"was asked for less than {self._settings.ogc_settle_s:g} s ago, and may yet appear"
        else:
            return ended_instance(instance_id)
        return ServiceUnavailable(
            f"{instance_id} {why}; try again",
            provider=PROVIDER,
            operation="instances.delete",
            code="notFound",
            retryable=True,
        )

    def _as_ending(self, instance: Instance) -> Instance:
        """One that we have deleted is on its way out, whatever it still looks like, unless its deletion has failed."""
        deletion = self._memory.deleted.get(instance.id)
        if deletion is None or instance.state is TERMINATED:
            return instance
        if deletion.error is not None:
            return replace(instance, error=deletion.error)
        return replace(instance, state=InstanceState.TERMINATING)

    async def _check_deletions(self, seen: Iterable[Instance]) -> None:
        """Whether the deletions of machines that stand all the same have failed: looked at once each, after a while."""
        late = self._client.clock() - DELETED_S
        waited_for = {
            each.id: deletion
            for each in seen
            if each.state not in GOING and (deletion := self._memory.deleted.get(each.id))
            if deletion.error is None and deletion.at <= late
        }
        ids = list(waited_for)
        errors = await gather_bounded(
            lambda each: self._deletion_error(each, waited_for[each].operation),
            ids,
            limit=self._settings.ogc_max_api_calls,
            catch=ProviderError,
        )
        for instance_id, error in zip(ids, errors, strict=True):
            known = error if error is None or error.operation == "instances.delete" else None
            self._memory.deleted[instance_id] = replace(waited_for[instance_id], at=self._client.clock(), error=known)

    async def _deletion_error(self, instance_id: str, operation: str) -> ProviderError | None:
        zone, _, _ = instance_id.partition("/")
        described = await self._client.call("zoneOperations.get", zone=zone, operation=operation)
        return operation_error(described, "instances.delete") if described.get("status") == "DONE" else None

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
            and each.state is not TERMINATED
        ]
        missing += [
            ended_instance(f"{zone}/{name}")
            for name in names
            if f"{zone}/{name}" in self._memory.deleted and f"{zone}/{name}" not in {*found, *self._memory.seen}
        ]
        explained = [await self._explain(each) for each in missing]
        gone = {each.id: each for each in explained if each is not None}
        self._memory.seen |= {key: each for key, each in gone.items() if each.state is TERMINATED}
        again = [
            each
            for each in self._memory.seen.values()
            if each.state is TERMINATED and each.zone == zone and each.id not in found
        ]
        return {each.id: each for each in again} | gone

    async def _explain(self, instance: Instance) -> Instance | None:
        """Why a machine is in no list any more; nobody's wish but ours needs no second look.

        ``None`` where the second look is refused: that it is not shown says nothing yet.
        """
        ended = replace(instance, state=TERMINATED)
        if instance.id in self._memory.deleted:
            return ended
        try:
            seen = await self._listing.get(instance.id)
            if seen.state is not TERMINATED:
                return seen
            causes = await self._listing.causes(instance.zone, self._memory.groups.get(instance.token, ""))
        except ProviderError:
            return None
        error = causes.get(instance.name) or InstanceDied(
            f"{instance.name} is gone, and nobody here ended it", provider=PROVIDER, operation="instances.get"
        )
        return replace(ended, reason=f"{error.code or 'gone'}: {error.message}", error=error)

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


def _named(ids: Sequence[str]) -> str:
    """A filter for these machines, or none where there are too many of them."""
    names = [each.partition("/")[2] for each in ids]
    return either(f"name = {name}" for name in names) if len(names) <= CONDITIONS else ""
