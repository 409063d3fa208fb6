"""Doubles for tests of programs built on this package: a cloud in memory, and events to look back on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Address

from ogc_async.errors import NoCapacity, ProviderError, ResourceInUse
from ogc_async.events import Event
from ogc_async.providers.base import KeepsEnds, Provider
from ogc_async.providers.pool import ProviderPool
from ogc_async.settings import Settings
from ogc_async.types import (
    DescribeRequest,
    Instance,
    InstanceState,
    LaunchFailure,
    LaunchRequest,
    Market,
    Prepared,
    Then,
)
from ogc_async.types.carried import EC2, end_tag, packed
from ogc_async.types.launch import TAG_BATCH, TAG_ENDS, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE


class MemoryProvider:
    """A provider that keeps its machines in memory: no network, no time.

    A machine is ``pending`` in the answer to its launch and ``running`` from the first description on; a terminated one
    is ``terminated`` from the first description on. ``capacity`` bounds the machines of a zone, or of a machine type in
    it (``zone/size``), and ``boots_at_most`` those that run, while the others stay ``pending``; ``refusals`` holds
    errors by method name, each raised once, in order; ``calls`` counts the calls of each method, and ``asked`` keeps
    every request to launch. ``owner`` is the account that it says its machines are of. It takes any ``ttl``, and lets
    no time pass: a machine ends by itself where the test puts another state into ``instances``.
    """

    def __init__(
        self, region: str = "memory-1", *, capacity: dict[str, int] | None = None, max_batch: int = 100
    ) -> None:
        self.name = "aws"
        self.region = region
        self.max_batch = max_batch
        self.capacity = capacity or {}
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, list[ProviderError]] = {}
        self.instances: dict[str, Instance] = {}
        self.dying: dict[str, str] = {}
        self.boots_at_most: int | None = None
        self.asked: list[LaunchRequest] = []
        self.owner: str | None = "memory"

    def pool(self, settings: Settings) -> ProviderPool:
        """A pool that opens this provider, whichever cloud or region is asked for."""
        return ProviderPool(settings, opener=lambda _name, _settings, _region: self)

    async def account(self, *, patiently: bool = False) -> str | None:
        """The one whose machines these are."""
        self._take("account")
        return self.owner

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """Nothing is made; every layout shares one answer."""
        self._take("prepare")
        return Prepared("image-1", request.username or "root", f"key-{request.layout}", f"firewall-{request.layout}")

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """Launch as many as there is room for."""
        self._take("launch")
        self.asked.append(request)
        known = {each.launch_index: each for each in self.instances.values() if each.token == request.token}
        return [known.get(index) or self._start(request, index, name) for index, name in enumerate(request.names)]

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines of these batches and of these ids; those that boot or end have now done so."""
        self._take("describe")
        found = {
            each.id: each
            for each in self.instances.values()
            if (each.token in request.tokens or each.id in request.instance_ids) and _is_of(each, request)
        }
        for instance_id in found:
            self._advance(instance_id)
        return {instance_id: self.instances[instance_id] for instance_id in found}

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Each of these machines; those unknown are gone."""
        self._take("look_up")
        gone = {
            each: Instance(id=each, state=InstanceState.TERMINATED, token="", launch_index=0) for each in instance_ids
        }
        return {**gone, **{each: self.instances[each] for each in instance_ids if each in self.instances}}

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """End these machines; those unknown are gone."""
        self._take("terminate")
        answers: dict[str, Instance | ProviderError] = {}
        for instance_id in instance_ids:
            known = self.instances.get(instance_id)
            if known is None:
                known = Instance(id=instance_id, state=InstanceState.TERMINATED, token="", launch_index=0)
            elif known.state is not InstanceState.TERMINATED:
                known = self.instances[instance_id] = replace(known, state=InstanceState.TERMINATING)
            answers[instance_id] = known
        return answers

    async def list_owned(self, owner: str) -> list[Instance]:
        """All of the owner's that are not gone."""
        self._take("list_owned")
        return [each for each in self.instances.values() if not each.state.is_gone and each.tags[TAG_OWNER] == owner]

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Refused while a machine of the layout lives."""
        self._take("release")
        living = (each for each in self.instances.values() if each.state is not InstanceState.TERMINATED)
        wanted = {TAG_OWNER: owner, TAG_SCOPE: scope, TAG_LAYOUT: layout}
        if any(wanted.items() <= each.tags.items() for each in living):
            raise ResourceInUse(f"firewall of {layout} is in use", provider=self.name, operation="release")

    def why_no_end(self, *, runs_on: str, platform: str, has_cloud_init: bool, is_spot: bool, then: Then) -> str | None:
        """Any end is taken."""
        return None

    async def aclose(self) -> None:
        """Nothing is open."""

    def _take(self, method: str) -> None:
        self.calls[method] += 1
        waiting = self.refusals.get(method)
        if waiting:
            raise waiting.pop(0)

    def _start(self, request: LaunchRequest, index: int, name: str) -> Instance | LaunchFailure:
        zone = request.zone or f"{self.region}a"
        for place in (zone, f"{zone}/{request.instance_size}"):
            if self.capacity.get(place, 1) <= 0:
                return LaunchFailure(name, NoCapacity(f"{place} is full", provider=self.name, operation="launch"))
        for place in self.capacity.keys() & {zone, f"{zone}/{request.instance_size}"}:
            self.capacity[place] -= 1
        number = len(self.instances) + 1
        instance = Instance(
            id=f"i-{number:017x}",
            state=InstanceState.PENDING,
            token=request.token,
            launch_index=index,
            zone=zone,
            name=name,
            public_ip=str(IPv4Address("127.77.0.0") + number),
            tags=_tags(request),
            account=self.owner or "",
            size=request.instance_size,
            market=Market.SPOT if request.spot else Market.ON_DEMAND,
        )
        self.instances[instance.id] = instance
        return instance

    def _advance(self, instance_id: str) -> None:
        now = self.instances[instance_id]
        if now.state is InstanceState.TERMINATING:
            self.instances[instance_id] = replace(now, state=InstanceState.TERMINATED)
        elif now.state is InstanceState.PENDING and self._may_boot():
            reason = self.dying.get(now.name, "")
            state = InstanceState.TERMINATED if reason else InstanceState.RUNNING
            self.instances[instance_id] = replace(now, state=state, reason=reason)

    def _may_boot(self) -> bool:
        running = sum(each.state is InstanceState.RUNNING for each in self.instances.values())
        return self.boots_at_most is None or running < self.boots_at_most


def _tags(request: LaunchRequest) -> dict[str, str]:
    ours = {TAG_OWNER: request.owner, TAG_SCOPE: request.scope, TAG_LAYOUT: request.layout, TAG_BATCH: request.token}
    if request.ends_at is not None:
        ours[TAG_ENDS] = end_tag(request.ends_at)
    return {**request.labels, **packed(request.tags, EC2), **ours}


def _is_of(instance: Instance, request: DescribeRequest) -> bool:
    wanted = {TAG_OWNER: request.owner, TAG_SCOPE: request.scope}
    return wanted.items() <= instance.tags.items()


_fits: type[Provider] = MemoryProvider
_keeps_ends: type[KeepsEnds] = MemoryProvider


class RecordedEvents(list[Event]):
    """A subscriber that keeps what it is told: ``with app.events.subscribed(recorded): …``."""

    def __call__(self, event: Event) -> None:
        """Keep one event."""
        self.append(event)
