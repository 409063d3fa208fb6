"""Machines on EC2: launched a batch a call, described by filter, terminated however many, whichever one is bad."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ogc_async.aio.gather import gather_bounded
from ogc_async.errors import NoCapacity, ProviderError, ServiceUnavailable, Unauthorized
from ogc_async.providers.aws.client import AwsClient, Reply
from ogc_async.providers.aws.errors import PROVIDER, all_or_raise, is_bad_instance, is_missing_instance
from ogc_async.providers.aws.tags import filter_by, layout_tags, read_tags, tag_filters, tag_specification
from ogc_async.providers.aws.userdata import user_data
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure, LaunchRequest, Prepared
from ogc_async.types.carried import EC2, packed
from ogc_async.types.launch import TAG_BATCH, TAG_OWNER, TAG_SCOPE

PAGE = 1000
"""Instances a page, the most there is: long pages are parsed on a thread, and fewer are calls saved."""

FILTER_VALUES = 200
"""What EC2 takes in one filter."""

TERMINATE_BATCH = 500
"""Half of what TerminateInstances takes; AWS recommends smaller calls."""

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

_INSTANCE_ID = re.compile(r"\bi-[0-9A-Za-z-]+")


class Instances:
    """The instances of one region."""

    def __init__(self, client: AwsClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
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
        launched = [read_instance(each) for each in reply.get("Instances") or ()]
        self._remember(launched)
        return assign(request, launched)

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """What there is of these batches and ids, in pages, by filter: an id too young to be known is just absent."""
        found = await gather_bounded(self._search, searches(request), limit=CALLS_AT_ONCE, catch=ProviderError)
        tokens, ids = set(request.tokens), set(request.instance_ids)
        return {
            each.id: each for part in all_or_raise(found) for each in part if each.token in tokens or each.id in ids
        }

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id: each by a call of its own, since one that is unknown spoils a call for many."""
        ids = list(dict.fromkeys(instance_ids))
        answers = await gather_bounded(self._look_up_one, ids, limit=CALLS_AT_ONCE, catch=ProviderError)
        return dict(zip(ids, answers, strict=True))

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with the owner's tag that is not terminated."""
        return await self._search([*tag_filters({TAG_OWNER: owner}), filter_by("instance-state-name", NOT_GONE)])

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """An answer an id; one that can not be terminated costs the others nothing."""
        batches = list(chunks(list(dict.fromkeys(instance_ids)), TERMINATE_BATCH))
        answers = await gather_bounded(self._terminate, batches, limit=CALLS_AT_ONCE, catch=ProviderError)
        merged = {key: value for part in all_or_raise(answers) for key, value in part.items()}
        return {each: merged[each] for each in instance_ids}

    async def _run(self, count: int, parameters: Mapping[str, Any]) -> Reply:
        return await self._client.call("RunInstances", instances=count, settles=True, **parameters)

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
        return [
            read_instance(each) async for page in pages for reservation in page for each in reservation["Instances"]
        ]

    async def _look_up_one(self, instance_id: str) -> Instance:
        try:
            reply = await self._client.call("DescribeInstances", InstanceIds=[instance_id])
        except ProviderError as error:
            if not is_missing_instance(error):
                raise
            return _ending(instance_id, InstanceState.TERMINATED)
        return read_instance(reply["Reservations"][0]["Instances"][0])

    async def _terminate(self, ids: Sequence[str]) -> dict[str, Instance | ProviderError]:
        try:
            reply = await self._client.call("TerminateInstances", instances=len(ids), InstanceIds=list(ids))
        except ProviderError as error:
            if not is_bad_instance(error):
                return dict.fromkeys(ids, error)
            return await self._terminate_around(ids, error)
        states = {each["InstanceId"]: each["CurrentState"]["Name"] for each in reply.get("TerminatingInstances") or ()}
        return {each: _ending(each, STATES.get(states.get(each, ""), InstanceState.TERMINATING)) for each in ids}

    async def _terminate_around(self, ids: Sequence[str], error: ProviderError) -> dict[str, Instance | ProviderError]:
        """One bad id fails a whole call: set aside those that the error names, or halve until it stands alone."""
        named = set(_INSTANCE_ID.findall(error.message)) & set(ids)
        bad = [each for each in ids if each in named] or (list(ids) if len(ids) == 1 else [])
        rest = [each for each in ids if each not in bad]
        answers: dict[str, Instance | ProviderError] = {}
        for each in bad:
            answers[each] = await self._answer_bad(each, error)
        half = len(rest) if bad else len(rest) // 2
        for part in filter(None, (rest[:half], rest[half:])):
            answers.update(await self._terminate(part))
        return answers

    async def _answer_bad(self, instance_id: str, error: ProviderError) -> Instance | ProviderError:
        if not is_missing_instance(error):
            return error
        if not self._is_young(instance_id):
            return _ending(instance_id, InstanceState.TERMINATED)
        return await self._terminate_young(instance_id)

    async def _terminate_young(self, instance_id: str) -> Instance | ProviderError:
        """An instance launched just now exists, whatever EC2 says: to believe otherwise would leave it running."""

        async def once() -> Instance:
            await self._client.call("TerminateInstances", instances=1, InstanceIds=[instance_id])
            return _ending(instance_id, InstanceState.TERMINATING)

        try:
            return await self._client.retry(once, is_missing_instance, APPEAR_S)
        except ProviderError as error:
            if not is_missing_instance(error):
                return error
            message = f"{instance_id} was launched just now and is not known everywhere yet; terminate it again"
            return ServiceUnavailable(
                message, provider=PROVIDER, operation=error.operation, code=error.code, retryable=True
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
        "SecurityGroupIds": [prepared.firewall],
        # With this, shutting down from inside is a way to end the machine: see `userdata`.
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "TagSpecifications": [tag_specification(kind, tags) for kind in ("instance", "volume")],
    }
    return parameters | _options(request, prepared)


def instance_tags(request: LaunchRequest) -> dict[str, str]:
    """The user's labels, then ours, which win."""
    tags = {"Name": f"ogc-{request.layout}", **request.labels, **packed(request.tags, EC2)}
    return tags | layout_tags(request.owner, request.scope, request.layout) | {TAG_BATCH: request.token}


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


def read_instance(described: Mapping[str, Any]) -> Instance:
    """An instance as EC2 describes it."""
    tags = read_tags(described)
    state = STATES.get(described.get("State", {}).get("Name", ""), InstanceState.PENDING)
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
        reason=_reason(described.get("StateReason") or {}, state),
        tags=tags,
        launched_at=launched_at.astimezone(UTC) if isinstance(launched_at, datetime) else None,
    )


def chunks(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Runs of at most ``size`` values, in order."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _options(request: LaunchRequest, prepared: Prepared) -> dict[str, Any]:
    """What is only said where the layout asks for it."""
    options: dict[str, Any] = {}
    if request.zone:
        options["Placement"] = {"AvailabilityZone": request.zone}
    if request.spot:
        spot = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        options["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
    if told := user_data(request.ttl, request.host_key):
        options["UserData"] = told
    if request.disk_size_gib is not None and prepared.root_device:
        disk = {"VolumeSize": request.disk_size_gib, "DeleteOnTermination": True}
        options["BlockDeviceMappings"] = [{"DeviceName": prepared.root_device, "Ebs": disk}]
    return options


def _reason(reason: Mapping[str, str], state: InstanceState) -> str:
    """Why the instance is in its state: ``code: message``. A healthy one's reason is its state, which says nothing."""
    code, message = reason.get("Code", ""), reason.get("Message", "")
    if state in (InstanceState.PENDING, InstanceState.RUNNING) or not code:
        return ""
    return message if message.startswith(code) else f"{code}: {message}"


def _ending(instance_id: str, state: InstanceState) -> Instance:
    return Instance(id=instance_id, state=state, token="", launch_index=0)
