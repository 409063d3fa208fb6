"""What a machine is to be, read from a body, and ``instances.insert``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import asyncssh

from ogc_async.sandbox.compute import catalog
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import Image, MachineType, region_of
from ogc_async.sandbox.compute.checking import (
    Fields,
    check_known,
    check_name,
    flag,
    labels_of,
    metadata_of,
    number,
    structure,
    structures,
    tags_of,
    text,
    words,
)
from ogc_async.sandbox.compute.ending import limit_time, preempt
from ogc_async.sandbox.compute.errors import Refused, already_exists, invalid, required
from ogc_async.sandbox.compute.operations import describe
from ogc_async.sandbox.compute.project import Instance, Project
from ogc_async.sandbox.compute.scheduling import limits_of, scheduling_of
from ogc_async.sandbox.compute.tracking import Fault, Operation, no_quota, no_room, planned_faults
from ogc_async.sandbox.hosts import Login
from ogc_async.sandbox.room import INTERNAL_ERROR, NO_CAPACITY, Machine, State

NETWORK = "10.128"

SHARED = words(
    "description disks labels machineType metadata minCpuPlatform networkInterfaces scheduling serviceAccounts "
    "shieldedInstanceConfig tags canIpForward"
)
"""What an instance and a bulk insert's properties have in common."""
INSTANCE = SHARED | {"name", "zone", "hostname", "deletionProtection", "kind"}
DISK = words("autoDelete boot deviceName diskSizeGb index initializeParams interface kind mode type architecture")
INITIALIZE = words("description diskName diskSizeGb diskType labels sourceImage architecture")
INTERFACE = words("accessConfigs kind name network nicType stackType subnetwork")
ACCESS = words("kind name networkTier type")
IMAGE = re.compile(r"(?:https?://[^/]+/compute/v1/)?(?:projects/([^/]+)/)?global/images/((?:family/)?[^/]+)")
TYPE = re.compile(r"(?:(?:https?://[^/]+/compute/v1/)?projects/[^/]+/)?zones/([^/]+)/machineTypes/([^/]+)")
DEFAULT_NETWORK = re.compile(r"(?:(?:https?://[^/]+/compute/v1/)?projects/[^/]+/)?(?:global/networks/)?default")
SUBNETWORK = re.compile(r"(?:(?:https?://[^/]+/compute/v1/)?projects/[^/]+/)?regions/([^/]+)/subnetworks/default")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine that is possible, capacity aside."""

    type: MachineType
    image: Image
    labels: dict[str, str]
    metadata: dict[str, str]
    network_tags: list[str]
    scheduling: Fields
    has_public_address: bool
    run_s: float | None
    ends_at: float | None
    disk: Fields
    description: str
    service_accounts: list[Fields]


def insert(call: Call) -> Fields:
    """Launch one machine. That it is accepted does not mean that there will be one."""
    project, body = call.project, call.body
    if (earlier := call.earlier()) is not None:
        return describe(project, earlier)
    check_known(body, INSTANCE)
    name = check_name(text(body, "name"))
    wanted = read(project, body, call.region, machine_type(call))
    if (path := taken(project, call.zone, name)) is not None:
        raise already_exists(path)
    project.check_concurrent("insert", call.region)
    target = f"zones/{call.zone}/instances/{name}"
    faults = call.planned_faults(target) or Budget(project, call.region, [call.zone]).take(wanted, call.zone)
    return describe(project, call.remember(launch(call, wanted, call.zone, name, faults)))


def taken(project: Project, zone: str, name: str) -> str | None:
    """What stands in the way of a machine of that name: another one, or the boot disk that one has left behind."""
    if project.holder(zone, name) is not None:
        return project.path(f"zones/{zone}/instances/{name}")
    if project.disk_holder(zone, name) is not None:
        return project.path(f"zones/{zone}/disks/{name}")
    return None


def machine_type(call: Call) -> MachineType:
    """The type that an instance's URL of a machine type names."""
    given = text(call.body, "machineType")
    if not given:
        raise required("resource.machineType")
    match = TYPE.fullmatch(given)
    if match is None:
        raise invalid("resource.machineType", given, "The URL is malformed.")
    return find_type(match[2], match[1], call.zone)


def find_type(name: str, named_zone: str, zone: str) -> MachineType:
    """The machine type of that name. Raises :class:`Refused`."""
    found = catalog.machine_types().get(name)
    if found is None or named_zone != zone:
        why = f"Machine type with name '{name}' does not exist in zone '{zone}'."
        raise invalid("resource.machineType", name, why)
    return found


def read(project: Project, body: Mapping[str, object], region: str, kind: MachineType) -> Wanted:
    """What the body wants. Raises :class:`Refused`."""
    disk = _disk(body)
    image = _image(project, text(structure(disk, "initializeParams"), "sourceImage"))
    if image.arch != kind.arch:
        message = (
            f"Requested boot disk architecture ({image.arch}) is not compatible with machine type architecture "
            f"({kind.arch})."
        )
        raise Refused("invalid", message)
    scheduling = structure(body, "scheduling")
    run_s, ends_at = limits_of(project, scheduling)
    return Wanted(
        type=kind,
        image=image,
        labels=labels_of(body),
        metadata=metadata_of(structure(body, "metadata")),
        network_tags=tags_of(body),
        scheduling=scheduling_of(scheduling),
        has_public_address=_has_public_address(body, region),
        run_s=run_s,
        ends_at=ends_at,
        disk=disk,
        description=text(body, "description"),
        service_accounts=structures(body, "serviceAccounts"),
    )


class Budget:
    """How many machines the region and its zones can take yet, for the length of one call."""

    def __init__(self, project: Project, region: str, zones: Iterable[str]) -> None:
        self._project = project
        self._region = region
        self._allowed = project.settings.quota - project.count_in(region)
        self._free = {zone: project.room.free_in(zone) for zone in zones}

    def take(self, wanted: Wanted, zone: str) -> list[Fault]:
        """Count one more machine, or tell why there can be none."""
        if self._allowed <= 0:
            return [no_quota(self._region, self._project.settings.quota)]
        if self._free[zone] <= 0:
            return [no_room(self._project.path(f"zones/{zone}"), wanted.type.name)]
        self._allowed -= 1
        self._free[zone] -= 1
        return []


def launch(
    call: Call, wanted: Wanted, zone: str, name: str, faults: list[Fault], *, group_id: str = "", hostname: str = ""
) -> Operation:
    """Begin the operation that makes the machine; with faults, it makes none."""
    project, target = call.project, f"zones/{zone}/instances/{name}"
    boot_s = project.room.draw_boot_s()
    number_ = project.new_number()
    operation = project.begin("insert", f"zones/{zone}", target, number_, lasts=boot_s, group_id=group_id)
    if faults:
        project.room.start(project.finish_later(operation, *faults))
        return operation
    machine = Machine(
        id=number_,
        provider="google",
        region=region_of(zone),
        zone=zone,
        type=wanted.type.name,
        image=wanted.image.path,
        logins=() if project.settings.has_os_login else logins_of(wanted.metadata),
        private_ip=project.room.next_private_ip(NETWORK),
        launched_at=project.clock.now(),
        boot_s=boot_s,
        tags=dict(wanted.labels),
        is_protected=flag(call.body, "deletionProtection"),
        is_spot=bool(wanted.scheduling["preemptible"]),
        has_public_address=wanted.has_public_address,
    )
    size = number(structure(wanted.disk, "initializeParams"), "diskSizeGb") or number(wanted.disk, "diskSizeGb")
    parameters = structure(wanted.disk, "initializeParams")
    instance = Instance(
        machine=machine,
        name=name,
        type=wanted.type,
        image=wanted.image,
        request_id=call.query.get("requestId", ""),
        description=wanted.description,
        hostname=hostname or text(call.body, "hostname"),
        metadata=dict(wanted.metadata),
        network_tags=list(wanted.network_tags),
        scheduling=dict(wanted.scheduling),
        service_accounts=wanted.service_accounts,
        device_name=text(wanted.disk, "deviceName") or "persistent-disk-0",
        disk_gb=size or wanted.image.disk_gb,
        disk_type=text(parameters, "diskType", "pd-standard").rpartition("/")[2],
        disk_labels=dict(labels_of(parameters)),
        is_disk_deleted=flag(wanted.disk, "autoDelete"),
        run_s=wanted.run_s,
        limit_at=wanted.ends_at,
    )
    machine.take_back = partial(preempt, project, instance)
    project.add(instance)
    project.room.start(_follow(project, operation, instance))
    limit_time(project, instance)
    return operation


def logins_of(metadata: Mapping[str, str]) -> tuple[Login, ...]:
    """Whom ``ssh-keys`` lets in; a line that is no ``user:key`` is passed over, as the guest agent does."""
    logins = []
    for line in metadata.get("ssh-keys", "").splitlines():
        user, separator, key = line.strip().partition(":")
        if not (user and separator):
            continue
        try:
            asyncssh.import_public_key(key)
        except asyncssh.KeyImportError:
            continue
        logins.append(Login(key, user))
    return tuple(logins)


async def _follow(project: Project, operation: Operation, instance: Instance) -> None:
    machine = instance.machine
    await machine.settled.wait()
    operation.finish(project.clock.now(), *boot_faults(project, machine))


def boot_faults(project: Project, machine: Machine) -> list[Fault]:
    """Why a boot that is over has brought up nothing; a machine that somebody ended meanwhile is no fault of it."""
    if machine.state not in (State.ENDED, State.STOPPED):
        return []
    if machine.reason == NO_CAPACITY:
        return [no_room(project.path(f"zones/{machine.zone}"), machine.type, is_late=True)]
    if machine.reason is not None and machine.reason[0] == INTERNAL_ERROR:
        return planned_faults("INTERNAL_ERROR", project.number, "", "")
    return []


def _disk(body: Mapping[str, object]) -> Fields:
    disks = structures(body, "disks")
    if not disks:
        raise Refused("invalid", "Invalid value for field 'resource.disks': ''. No boot disk specified.")
    if len(disks) > 1:
        raise Refused("invalid", "The sandbox's machines have a boot disk and no other.")
    disk = disks[0]
    check_known(disk, DISK, "disks.")
    if not flag(disk, "boot"):
        raise invalid("resource.disks[0].boot", "false", "Boot disk must be the first disk attached to the instance.")
    parameters = structure(disk, "initializeParams")
    check_known(parameters, INITIALIZE, "disks.initializeParams.")
    if not text(parameters, "sourceImage"):
        raise required("resource.disks[0].initializeParams.sourceImage")
    labels_of(parameters)
    return disk


def _image(project: Project, given: str) -> Image:
    match = IMAGE.fullmatch(given)
    field = "resource.disks[0].initializeParams.sourceImage"
    if match is None:
        raise invalid(field, given, "The URL is malformed.")
    found = catalog.find_image(match[1] or project.name, match[2])
    if found is None:
        raise invalid(field, given, "The referenced image resource cannot be found.")
    return found


def _has_public_address(body: Mapping[str, object], region: str) -> bool:
    interfaces = structures(body, "networkInterfaces")
    if not interfaces:
        raise Refused("invalid", "At least one network interface is required.")
    if len(interfaces) > 1:
        raise Refused("invalid", "The sandbox's machines have one network interface.")
    interface = interfaces[0]
    check_known(interface, INTERFACE, "networkInterfaces.")
    network, subnetwork = text(interface, "network"), text(interface, "subnetwork")
    if network and not DEFAULT_NETWORK.fullmatch(network):
        raise invalid(
            "resource.networkInterfaces[0].network", network, "The referenced network resource cannot be found."
        )
    match = SUBNETWORK.fullmatch(subnetwork)
    if subnetwork and (match is None or match[1] != region):
        why = "The referenced subnetwork resource cannot be found."
        raise invalid("resource.networkInterfaces[0].subnetwork", subnetwork, why)
    accesses = structures(interface, "accessConfigs")
    if len(accesses) > 1:
        raise Refused("invalid", "At most one access config currently supported.")
    for access in accesses:
        check_known(access, ACCESS, "networkInterfaces.accessConfigs.")
        if text(access, "type", "ONE_TO_ONE_NAT") != "ONE_TO_ONE_NAT":
            raise invalid("resource.networkInterfaces[0].accessConfigs[0].type", access["type"], "")
    return bool(accesses)
