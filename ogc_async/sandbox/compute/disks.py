"""Boot disks: one beside each instance, of its name; it outlives an instance that was not to take it along."""

from __future__ import annotations

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, number_of, zones_of
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.errors import Refused, invalid, not_found
from ogc_async.sandbox.compute.operations import describe as describe_operation
from ogc_async.sandbox.compute.pages import aggregated, listed
from ogc_async.sandbox.compute.project import Instance, Project, fingerprint

FIELDS = words("name id labels status zone type sizeGb creationTimestamp sourceImage users")
TYPES = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")


def get(call: Call) -> Fields:
    """One disk."""
    return describe(call.project, _find(call))


def list_(call: Call) -> Fields:
    """A zone's disks."""
    found = call.project.disks(call.zone)
    return listed(call, "disk", (describe(call.project, each) for each in found), FIELDS)


def aggregated_list(call: Call) -> Fields:
    """All zones' disks."""
    scopes = [f"zones/{zone}" for region in REGIONS for zone in zones_of(region)]
    found = ((f"zones/{each.zone}", describe(call.project, each)) for each in call.project.disks())
    return aggregated(call, "disk", "disks", scopes, found, FIELDS)


def delete(call: Call) -> Fields:
    """Remove a disk that no instance has any more."""
    project = call.project
    if (earlier := call.earlier()) is not None:
        return describe_operation(project, earlier)
    instance = _find(call)
    path = f"zones/{instance.zone}/disks/{instance.name}"
    if instance.is_there:
        message = f"The disk resource '{project.path(path)}' is already being used by '{project.path(instance.path)}'"
        raise Refused("resourceInUseByAnotherResource", message)
    faults = call.planned_faults(path)
    instance.is_disk_removed = not faults
    operation = project.errand("delete", call.scope, path, _number(instance), *faults)
    return describe_operation(project, call.remember(operation))


def set_auto_delete(call: Call) -> Fields:
    """Whether an instance takes its disk along when it is deleted."""
    project = call.project
    if (earlier := call.earlier()) is not None:
        return describe_operation(project, earlier)
    instance = project.named(call.zone, call.path["instance"])
    answer, device = call.query.get("autoDelete", ""), call.query.get("deviceName", "")
    if answer.lower() not in ("true", "false"):
        raise invalid("autoDelete", answer, "It must be true or false.")
    if device != instance.device_name:
        raise Refused("invalid", f"No attached disk found with device name '{device}'")
    instance.is_disk_deleted = answer.lower() == "true"
    operation = project.errand("setDiskAutoDelete", call.scope, instance.path, instance.machine.id)
    return describe_operation(project, call.remember(operation))


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
        "id": _number(instance),
        "name": instance.name,
        "creationTimestamp": project.timestamp(instance.machine.launched_at),
        "zone": project.link(zone),
        "type": project.link(f"{zone}/diskTypes/{instance.disk_type}"),
        "sizeGb": str(instance.disk_gb),
        "status": "READY",
        "sourceImage": f"https://www.googleapis.com/compute/v1/{instance.image.path}",
        "sourceImageId": number_of(instance.image.path),
        "labelFingerprint": fingerprint(instance.disk_labels),
        "physicalBlockSizeBytes": "4096",
        "selfLink": project.link(f"{zone}/disks/{instance.name}"),
    }
    if instance.is_there:
        described["users"] = [project.link(instance.path)]
    elif instance.machine.ended_at is not None:
        described["lastDetachTimestamp"] = project.timestamp(instance.machine.ended_at)
    return described | ({"labels": instance.disk_labels} if instance.disk_labels else {})


def _find(call: Call) -> Instance:
    zone, name = call.zone, call.path["disk"]
    found = next((each for each in call.project.disks(zone) if name in (each.name, _number(each))), None)
    if found is None:
        raise not_found(call.project.path(f"zones/{zone}/disks/{name}"))
    return found


def _number(instance: Instance) -> str:
    return number_of(f"{instance.machine.id} disk")
