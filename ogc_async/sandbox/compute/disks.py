"""Boot disks: there is one beside each instance, of its name, and none without."""

from __future__ import annotations

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, number_of, zones_of
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.errors import not_found
from ogc_async.sandbox.compute.pages import aggregated, listed
from ogc_async.sandbox.compute.project import Instance, Project, fingerprint

FIELDS = words("name id labels status zone type sizeGb creationTimestamp sourceImage users")
TYPES = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")


def get(call: Call) -> Fields:
    """One disk."""
    return describe(call.project, call.project.find(call.zone, call.path["disk"]))


def list_(call: Call) -> Fields:
    """A zone's disks."""
    found = call.project.visible(call.zone)
    return listed(call, "disk", (describe(call.project, each) for each in found), FIELDS)


def aggregated_list(call: Call) -> Fields:
    """All zones' disks."""
    scopes = [f"zones/{zone}" for region in REGIONS for zone in zones_of(region)]
    found = ((f"zones/{each.zone}", describe(call.project, each)) for each in call.project.visible())
    return aggregated(call, "disk", "disks", scopes, found, FIELDS)


def get_type(call: Call) -> Fields:
    """One kind of disk."""
    name = call.path["diskType"]
    path = f"zones/{call.zone}/diskTypes/{name}"
    if name not in TYPES:
        raise not_found(call.project.path(path))
    return {
        "kind": "compute#diskType",
        "id": number_of(path),
        "name": name,
        "description": name,
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "zone": call.project.link(f"zones/{call.zone}"),
        "selfLink": call.project.link(path),
        "defaultDiskSizeGb": "100",
        "validDiskSize": "10GB-65536GB",
    }


def describe(project: Project, instance: Instance) -> Fields:
    """A disk as replies show it."""
    zone = f"zones/{instance.zone}"
    described: Fields = {
        "kind": "compute#disk",
        "id": number_of(f"{instance.machine.id} disk"),
        "name": instance.name,
        "creationTimestamp": project.timestamp(instance.machine.launched_at),
        "zone": project.link(zone),
        "type": project.link(f"{zone}/diskTypes/{instance.disk_type}"),
        "sizeGb": str(instance.disk_gb),
        "status": "READY",
        "sourceImage": f"https://www.googleapis.com/compute/v1/{instance.image.path}",
        "sourceImageId": number_of(instance.image.path),
        "users": [project.link(f"{zone}/instances/{instance.name}")],
        "labelFingerprint": fingerprint(instance.disk_labels),
        "physicalBlockSizeBytes": "4096",
        "selfLink": project.link(f"{zone}/disks/{instance.name}"),
    }
    return described | ({"labels": instance.disk_labels} if instance.disk_labels else {})
