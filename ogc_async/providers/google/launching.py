"""One bulk insert from its call to an answer a name: what is there, what certainly is not, and what may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ogc_async.aio.gather import gather_bounded
from ogc_async.errors import InvalidRequest, NoCapacity, OutcomeUnknown, ProviderError, TokenSpent, Unauthorized
from ogc_async.providers.google.body import insert_body, without_disk_labels
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.described import pending_instance
from ogc_async.providers.google.errors import MIN_COUNT, insert_error
from ogc_async.providers.google.listing import Listing
from ogc_async.providers.google.methods import LAUNCH
from ogc_async.providers.google.tags import both, label_is
from ogc_async.settings import Settings
from ogc_async.types import Instance, LaunchFailure, LaunchRequest, Prepared
from ogc_async.types.launch import TAG_BATCH, TAG_SCOPE

INSERT_TIMEOUT_S = 300.0
"""A bulk insert shows every machine, or says why not, within minutes."""

APPEAR_S = 10.0
"""How long a machine whose name is taken already may not carry its labels in lists yet."""

LABELS_DISKS = "compute.disks.setLabels"
"""The right to make disks with labels, as a refusal names it."""

Answer = Instance | LaunchFailure


@dataclass(frozen=True, slots=True)
class Followed:
    """What could be learned of a bulk insert that was taken.

    ``has_ended``: its operation was seen to end, with ``error`` or well, and ``found`` is a whole list made after that.
    ``causes`` are errors of its machines' own operations, by name.
    """

    found: Mapping[str, Instance]
    has_ended: bool
    error: ProviderError | None = None
    causes: Mapping[str, ProviderError] = field(default_factory=dict)


class Launching:
    """Launches of one project and region."""

    def __init__(self, client: GoogleClient, settings: Settings, listing: Listing) -> None:
        self._client = client
        self._settings = settings
        self._listing = listing

    async def launch(self, request: LaunchRequest, prepared: Prepared, zone: str) -> list[Answer]:
        """An answer a name, in order. Raises the call's own refusal only.

        Once the call was taken, what cannot be seen of a machine leaves it pending, under the id that ends it: that a
        list or an operation is refused to the account says nothing of machines.
        """
        operation = await self._insert(request, prepared, zone)
        if operation is None:
            answers = await self._look_at(request, zone, request.names)
        else:
            answers = outcomes(
                request, zone, await self._follow(request, zone, operation), account=self._client.account
            )
            taken = [name for name, each in answers.items() if _is_taken(each)]
            answers |= await self._look_at(request, zone, taken) if taken else {}
            self._note_unseen(answers.values())
        return [answers[name] for name in request.names]

    def _note_unseen(self, answers: Iterable[Answer]) -> None:
        now, memory = self._client.clock(), self._listing.memory
        memory.unseen |= {each.id: now for each in answers if isinstance(each, Instance) and each.id not in memory.seen}

    async def _insert(self, request: LaunchRequest, prepared: Prepared, zone: str) -> Reply | None:
        """Begin the launch, or find the one that a former call has begun; ``None`` where its names are taken."""
        self._listing.memory.zones[request.token] = zone
        body = insert_body(request, prepared, self._settings.google_application_service_account)
        try:
            operation = await self._call(request, zone, body)
        except TokenSpent:
            # The names are there: ours, if they carry our batch's label, and that is looked at next.
            return None
        if operation.get("operationGroupId"):
            self._listing.memory.groups[request.token] = str(operation["operationGroupId"])
        return operation

    async def _call(self, request: LaunchRequest, zone: str, body: Reply) -> Reply:
        """Credentials that may not label disks are refused the whole call: ask again without.

        Those disks go with their machines like all others, and are only not found where they did not.
        """
        query = {"requestId": request.token}
        try:
            return await self._client.call(LAUNCH, zone=zone, query=query, body=body)
        except Unauthorized as error:
            if LABELS_DISKS not in error.message:
                raise
        return await self._client.call(LAUNCH, zone=zone, query=query, body=without_disk_labels(body))

    async def _follow(self, request: LaunchRequest, zone: str, operation: Reply) -> Followed:
        """Until every machine shows, or the operation has ended, or nothing more can be learned."""
        deadline = self._client.clock() + INSERT_TIMEOUT_S
        found: dict[str, Instance] = {}
        while True:
            is_done = operation.get("status") == "DONE"
            listed = await self._batch_or_none(request, zone)
            found |= listed or {}
            if is_done or all(name in found for name in request.names) or self._client.clock() > deadline:
                break
            await self._client.sleep(self._settings.ogc_poll_s)
            try:
                operation = await self._client.call("zoneOperations.get", zone=zone, operation=str(operation["name"]))
            except ProviderError:
                found |= await self._batch_or_none(request, zone) or {}
                return Followed(found, has_ended=False, causes=await self._causes(request, zone, found, operation))
        error = insert_error(operation, LAUNCH) if is_done else None
        causes = await self._causes(request, zone, found, operation)
        return Followed(found, is_done and listed is not None, error, causes)

    async def _causes(
        self, request: LaunchRequest, zone: str, found: Mapping[str, Instance], operation: Reply
    ) -> dict[str, ProviderError]:
        if all(name in found for name in request.names):
            return {}
        try:
            return await self._listing.causes(zone, str(operation.get("operationGroupId", "")))
        except ProviderError:
            return {}

    async def _batch_or_none(self, request: LaunchRequest, zone: str) -> dict[str, Instance] | None:
        """The batch's machines, by name; ``None`` where that cannot be seen."""
        conditions = [label_is(TAG_SCOPE, request.scope), label_is(TAG_BATCH, request.token)]
        try:
            found = await self._listing.zone(zone, both(conditions))
        except ProviderError:
            return None
        return {each.name: each for each in found.values() if each.name in request.names}

    async def _look_at(self, request: LaunchRequest, zone: str, names: Sequence[str]) -> dict[str, Answer]:
        """Names of which at least one is taken: by this launch's own machines, or by others; each is looked at."""
        deadline = self._client.clock() + APPEAR_S
        found = await self._batch_or_none(request, zone)
        while found is not None and not all(name in found for name in names) and self._client.clock() < deadline:
            await self._client.sleep(self._settings.ogc_poll_s)
            found = await self._batch_or_none(request, zone)
        ours = {name: each for name, each in (found or {}).items() if name in names}
        rest = [name for name in names if name not in ours]
        looked = await gather_bounded(
            lambda name: self._listing.get(f"{zone}/{name}"),
            rest,
            limit=self._settings.ogc_max_api_calls,
            catch=ProviderError,
        )
        is_any_there = bool(ours) or any(isinstance(each, Instance) and not each.state.is_gone for each in looked)
        return ours | {
            name: _whose(request, zone, name, each, is_any_there) for name, each in zip(rest, looked, strict=True)
        }


def outcomes(request: LaunchRequest, zone: str, followed: Followed, *, account: str) -> dict[str, Answer]:
    """What became of each name of a launch that was taken.

    A failure is certain by the machine's own operation, or by the whole one's end and a list without it. A name without
    either is pending: there, and too young to be shown, or not to be seen with these rights.
    """
    causes = followed.causes
    error = followed.error if followed.has_ended else None
    if error is not None and error.code == MIN_COUNT:
        error = next(iter(causes.values()), error)

    def outcome(name: str) -> Answer:
        if name in followed.found:
            return followed.found[name]
        why = causes.get(name) or error
        return LaunchFailure(name, why) if why else pending_instance(request, zone, name, account)

    return {name: outcome(name) for name in request.names}


def _is_taken(answer: Answer) -> bool:
    return isinstance(answer, LaunchFailure) and isinstance(answer.error, TokenSpent)


def _whose(request: LaunchRequest, zone: str, name: str, seen: Instance | ProviderError, is_any_there: bool) -> Answer:
    """What a machine is to a launch whose names are taken."""
    if isinstance(seen, Instance) and seen.token == request.token:
        return seen
    if isinstance(seen, Instance) and not seen.state.is_gone:
        return _failure(
            InvalidRequest,
            name,
            f"a machine of that name exists in {zone} and is not of this launch; launch again for another name",
            "alreadyExists",
        )
    if isinstance(seen, Instance) and is_any_there:
        return _failure(NoCapacity, name, f"a former call of this launch made no machine of it in {zone}", "notMade")
    why = seen.message if isinstance(seen, ProviderError) else "no machine of it is there to be seen"
    return _failure(
        OutcomeUnknown, name, f"its name is taken in {zone}, and whose it is cannot be seen: {why}", "alreadyExists"
    )


def _failure(kind: type[ProviderError], name: str, message: str, code: str) -> LaunchFailure:
    error = kind(f"{name}: {message}", provider=PROVIDER, operation=LAUNCH, code=code, retryable=kind is OutcomeUnknown)
    return LaunchFailure(name, error)
