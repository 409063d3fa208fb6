"""What is asked of a provider, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ogc_async.errors import ProviderError

TAG_OWNER = "ogc:owner"
TAG_SCOPE = "ogc:scope"
TAG_LAYOUT = "ogc:layout"
TAG_BATCH = "ogc:batch"
TAG_TAGS = "ogc:tags"
TAG_ENDS = "ogc:ends"
"""When the machine's time to live is over at the latest, in whole seconds since the epoch."""


class Market(StrEnum):
    """How a machine is paid for."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


class InstanceState(StrEnum):
    """What the cloud says of a machine, in this project's words."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATING = "terminating"
    TERMINATED = "terminated"

    @property
    def is_gone(self) -> bool:
        """The machine has ended or is about to."""
        return self in (InstanceState.TERMINATING, InstanceState.TERMINATED)


@dataclass(frozen=True, slots=True)
class Port:
    """An inclusive range of ports that a layout opens."""

    first: int
    last: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        span = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return span if self.protocol == "tcp" else f"{span}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine type in a zone (None: the cloud chooses): what capacity is had of, or not."""

    zone: str | None
    size: str

    def __str__(self) -> str:
        return f"{self.size} in {self.zone}" if self.zone else self.size


@dataclass(frozen=True, slots=True)
class HostKey:
    """An SSH host key that machines are given at their launch; ``private`` is for them alone, and no text shows it.

    ``public`` is an OpenSSH line without comment, ``private`` an OpenSSH key file's content.
    """

    public: str
    private: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One batch: machines of one shape, in one zone, under one idempotency token.

    ``names`` are the nodes', one machine each; ``token`` was committed to the database beforehand (at most 64 ASCII
    characters); ``scope`` tells apart the databases of one owner. A repeat with equal values launches nothing new.
    ``host_key`` is the one that all its machines are to have, where the provider can give it to them.
    ``ttl`` is how long each machine lives; with ``stops_at_end`` it stops then, and ends otherwise. ``ends_at`` is when
    that is over at the latest, as it was committed with the token; machines carry it as a tag.
    ``wants_public_ip`` asks for a public address whatever the network gives by itself; None leaves it to the network.
    """

    owner: str
    scope: str
    layout: str
    names: tuple[str, ...]
    token: str
    runs_on: str
    instance_size: str
    public_key: str = field(repr=False)
    arch: str = "x86_64"
    username: str | None = None
    zone: str | None = None
    ports: tuple[Port, ...] = ()
    ingress: tuple[str, ...] = ("0.0.0.0/0",)
    ssh_port: int = 22
    spot: bool = False
    ttl: timedelta | None = None
    stops_at_end: bool = False
    ends_at: datetime | None = None
    disk_size_gib: int | None = None
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    host_key: HostKey | None = None
    wants_public_ip: bool | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume that an image's machines come with; ``options`` is what a launch says of it, in its cloud's words."""

    device: str
    options: tuple[tuple[str, str | int | bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What stands ready before machines of a layout can be launched; names and ids are the provider's own.

    ``disks`` are those of the image's volumes that a launch has to name, as that of ``root_device``.
    """

    image: str
    username: str
    key_pair: str
    firewall: str
    root_device: str = ""
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that no machine has (any more); ``layout`` and ``scope`` are those of the machine it was made for."""

    id: str
    layout: str
    size_gib: int = 0
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine as the cloud describes it.

    ``launch_index`` is its place in its batch, counted from 0, or -1 where its ``name`` is the node's; ``error`` says
    why it ended, where the cloud told. ``account`` is the one that owns it, by the cloud's own reply; "" where it did
    not say. One that is not ``is_known`` is told as ended because the cloud does not know its id. ``size`` is the
    machine type that it was really given, and ``market`` how it is paid for, where the cloud told. ``ends_at`` is when
    the cloud itself will end or stop it, ``ended_at`` when it went to the state that it is in, by the cloud's word;
    ``seen_at`` is when the cloud told all this, by its own clock, where that is known.
    """

    id: str
    state: InstanceState
    token: str
    launch_index: int
    zone: str = ""
    name: str = ""
    public_ip: str | None = None
    private_ip: str | None = None
    reason: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    launched_at: datetime | None = None
    account: str = ""
    is_known: bool = True
    error: ProviderError | None = None
    size: str = ""
    market: Market | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """Why one name of a batch has no machine."""

    name: str
    error: ProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """Which machines to describe: of these batches, or these ids, of one owner and scope. At least one is given.

    ``id_tokens`` are the batches that the ids are of, as far as they are known: of many ids they make a shorter
    question. ``is_patient`` says that machines which still boot may be left out of the answer.
    """

    owner: str
    scope: str
    tokens: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    id_tokens: tuple[str, ...] = ()
    is_patient: bool = False
