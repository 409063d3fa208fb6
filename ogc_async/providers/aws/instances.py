"""Machines on EC2: launched a batch a call, described by filter, terminated however many, whichever one is bad."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ogc_async.aio.gather import gather_bounded
from ogc_async.errors import NoCapacity, ProviderError, ServiceUnavailable, Unauthorized
from ogc_async.providers.aws.account import Account
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import (
    PROVIDER,
    after_doubt,
    all_or_raise,
    is_bad_instance,
    is_missing_instance,
    named_instances,
    unreadable,
)
from ogc_async.providers.aws.replies import Reply
from ogc_async.providers.aws.tags import (
    ends_tag,
    filter_by,
    layout_tags,
    read_tags,
    tag_filters,
    tag_list,
    tag_specification,
)
from ogc_async.providers.aws.userdata import user_data
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure, LaunchRequest, Market, Prepared
from ogc_async.types.carried import EC2, packed
from ogc_async.types.launch import TAG_BATCH, TAG_OWNER, TAG_SCOPE

log = logging.getLogger(__name__)

PAGE = 1000
"""Instances a page, the most there is: long pages are parsed on a thread, and fewer are calls saved."""

FILTER_VALUES = 200
"""What EC2 takes in one filter."""

TERMINATE_BATCH = 500
"""Half of what TerminateInstances takes; AWS recommends smaller calls."""

LOOK_UP_BATCH = 100
"""Explicit ids in one DescribeInstances; how many it takes is written nowhere."""

CALLS_AT_ONCE = 8
"""Pages and batches of one request under way; the client has a bound for all of them."""

YOUNG_S = 300.0
"""For up to five minutes EC2 may not know everywhere what it has launched ("Eventual consistency")."""

APPEAR_S = 10.0

STATES = {
    "pending": InstanceState.PENDING,
    "running": InstanceState.RUNNING,
    "stopping": InstanceState.STOPPING,
    "stopped": InstanceState.STOPPED,
    "shutting-down": InstanceState.TERMINATING,
    "terminated": InstanceState.TERMINATED,
}
NOT_PENDING = tuple(state for state in STATES if state != "pending")
NOT_GONE = tuple(state for state in STATES if state != "terminated")

_AT_WORK = (InstanceState.PENDING, InstanceState.RUNNING)
_MOMENT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) GMT\)")

Answer = Instance | ProviderError


class Instances:
    """The instances of one region."""

    def __init__(self, client: AwsClient, account: Account, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._account = account
        self._clock = clock
        self._launched_at: dict[str, float] = {}

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """One ``RunInstances`` for the whole batch: an answer a name, in order."""
        parameters = run_parameters(request, prepared)
        try:
            reply = await self._run(len(request.names), parameters)
        except Unauthorized as error:
            if error.code != "UnauthorizedOperation":
                raise
            reply = await self._run_without_volume_tags(len(request.names), parameters, error)
        launched = self._read(reply)
        self._remember(launched)
        return assign(request, launched)

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """What there is of these batches and ids, in pages, by filter: an id too young to be known is just absent."""
        found = await gather_bounded(self._search, searches(request), limit=CALLS_AT_ONCE, catch=ProviderError)
        tokens, ids = set(request.tokens), set(request.instance_ids)
        return {
            each.id: each for part in all_or_raise(found) for each in part if each.token in tokens or each.id in ids
        }

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Answer]:
        """An answer an id, in few calls: one that is unknown spoils its call, and is named by the error."""
        batches = list(chunks(list(dict.fromkeys(instance_ids)), LOOK_UP_BATCH))
        answers = await gather_bounded(self._look_up, batches, limit=CALLS_AT_ONCE, catch=ProviderError)
        merged = {key: value for part in all_or_raise(answers) for key, value in part.items()}
        missing = [key for key, each in merged.items() if _is_missing(each) and not self._is_young(key)]
        statuses = await gather_bounded(
            self._statuses, list(chunks(missing, LOOK_UP_BATCH)), limit=CALLS_AT_ONCE, catch=ProviderError
        )
        merged |= {key: value for part in all_or_raise(statuses) for key, value in part.items()}
        return {key: self._gone(key, each) if _is_missing(each) else each for key, each in merged.items()}

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with the owner's tag that is not terminated."""
        return await self._search([*tag_filters({TAG_OWNER: owner}), filter_by("instance-state-name", NOT_GONE)])

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Answer]:
        """An answer an id; one that can not be terminated costs the others nothing."""
        batches = list(chunks(list(dict.fromkeys(instance_ids)), TERMINATE_BATCH))
        answers = await gather_bounded(self._terminate, batches, limit=CALLS_AT_ONCE, catch=ProviderError)
        merged = {key: value for part in all_or_raise(answers) for key, value in part.items()}
        missing = [key for key, each in merged.items() if _is_missing(each)]
        young = [each for each in missing if self._is_young(each)]
        ended = await gather_bounded(self._terminate_young, young, limit=CALLS_AT_ONCE, catch=ProviderError)
        merged |= dict(zip(young, ended, strict=True))
        merged |= await self._confirm_missing([each for each in missing if each not in young])
        return {each: merged[each] for each in instance_ids}

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        """Write on the machine when it ends, over what it says so far."""
        tags = tag_list(ends_tag(ends_at))
        await self._client.call("CreateTags", Resources=[instance_id], Tags=tags)

    async def _run(self, count: int, parameters: Mapping[str, Any]) -> Reply:
        doubts: list[ProviderError] = []
        try:
            return await self._client.call("RunInstances", instances=count, settles=True, doubts=doubts, **parameters)
        except ProviderError as error:
            if not doubts:
                raise
            raise after_doubt(error, doubts[-1]) from None

    async def _run_without_volume_tags(
        self, count: int, parameters: Mapping[str, Any], refusal: ProviderError
    ) -> Reply:
        """Credentials that may not tag volumes are refused the whole call: ask again without.

        A token is bound to its parameters, so these take one of their own. It follows from the first, so that a
        repeat from anywhere arrives at the same one.
        """
        token = hashlib.sha256(f"{parameters['ClientToken']} without volume tags".encode()).hexdigest()
        instance_tags = [each for each in parameters["TagSpecifications"] if each["ResourceType"] != "volume"]
        try:
            return await self._run(count, {**parameters, "ClientToken": token, "TagSpecifications": instance_tags})
        except Unauthorized:
            raise refusal from None

    async def _search(self, filters: Sequence[Mapping[str, Any]]) -> list[Instance]:
        pages = self._client.pages("DescribeInstances", "Reservations", Filters=filters, MaxResults=PAGE)
        return [each async for page in pages for reservation in page for each in self._read(reservation)]

    def _read(self, reservation: Mapping[str, Any]) -> list[Instance]:
        account = str(reservation.get("OwnerId") or "")
        self._account.note(account)
        return [read_instance(each, account) for each in reservation["Instances"]]

    async def _look_up(self, ids: Sequence[str]) -> dict[str, Answer]:
        try:
            reply = await self._client.call("DescribeInstances", InstanceIds=list(ids))
        except ProviderError as error:
            if not is_bad_instance(error):
                return dict.fromkeys(ids, error)
            return await self._around_bad(ids, error, self._look_up)
        shown = {each.id: each for reservation in reply["Reservations"] for each in self._read(reservation)}
        # EC2 shows each machine that it was asked for by its id, or refuses the call.
        return {each: shown.get(each) or unreadable("DescribeInstances", f"nothing about {each}") for each in ids}

    async def _statuses(self, ids: Sequence[str]) -> dict[str, Answer]:
        """A second operation's word on machines that DescribeInstances does not know.

        Credentials that may not ask for it are left with the first one's.
        """
        try:
            reply = await self._client.call("DescribeInstanceStatus", InstanceIds=list(ids), IncludeAllInstances=True)
        except ProviderError as error:
            if error.code == "UnauthorizedOperation":
                log.warning("what DescribeInstances says of %d machines could not be confirmed: %s", len(ids), error)
                return {}
            if not is_bad_instance(error):
                return dict.fromkeys(ids, error)
            return await self._around_bad(ids, error, self._statuses)
        shown = {each["InstanceId"] for each in reply["InstanceStatuses"]}
        told = dict.fromkeys(shown, "does not know it, though DescribeInstanceStatus does")
        return {
            each: unreadable("DescribeInstances", f"{each}: {told.get(each, 'nothing about its status')}")
            for each in ids
        }

    async def _terminate(self, ids: Sequence[str]) -> dict[str, Answer]:
        try:
            reply = await self._client.call("TerminateInstances", instances=len(ids), InstanceIds=list(ids))
        except ProviderError as error:
            if not is_bad_instance(error):
                return dict.fromkeys(ids, error)
            return await self._around_bad(ids, error, self._terminate)
        return read_endings(reply, ids)

    async def _around_bad(
        self, ids: Sequence[str], error: ProviderError, ask: Callable[[Sequence[str]], Awaitable[dict[str, Answer]]]
    ) -> dict[str, Answer]:
        """One bad id fails a whole call: set aside those that the error names, or halve until it stands alone."""
        named = named_instances(error)
        bad = [each for each in ids if each in named] or (list(ids) if len(ids) == 1 else [])
        rest = [each for each in ids if each not in bad]
        answers: dict[str, Answer] = dict.fromkeys(bad, error)
        half = len(rest) if bad else len(rest) // 2
        for part in filter(None, (rest[:half], rest[half:])):
            answers.update(await ask(part))
        return answers

    async def _confirm_missing(self, ids: Sequence[str]) -> dict[str, Answer]:
        """An id that TerminateInstances does not know is a machine's end only if DescribeInstances shows none."""

        async def look(part: Sequence[str]) -> list[Instance]:
            return await self._search([filter_by("instance-id", part)])

        parts = list(chunks(ids, FILTER_VALUES))
        answers: dict[str, Answer] = {}
        found = await gather_bounded(look, parts, limit=CALLS_AT_ONCE, catch=ProviderError)
        for part, seen in zip(parts, found, strict=True):
            if isinstance(seen, ProviderError):
                answers |= dict.fromkeys(part, seen)
            else:
                answers |= confirm(part, seen)
        return answers

    async def _terminate_young(self, instance_id: str) -> Answer:
        """An instance launched just now exists, whatever EC2 says: to believe otherwise would leave it running."""

        async def once() -> Answer:
            reply = await self._client.call("TerminateInstances", instances=1, InstanceIds=[instance_id])
            return read_endings(reply, [instance_id])[instance_id]

        try:
            return await self._client.retry(once, is_missing_instance, APPEAR_S)
        except ProviderError as error:
            return self._gone(instance_id, error) if is_missing_instance(error) else error

    def _gone(self, instance_id: str, error: ProviderError | Instance) -> Answer:
        """What it means that EC2 does not know an id."""
        if not self._is_young(instance_id):
            return _unknown(instance_id)
        message = f"{instance_id} was launched just now and is not known everywhere yet; ask again in a minute"
        operation = error.operation if isinstance(error, ProviderError) else "DescribeInstances"
        return ServiceUnavailable(
            message, provider=PROVIDER, operation=operation, code="InvalidInstanceID.NotFound", retryable=True
        )

    def _remember(self, launched: Iterable[Instance]) -> None:
        now = self._clock()
        self._launched_at = {key: at for key, at in self._launched_at.items() if now - at < YOUNG_S}
        self._launched_at.update((each.id, now) for each in launched)

    def _is_young(self, instance_id: str) -> bool:
        launched_at = self._launched_at.get(instance_id)
        return launched_at is not None and self._clock() - launched_at < YOUNG_S


def searches(request: DescribeRequest) -> list[list[dict[str, Any]]]:
    """The filters of each call that it takes to find what is asked for.

    Many ids are asked for by their batches where those are fewer calls. Machines that still boot are most of a reply,
    and say nothing: a patient caller does not hear of them.
    """
    filters = tag_filters({TAG_OWNER: request.owner, TAG_SCOPE: request.scope})
    if request.is_patient:
        filters.append(filter_by("instance-state-name", NOT_PENDING))
    by_id = [("instance-id", values) for values in chunks(request.instance_ids, FILTER_VALUES)]
    by_batch = [(f"tag:{TAG_BATCH}", values) for values in chunks(request.id_tokens, FILTER_VALUES)]
    wanted = by_batch if 0 < len(by_batch) < len(by_id) else by_id
    wanted += [(f"tag:{TAG_BATCH}", values) for values in chunks(request.tokens, FILTER_VALUES)]
    return [[filter_by(name, values), *filters] for name, values in wanted]


def run_parameters(request: LaunchRequest, prepared: Prepared) -> dict[str, Any]:
    """The ``RunInstances`` call: as many of the batch as there is room for, tagged from their first moment on."""
    tags = instance_tags(request)
    parameters: dict[str, Any] = {
        "ImageId": prepared.image,
        "InstanceType": request.instance_size,
        "MinCount": 1,
        "MaxCount": len(request.names),
        "ClientToken": request.token,
        "KeyName": prepared.key_pair,
        # With this, powering off from inside is a way to end the machine, or to stop it: see `userdata`.
        "InstanceInitiatedShutdownBehavior": "stop" if request.stops_at_end else "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "TagSpecifications": [tag_specification(kind, tags) for kind in ("instance", "volume")],
    }
    return parameters | _network(request, prepared) | _options(request, prepared)


def instance_tags(request: LaunchRequest) -> dict[str, str]:
    """The user's labels, then ours, which win."""
    tags = {"Name": f"ogc-{request.layout}", **request.labels, **packed(request.tags, EC2)}
    tags |= layout_tags(request.owner, request.scope, request.layout) | {TAG_BATCH: request.token}
    return tags if request.ends_at is None else tags | ends_tag(request.ends_at)


def assign(request: LaunchRequest, launched: Sequence[Instance]) -> list[Instance | LaunchFailure]:
    """Name *i* gets the instance of launch index *i*, in this process as in any other that repeats the call."""
    by_index = {each.launch_index: each for each in launched}
    if len(by_index) < len(launched):
        # A service that does not count them answers in one order, at least.
        by_index = dict(enumerate(launched))
    where = request.zone or "the region"
    error = NoCapacity(
        f"room for {len(launched)} of {len(request.names)} {request.instance_size} in {where}; "
        "name more zones, or another instance-size",
        provider=PROVIDER,
        operation="RunInstances",
        code="InsufficientInstanceCapacity",
    )
    return [by_index.get(index) or LaunchFailure(name, error) for index, name in enumerate(request.names)]


def read_instance(described: Mapping[str, Any], account: str = "") -> Instance:
    """An instance as EC2 describes it, in the account that owns its reservation."""
    tags = read_tags(described)
    named = described["State"]["Name"]
    state = read_state(named)
    launched_at = described.get("LaunchTime")
    return Instance(
        id=described["InstanceId"],
        state=state,
        token=tags.get(TAG_BATCH, ""),
        launch_index=int(described.get("AmiLaunchIndex") or 0),
        zone=described.get("Placement", {}).get("AvailabilityZone", ""),
        name=tags.get("Name", ""),
        public_ip=described.get("PublicIpAddress") or None,
        private_ip=described.get("PrivateIpAddress") or None,
        reason=_reason(described.get("StateReason") or {}, state) if named in STATES else f"EC2 calls it {named!r}",
        tags=tags,
        launched_at=launched_at.astimezone(UTC) if isinstance(launched_at, datetime) else None,
        account=account,
        size=described.get("InstanceType") or "",
        market=Market.SPOT if described.get("InstanceLifecycle") == "spot" else Market.ON_DEMAND,
        ended_at=None if state in _AT_WORK else read_moment(described.get("StateTransitionReason") or ""),
    )


def read_state(named: str) -> InstanceState:
    """EC2's word for a state. A word that this version does not know is a machine's that exists and is not ready.

    So it counts, is neither worked on nor replaced, and is ended with its node: what errs least.
    """
    return STATES.get(named, InstanceState.PENDING)


def read_moment(reason: str) -> datetime | None:
    """When a machine went to its state, as ``StateTransitionReason`` ends where EC2 tells it.

    Such as ``User initiated (2026-11-27 09:12:45 GMT)``.
    """
    found = _MOMENT.search(reason)
    try:
        return datetime.strptime(f"{found[1]} +0000", "%Y-%m-%d %H:%M:%S %z") if found else None
    except ValueError:
        return None


def read_endings(reply: Reply, ids: Sequence[str]) -> dict[str, Answer]:
    """What TerminateInstances says of each id; one that the reply does not name is not known to end."""
    states = {each["InstanceId"]: each["CurrentState"]["Name"] for each in reply["TerminatingInstances"]}
    return {
        each: _ending(each, read_state(states[each]))
        if each in states
        else unreadable("TerminateInstances", f"nothing about {each}")
        for each in ids
    }


def confirm(missing: Sequence[str], seen: Iterable[Instance]) -> dict[str, Answer]:
    """Of ids that TerminateInstances does not know, with what DescribeInstances shows of them."""
    by_id = {each.id: each for each in seen}
    return {
        each: _contradiction(by_id[each])
        if each in by_id and by_id[each].state is not InstanceState.TERMINATED
        else _unknown(each)
        for each in missing
    }


def _contradiction(seen: Instance) -> ProviderError:
    return ServiceUnavailable(
        f"TerminateInstances does not know {seen.id}, and DescribeInstances shows it {seen.state}; terminate it again",
        provider=PROVIDER,
        operation="TerminateInstances",
        code="InvalidInstanceID.NotFound",
        retryable=True,
    )


def chunks(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Runs of at most ``size`` values, in order."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _network(request: LaunchRequest, prepared: Prepared) -> dict[str, Any]:
    """The firewall, in the default subnet of the zone; there, with a public address of its own where one is wanted."""
    if not request.wants_public_ip:
        return {"SecurityGroupIds": [prepared.firewall]}
    # EC2 takes security groups in one place only. The subnet may be left to it, as in what its console launches.
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": True, "Groups": [prepared.firewall]}
    return {"NetworkInterfaces": [interface]}


def _options(request: LaunchRequest, prepared: Prepared) -> dict[str, Any]:
    """What is only said where the layout asks for it."""
    options: dict[str, Any] = {}
    if request.zone:
        options["Placement"] = {"AvailabilityZone": request.zone}
    if request.spot:
        spot = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        options["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
    if told := user_data(request.ttl, request.host_key, stops_at_end=request.stops_at_end):
        options["UserData"] = told
    if disks := _block_devices(request, prepared):
        options["BlockDeviceMappings"] = disks
    return options


def _block_devices(request: LaunchRequest, prepared: Prepared) -> list[dict[str, Any]]:
    """Every volume goes with its machine, whatever its image says: some leave theirs behind."""
    disks = {each.device: dict(each.options) for each in prepared.disks}
    if request.disk_size_gib is not None and prepared.root_device:
        disks.setdefault(prepared.root_device, {})["VolumeSize"] = request.disk_size_gib
    return [{"DeviceName": device, "Ebs": {**ebs, "DeleteOnTermination": True}} for device, ebs in disks.items()]


def _reason(reason: Mapping[str, str], state: InstanceState) -> str:
    """Why the instance is in its state: ``code: message``. A healthy one's reason is its state, which says nothing."""
    code, message = reason.get("Code", ""), reason.get("Message", "")
    if state in _AT_WORK or not code:
        return ""
    return message if message.startswith(code) else f"{code}: {message}"


def _is_missing(answer: Answer) -> bool:
    return isinstance(answer, ProviderError) and is_missing_instance(answer)


def _unknown(instance_id: str) -> Instance:
    return replace(_ending(instance_id, InstanceState.TERMINATED), is_known=False)


def _ending(instance_id: str, state: InstanceState) -> Instance:
    return Instance(id=instance_id, state=state, token="", launch_index=0)
