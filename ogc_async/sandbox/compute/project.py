"""The project: what exists in it, by name."""

from __future__ import annotations

import base64
import hashlib
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone
from functools import lru_cache
from typing import Any

from ogc_async.sandbox.accounts import Account
from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.compute.catalog import Image, MachineType, number_of, region_of
from ogc_async.sandbox.compute.checking import Fields
from ogc_async.sandbox.compute.errors import SERVICE, Refused, not_found
from ogc_async.sandbox.compute.limits import Minutes
from ogc_async.sandbox.compute.tracking import Fault, Operation
from ogc_async.sandbox.room import Machine, MachineRoom, State
from ogc_async.sandbox.settings import SandboxSettings

ROOT = "https://www.googleapis.com/compute/v1"
PACIFIC = timezone(timedelta(hours=-8))
STAGING_FROM = 1 / 3
"""The share of a boot that is provisioning."""
ERRAND_S = 0.1
"""How long a change takes that no machine's boot or end stands behind."""

WORDS = {
    State.RUNNING: "RUNNING",
    State.STOPPING: "STOPPING",
    State.STOPPED: "TERMINATED",
    State.ENDING: "STOPPING",
    State.ENDED: "TERMINATED",
}
SUSPENDED = {State.STOPPING: "SUSPENDING", State.STOPPED: "SUSPENDED"}
"""The words for a machine that is to keep its memory, which the sandbox's do not."""


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """A machine, and what only Compute Engine knows of it."""

    machine: Machine
    name: str
    type: MachineType
    image: Image
    request_id: str
    description: str
    hostname: str
    metadata: dict[str, str]
    network_tags: list[str]
    scheduling: Fields
    service_accounts: list[Fields]
    device_name: str
    """What it calls its boot disk."""
    disk_gb: int
    disk_type: str
    disk_labels: dict[str, str]
    is_disk_deleted: bool
    run_s: float | None = None
    """How long it may run after each start."""
    limit_at: float | None = None
    """When it must be gone."""
    ends_at: float | None = None
    """The earlier of the two, while it runs."""
    is_suspended: bool = False
    is_disk_removed: bool = False

    @property
    def zone(self) -> str:
        """Where it is."""
        return self.machine.zone

    @property
    def is_there(self) -> bool:
        """It exists, or still ends."""
        return self.machine.state is not State.ENDED

    @property
    def path(self) -> str:
        """Below its project."""
        return f"zones/{self.zone}/instances/{self.name}"

    @property
    def has_disk(self) -> bool:
        """Its boot disk exists: beside it, or left behind. A machine that never came up leaves none."""
        is_left = not self.is_disk_deleted and not self.is_disk_removed and self.machine.running_at is not None
        return self.is_there or is_left

    @property
    def ends_by_deletion(self) -> bool:
        """What happens when the cloud takes it back, or its time is over: it is deleted, or else stopped."""
        return self.scheduling.get("instanceTerminationAction") == "DELETE"


class Project:
    """Everything of one project; methods read and change it."""

    def __init__(self, settings: SandboxSettings, clock: Clock, room: MachineRoom, account: Account) -> None:
        self.account = account
        self.name = account.project
        self.settings = settings
        self.clock = clock
        self.room = room
        self.user = user_of(account)
        self.number = number_of(f"projects/{self.name}")[:12]
        self.minutes = Minutes(self.name, clock.now)
        self.launched: list[Instance] = []
        self.firewalls: dict[str, Fields] = {}
        self.operations: dict[str, Operation] = {}
        self.requests: dict[tuple[str, str, str], Operation] = {}
        self._instances: dict[tuple[str, str], Instance] = {}
        self._rng = random.Random(f"{settings.seed} {self.name}")  # noqa: S311  # reproducible, not secret

    def path(self, tail: str) -> str:
        """Of a resource, below ``/compute/v1/``."""
        return f"projects/{self.name}/{tail}"

    def link(self, tail: str) -> str:
        """A resource's URL."""
        return f"{ROOT}/{self.path(tail)}"

    def new_number(self) -> str:
        """A number that nothing else has."""
        return str(self._rng.getrandbits(62) | 1 << 62)

    def new_uuid(self) -> str:
        """A UUID."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def timestamp(self, seconds: float) -> str:
        """A time of the clock as Compute Engine writes it."""
        return self.clock.moment(seconds).astimezone(PACIFIC).isoformat(timespec="milliseconds")

    def add(self, instance: Instance) -> None:
        """A machine of that name is there from now on, and boots."""
        self._instances[instance.zone, instance.name] = instance
        self.launched.append(instance)
        self.room.launch(instance.machine)

    def holder(self, zone: str, name: str) -> Instance | None:
        """Who has that name, seen or not."""
        found = self._instances.get((zone, name))
        return found if found is not None and found.is_there else None

    def find(self, zone: str, name: str) -> Instance:
        """The instance of that name. Raises :class:`Refused`."""
        found = self.holder(zone, name)
        if found is None or not self._is_visible(found):
            raise not_found(self.path(f"zones/{zone}/instances/{name}"))
        return found

    def named(self, zone: str, name: str) -> Instance:
        """The instance of that name or number. Raises :class:`Refused`."""
        if not name.isdecimal():
            return self.find(zone, name)
        found = next((each for each in self.visible(zone) if each.machine.id == name), None)
        if found is None:
            raise not_found(self.path(f"zones/{zone}/instances/{name}"))
        return found

    def visible(self, zone: str | None = None) -> Iterator[Instance]:
        """Instances that lists show, by name."""
        return (
            each
            for (where, _), each in sorted(self._instances.items())
            if zone in (None, where) and each.is_there and self._is_visible(each)
        )

    def disk_holder(self, zone: str, name: str) -> Instance | None:
        """Whose boot disk has that name."""
        found = self._instances.get((zone, name))
        return found if found is not None and found.has_disk else None

    def disks(self, zone: str | None = None) -> Iterator[Instance]:
        """Instances, there or not, whose disks lists show, by name."""
        return (
            each
            for (where, _), each in sorted(self._instances.items())
            if zone in (None, where) and each.has_disk and self._is_visible(each)
        )

    def count_in(self, region: str) -> int:
        """How many instances count against the region's quota: those that are stopped do, too."""
        return sum(each.machine.region == region and each.machine.is_kept for each in self._instances.values())

    def names_in(self, zone: str) -> Iterator[str]:
        """Names that are taken."""
        return (name for (where, name), each in self._instances.items() if where == zone and each.is_there)

    def status(self, instance: Instance) -> str:
        """Compute Engine's word for the machine's state."""
        machine = instance.machine
        if instance.is_suspended and machine.state in SUSPENDED:
            return SUSPENDED[machine.state]
        if machine.state is not State.PENDING:
            return WORDS[machine.state]
        age = self.clock.now() - machine.boots_since
        return "PROVISIONING" if age < machine.boot_s * STAGING_FROM else "STAGING"

    def begin(
        self, kind: str, scope: str, target: str, target_number: str, *, lasts: float = ERRAND_S, group_id: str = ""
    ) -> Operation:
        """A new operation; whoever begins it finishes it."""
        now = self.clock.now()
        millis = int(self.clock.moment(now).timestamp() * 1000)
        bits = f"{self._rng.getrandbits(116):029x}"
        operation = Operation(
            name=f"operation-{millis}-{bits[:13]}-{bits[13:21]}-{bits[21:]}",
            number=self.new_number(),
            kind=kind,
            scope=scope,
            target=target,
            target_number=target_number,
            inserted_at=now,
            starts_at=now + lasts / 10,
            group_id=group_id,
        )
        self.operations[operation.name] = operation
        return operation

    def errand(self, kind: str, scope: str, target: str, target_number: str, *faults: Fault) -> Operation:
        """An operation that is over soon, and whose effect is there already; with faults, it has none."""
        operation = self.begin(kind, scope, target, target_number)
        self.room.start(self.finish_later(operation, *faults))
        return operation

    async def finish_later(self, operation: Operation, *faults: Fault) -> None:
        """Finish it after a while."""
        await self.clock.sleep(ERRAND_S)
        operation.finish(self.clock.now(), *faults)

    def check_concurrent(self, kind: str, region: str) -> None:
        """Room for one more operation of that type in the region. Raises :class:`Refused`."""
        limit = self.settings.concurrent_operations
        if len(self.operations) < limit:
            return
        going_on = sum(
            not each.done.is_set() and each.kind == kind and _region(each) == region
            for each in self.operations.values()
            if not each.group_id or each.kind == "bulkInsert"
        )
        if going_on < limit:
            return
        message = (
            f"Operation rate exceeded: the project has {limit} operations of type {kind} at the same time "
            f"in {region}, which is its quota {SERVICE}/regional_concurrent_operations."
        )
        metadata = {"containerType": "PROJECT", "containerId": self.number, "location": region}
        info = {"reason": "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED", "domain": SERVICE, "metadata": metadata}
        raise Refused("rateLimitExceeded", message, info=info)

    def _is_visible(self, instance: Instance) -> bool:
        return self.clock.now() >= instance.machine.launched_at + self.settings.lag


def user_of(account: Account) -> str:
    """The service account's address."""
    return f"sandbox@{account.project}.iam.gserviceaccount.com"


def fingerprint(thing: Any) -> str:
    """Equal for equal things; a dictionary's order counts."""
    return _digest(repr(thing))


@lru_cache(maxsize=2**16)
def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=8).digest()).decode()


def _region(operation: Operation) -> str:
    kind, _, place = operation.scope.partition("/")
    return region_of(place) if kind == "zones" else place
