"""The methods that are served: where, for what quota, with which parameters.

Source: the discovery document of compute.v1
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from ogc_async.sandbox.compute import bulk, disks, images, instances, launching, lifecycle, network, operations, places
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.limits import Group

Run = Callable[[Call], Fields | Awaitable[Fields]]

STANDARD = words("$.xgafv $alt $prettyPrint alt callback fields key prettyPrint quotaUser userIp")
"""Parameters of every method."""
PAGES = words("filter maxResults orderBy pageToken")
ALL_SCOPES = PAGES | {"includeAllScopes"}
CHANGE = frozenset({"requestId"})
NOTHING: frozenset[str] = frozenset()
WITH_BODY = words(
    "instances.insert instances.bulkInsert regionInstances.bulkInsert instances.setLabels instances.setMetadata "
    "instances.setScheduling firewalls.insert firewalls.patch"
)
"""Methods that are told something in a body; what others are sent there is passed over, as libcloud sends."""


class Method(NamedTuple):
    """One method; parameters that it does not take are refused."""

    name: str
    verb: str
    path: re.Pattern[str]
    run: Run
    group: Group
    takes: frozenset[str]

    @property
    def has_body(self) -> bool:
        """It reads a body."""
        return self.name in WITH_BODY

    @property
    def is_vendors(self) -> bool:
        """It also reads other projects'."""
        return self.name.startswith("images.")


def _method(name: str, verb: str, tail: str, run: Run, group: Group, takes: frozenset[str] = NOTHING) -> Method:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", f"projects/{{project}}{tail and '/'}{tail}")
    return Method(name, verb, re.compile(pattern), run, group, takes | STANDARD)


ZONE, REGION, GLOBAL = "zones/{zone}", "regions/{region}", "global"


def _instances() -> Iterator[Method]:
    all_, one = f"{ZONE}/instances", f"{ZONE}/instances/{{instance}}"
    yield _method("instances.insert", "POST", all_, launching.insert, Group.WRITE, CHANGE)
    yield _method("instances.bulkInsert", "POST", f"{all_}/bulkInsert", bulk.bulk_insert, Group.WRITE, CHANGE)
    regional = f"{REGION}/instances/bulkInsert"
    yield _method("regionInstances.bulkInsert", "POST", regional, bulk.bulk_insert, Group.WRITE, CHANGE)
    yield _method("instances.list", "GET", all_, instances.list_, Group.LIST, PAGES)
    aggregated = "aggregated/instances"
    yield _method(
        "instances.aggregatedList", "GET", aggregated, instances.aggregated_list, Group.GLOBAL_HEAVY_READ, ALL_SCOPES
    )
    yield _method("instances.get", "GET", one, instances.get, Group.READ)
    takes = CHANGE | {"noGracefulShutdown"}
    yield _method("instances.delete", "DELETE", one, instances.delete, Group.WRITE, takes)
    takes = CHANGE | {"discardLocalSsd", "noGracefulShutdown"}
    yield _method("instances.stop", "POST", f"{one}/stop", lifecycle.stop, Group.WRITE, takes)
    yield _method("instances.start", "POST", f"{one}/start", lifecycle.start, Group.WRITE, CHANGE)
    yield _method("instances.reset", "POST", f"{one}/reset", lifecycle.reset, Group.WRITE, CHANGE)
    takes = CHANGE | {"discardLocalSsd"}
    yield _method("instances.suspend", "POST", f"{one}/suspend", lifecycle.suspend, Group.WRITE, takes)
    yield _method("instances.resume", "POST", f"{one}/resume", lifecycle.resume, Group.WRITE, CHANGE)
    takes = CHANGE | {"autoDelete", "deviceName"}
    changing = f"{one}/setDiskAutoDelete"
    yield _method("instances.setDiskAutoDelete", "POST", changing, disks.set_auto_delete, Group.WRITE, takes)
    yield _method("instances.setLabels", "POST", f"{one}/setLabels", instances.set_labels, Group.WRITE, CHANGE)
    yield _method("instances.setMetadata", "POST", f"{one}/setMetadata", instances.set_metadata, Group.WRITE, CHANGE)
    setting = f"{one}/setScheduling"
    yield _method("instances.setScheduling", "POST", setting, instances.set_scheduling, Group.WRITE, CHANGE)
    takes = frozenset({"queryPath", "variableKey"})
    attributes = f"{one}/getGuestAttributes"
    yield _method("instances.getGuestAttributes", "GET", attributes, instances.get_guest_attributes, Group.WRITE, takes)
    takes = frozenset({"port", "start"})
    run = instances.get_serial_port_output
    yield _method("instances.getSerialPortOutput", "GET", f"{one}/serialPort", run, Group.SERIAL_PORT, takes)


def _operations() -> Iterator[Method]:
    for kind, scope in (("zone", ZONE), ("region", REGION), ("global", GLOBAL)):
        is_global = kind == "global"
        read = Group.GLOBAL_READ if is_global else Group.OPERATION_READ
        lists = Group.GLOBAL_READ if is_global else Group.LIST
        heavy = Group.GLOBAL_HEAVY_READ if is_global else Group.HEAVY_READ
        all_, one = f"{scope}/operations", f"{scope}/operations/{{operation}}"
        yield _method(f"{kind}Operations.list", "GET", all_, operations.list_, lists, PAGES)
        yield _method(f"{kind}Operations.get", "GET", one, operations.get, read)
        yield _method(f"{kind}Operations.wait", "POST", f"{one}/wait", operations.wait, heavy)


def _places() -> Iterator[Method]:
    yield _method("projects.get", "GET", "", places.get_project, Group.GLOBAL_READ)
    yield _method("regions.list", "GET", "regions", places.list_regions, Group.GLOBAL_READ, PAGES)
    yield _method("regions.get", "GET", REGION, places.get_region, Group.GLOBAL_READ)
    yield _method("zones.list", "GET", "zones", places.list_zones, Group.GLOBAL_READ, PAGES)
    yield _method("zones.get", "GET", ZONE, places.get_zone, Group.GLOBAL_READ)
    types = f"{ZONE}/machineTypes"
    yield _method("machineTypes.list", "GET", types, places.list_machine_types, Group.LIST, PAGES)
    yield _method("machineTypes.get", "GET", f"{types}/{{machineType}}", places.get_machine_type, Group.READ)


def _images_and_disks() -> Iterator[Method]:
    all_ = f"{GLOBAL}/images"
    yield _method("images.list", "GET", all_, images.list_, Group.GLOBAL_READ, PAGES)
    yield _method("images.getFromFamily", "GET", f"{all_}/family/{{family}}", images.get_from_family, Group.GLOBAL_READ)
    yield _method("images.get", "GET", f"{all_}/{{image}}", images.get, Group.GLOBAL_READ)
    aggregated = disks.aggregated_list
    yield _method("disks.aggregatedList", "GET", "aggregated/disks", aggregated, Group.GLOBAL_HEAVY_READ, ALL_SCOPES)
    yield _method("disks.list", "GET", f"{ZONE}/disks", disks.list_, Group.LIST, PAGES)
    yield _method("disks.get", "GET", f"{ZONE}/disks/{{disk}}", disks.get, Group.READ)
    yield _method("disks.delete", "DELETE", f"{ZONE}/disks/{{disk}}", disks.delete, Group.WRITE, CHANGE)
    yield _method("diskTypes.get", "GET", f"{ZONE}/diskTypes/{{diskType}}", disks.get_type, Group.READ)


def _network() -> Iterator[Method]:
    all_, one = f"{GLOBAL}/firewalls", f"{GLOBAL}/firewalls/{{firewall}}"
    yield _method("firewalls.insert", "POST", all_, network.insert_firewall, Group.GLOBAL_WRITE, CHANGE)
    yield _method("firewalls.list", "GET", all_, network.list_firewalls, Group.GLOBAL_READ, PAGES)
    yield _method("firewalls.get", "GET", one, network.get_firewall, Group.GLOBAL_READ)
    yield _method("firewalls.patch", "PATCH", one, network.patch_firewall, Group.GLOBAL_WRITE, CHANGE)
    yield _method("firewalls.delete", "DELETE", one, network.delete_firewall, Group.GLOBAL_WRITE, CHANGE)
    all_ = f"{GLOBAL}/networks"
    yield _method("networks.list", "GET", all_, network.list_networks, Group.GLOBAL_READ, PAGES)
    yield _method("networks.get", "GET", f"{all_}/{{network}}", network.get_network, Group.GLOBAL_READ)


METHODS = (*_instances(), *_operations(), *_places(), *_images_and_disks(), *_network())


def find(verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method of that path, with what the path names."""
    for method in METHODS:
        match = method.path.fullmatch(path) if method.verb == verb else None
        if match:
            return method, match.groupdict()
    return None
