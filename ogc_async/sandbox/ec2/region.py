"""One region: what exists in it, by id."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ogc_async.sandbox.accounts import Account
from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.ec2.buckets import Buckets
from ogc_async.sandbox.ec2.catalog import Device, Image, images, own_images
from ogc_async.sandbox.ec2.errors import Refused, invalid, throttled
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.room import Machine, MachineRoom, State
from ogc_async.sandbox.settings import SandboxSettings

FORGOTTEN_AFTER_S = 3600.0
"""How long a terminated instance is still described."""
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions: every character is taken."""

STATES = {
    State.PENDING: (0, "pending"),
    State.RUNNING: (16, "running"),
    State.ENDING: (32, "shutting-down"),
    State.ENDED: (48, "terminated"),
    State.STOPPING: (64, "stopping"),
    State.STOPPED: (80, "stopped"),
}

Fields = dict[str, Any]
Tags = dict[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """A machine, and what only EC2 knows of it."""

    machine: Machine
    image: Image
    reservation: str
    index: int
    token: str
    key_name: str
    group_ids: list[str]
    is_persistent: bool
    """Of a spot request that outlives its machine."""
    is_hibernatable: bool
    is_stop_protected: bool
    http_tokens: str
    user_data: str
    volumes: list[Volume] = field(default_factory=list)

    @property
    def id(self) -> str:
        """``i-…``."""
        return self.machine.id

    @property
    def state(self) -> str:
        """EC2's word for the machine's state."""
        return STATES[self.machine.state][1]

    @property
    def shutdown_behavior(self) -> str:
        """What a shutdown from inside does."""
        return "terminate" if self.machine.is_ended_by_shutdown else "stop"

    @property
    def is_ended(self) -> bool:
        """Terminated for good."""
        return self.machine.state is State.ENDED


@dataclass(slots=True, kw_only=True, eq=False)
class Volume:
    """A disk, made with an instance; it may outlive it."""

    id: str
    instance: Instance
    device: Device
    zone: str
    tags: Tags
    created_at: float

    @property
    def is_attached(self) -> bool:
        """Its instance is not terminated."""
        return not self.instance.is_ended

    @property
    def is_there(self) -> bool:
        """It was not deleted with its instance."""
        return self.is_attached or not self.device.is_deleted


@dataclass(slots=True, kw_only=True, eq=False)
class KeyPair:
    """A public key by a name."""

    id: str
    name: str
    public_key: str
    kind: str
    fingerprint: str
    created_at: float
    tags: Tags


@dataclass(frozen=True, slots=True)
class Rule:
    """One network that a security group lets in, or out to."""

    protocol: str
    first: int
    last: int
    network: str
    description: str = field(default="", compare=False)


@dataclass(slots=True, kw_only=True, eq=False)
class SecurityGroup:
    """A firewall in the default VPC."""

    id: str
    owner: str
    name: str
    description: str
    tags: Tags
    ingress: dict[Rule, str] = field(default_factory=dict)
    egress: dict[Rule, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Bound:
    """What a client token stands for, for ever: its parameters, and what it launched."""

    fingerprint: str
    instances: list[Instance] = field(default_factory=list)


class Region:
    """The resources of one account in one region; operations read and change them."""

    def __init__(self, name: str, account: Account, settings: SandboxSettings, clock: Clock, room: MachineRoom) -> None:
        self.name = name
        self.account = account
        self.settings = settings
        self.clock = clock
        self.room = room
        self.zones = [f"{name}{letter}" for letter in settings.zones]
        self.instances: dict[str, Instance] = {}
        self.volumes: dict[str, Volume] = {}
        self.key_pairs: dict[str, KeyPair] = {}
        self.groups: dict[str, SecurityGroup] = {}
        self.tokens: dict[tuple[str, str], Bound] = {}
        whose = "" if account.place == 1 else f" {account.number}"
        self._rng = random.Random(f"{settings.seed} {name}{whose}")  # noqa: S311  # reproducible, not secret
        self.buckets = Buckets(clock.now)
        self.vpc_id = self.new_id("vpc")
        self.subnets = {zone: self.new_id("subnet") for zone in self.zones}
        self.default_group = self.add_group("default", "default VPC security group", {})

    def images(self) -> dict[str, Image]:
        """The images that the account may use, by id: everybody's, and its own."""
        return images(self.name) | own_images(self.name, self.account.number)

    def new_id(self, prefix: str) -> str:
        """An id that nothing else has."""
        return f"{prefix}-{self._rng.getrandbits(68):017x}"

    def add_group(self, name: str, description: str, tags: Tags) -> SecurityGroup:
        """A new security group, which lets out everything."""
        group = SecurityGroup(
            id=self.new_id("sg"), owner=self.account.number, name=name, description=description, tags=tags
        )
        group.egress[Rule("-1", -1, -1, "0.0.0.0/0")] = self.new_id("sgr")
        self.groups[group.id] = group
        return group

    def visible(self) -> Iterator[Instance]:
        """Instances that descriptions show: no longer too young, not yet forgotten."""
        return (each for each in self.instances.values() if self.is_visible(each))

    def is_visible(self, instance: Instance) -> bool:
        """EC2 knows of it everywhere."""
        now, machine = self.clock.now(), instance.machine
        if now < machine.launched_at + self.settings.lag:
            return False
        return machine.ended_at is None or now < machine.ended_at + FORGOTTEN_AFTER_S

    def shown_tags(self, instance: Instance) -> Tags:
        """What descriptions show of the instance's tags."""
        return instance.machine.tags_at(self.clock.now(), self.settings.tag_lag)

    def take_resources(self, operation: str, count: int) -> None:
        """A token a machine. Raises :class:`Refused` where there are too few."""
        if self.settings.has_limits and not self.buckets.take_resources(operation, count):
            raise throttled()

    def tags_of(self, resource_id: str) -> Tags | None:
        """The tags of anything that carries some."""
        found: Mapping[str, Callable[[], Iterator[tuple[str, Tags]]]] = {
            "i": lambda: ((each.id, each.machine.tags) for each in self.visible()),
            "vol": lambda: ((each.id, each.tags) for each in self.volumes.values() if each.is_there),
            "sg": lambda: ((each.id, each.tags) for each in self.groups.values()),
            "key": lambda: ((each.id, each.tags) for each in self.key_pairs.values()),
        }
        prefix = resource_id.partition("-")[0]
        return dict(found[prefix]()).get(resource_id) if prefix in found else None


def tag_set(tags: Mapping[str, str]) -> list[Fields]:
    """Tags as every description shows them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def read_tags(groups: list[Parameters]) -> Tags:
    """The tags of a call. Raises :class:`Refused`."""
    tags: Tags = {}
    for each in groups:
        key = each.required("Key")
        if key in tags:
            raise Refused("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        tags[key] = each.text("Value")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise invalid("tag key", key, "Tag keys starting with 'aws:' are reserved for internal use")
        for kind, text, longest in (("key", key, MAX_TAG_KEY), ("value", value, MAX_TAG_VALUE)):
            if len(text) > longest:
                raise Refused("InvalidParameterValue", f"Tag {kind} exceeds the maximum length of {longest} characters")
    if len(tags) > MAX_TAGS:
        raise Refused("TagLimitExceeded", f"The maximum number of tags on a resource is {MAX_TAGS}")
    return tags


def tag_specification(parameters: Parameters, kind: str, allowed: tuple[str, ...] = ()) -> Tags:
    """The tags that a creating call gives to resources of one kind."""
    tags: Tags = {}
    for each in parameters.groups("TagSpecification"):
        named = each.required("ResourceType")
        if named not in (allowed or (kind,)):
            raise invalid("TagSpecification.ResourceType", named)
        if named == kind:
            tags |= read_tags(each.groups("Tag"))
    return tags
