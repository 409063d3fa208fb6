"""Regions, zones, the machine types there, and the project itself."""

from __future__ import annotations

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, MachineType, machine_types, number_of, region_of, zones_of
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.errors import not_found
from ogc_async.sandbox.compute.pages import listed
from ogc_async.sandbox.compute.project import Project

FIELDS = words("name id status region zone description guestCpus memoryMb isSharedCpu architecture creationTimestamp")
LONG_AGO = "1969-12-31T16:00:00.000-08:00"


def get_region(call: Call) -> Fields:
    """One region."""
    return describe_region(call.project, call.region)


def list_regions(call: Call) -> Fields:
    """All regions."""
    return listed(call, "region", (describe_region(call.project, each) for each in REGIONS), FIELDS)


def get_zone(call: Call) -> Fields:
    """One zone."""
    return describe_zone(call.project, call.zone)


def list_zones(call: Call) -> Fields:
    """All zones."""
    zones = (zone for region in REGIONS for zone in zones_of(region))
    return listed(call, "zone", (describe_zone(call.project, each) for each in zones), FIELDS)


def get_machine_type(call: Call) -> Fields:
    """One machine type."""
    name = call.path["machineType"]
    found = machine_types().get(name)
    if found is None:
        raise not_found(call.project.path(f"zones/{call.zone}/machineTypes/{name}"))
    return _machine_type(call.project, call.zone, found)


def list_machine_types(call: Call) -> Fields:
    """A zone's machine types."""
    found = (_machine_type(call.project, call.zone, each) for each in machine_types().values())
    return listed(call, "machineType", found, FIELDS)


def get_project(call: Call) -> Fields:
    """The project."""
    project = call.project
    return {
        "kind": "compute#project",
        "id": project.number,
        "name": project.name,
        "creationTimestamp": project.timestamp(0),
        "commonInstanceMetadata": _metadata(project),
        "defaultServiceAccount": f"{project.number}-compute@developer.gserviceaccount.com",
        "defaultNetworkTier": "PREMIUM",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "quotas": [{"metric": "NETWORKS", "limit": 5.0, "usage": 1.0}],
        "selfLink": f"https://www.googleapis.com/compute/v1/projects/{project.name}",
    }


def _metadata(project: Project) -> Fields:
    items = [{"key": "enable-oslogin", "value": "TRUE"}] if project.settings.has_os_login else []
    return {"kind": "compute#metadata", "fingerprint": "AAAAAAAAAAA=", "items": items}


def describe_region(project: Project, name: str) -> Fields:
    """A region as replies show it."""
    limit, usage = float(project.settings.quota), float(project.count_in(name))
    return {
        "kind": "compute#region",
        "id": number_of(f"regions/{name}"),
        "name": name,
        "description": name,
        "creationTimestamp": LONG_AGO,
        "status": "UP",
        "zones": [project.link(f"zones/{zone}") for zone in zones_of(name)],
        "quotas": [{"metric": "INSTANCES", "limit": limit, "usage": usage}],
        "supportsPzs": False,
        "selfLink": project.link(f"regions/{name}"),
    }


def describe_zone(project: Project, name: str) -> Fields:
    """A zone as replies show it."""
    return {
        "kind": "compute#zone",
        "id": number_of(f"zones/{name}"),
        "name": name,
        "description": name,
        "creationTimestamp": LONG_AGO,
        "status": "UP",
        "region": project.link(f"regions/{region_of(name)}"),
        "availableCpuPlatforms": ["Ampere Altra", "Intel Broadwell", "Intel Cascade Lake", "Intel Haswell"],
        "supportsPzs": False,
        "selfLink": project.link(f"zones/{name}"),
    }


def _machine_type(project: Project, zone: str, kind: MachineType) -> Fields:
    path = f"zones/{zone}/machineTypes/{kind.name}"
    return {
        "kind": "compute#machineType",
        "id": number_of(path),
        "name": kind.name,
        "description": f"{kind.cpus} vCPUs, {kind.memory_mb / 1024:g} GB RAM",
        "creationTimestamp": LONG_AGO,
        "guestCpus": kind.cpus,
        "memoryMb": kind.memory_mb,
        "imageSpaceGb": 0,
        "maximumPersistentDisks": 128,
        "maximumPersistentDisksSizeGb": "263168",
        "isSharedCpu": kind.is_shared,
        "architecture": kind.arch,
        "zone": zone,
        "selfLink": project.link(path),
    }
