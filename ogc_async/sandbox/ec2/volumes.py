"""Volumes: made with instances, deleted with them or left behind, found and deleted by id."""

from __future__ import annotations

from collections.abc import Iterator

from ogc_async.sandbox.ec2.catalog import Device, Image, snapshot_of
from ogc_async.sandbox.ec2.errors import Refused, invalid
from ogc_async.sandbox.ec2.filters import Field, page, select
from ogc_async.sandbox.ec2.region import Fields, Instance, Region, Tags, Volume, tag_set
from ogc_async.sandbox.ec2.wire import Parameters

MAX_GIB = 16_384

FIELDS: dict[str, Field[Volume]] = {
    "volume-id": lambda each: [each.id],
    "status": lambda each: [_status(each)],
    "size": lambda each: [str(each.device.size_gib)],
    "volume-type": lambda each: [each.device.kind],
    "availability-zone": lambda each: [each.zone],
    "encrypted": lambda _: ["false"],
    "attachment.instance-id": lambda each: [each.instance.id] if each.is_attached else [],
    "attachment.device": lambda each: [each.device.name] if each.is_attached else [],
    "attachment.status": lambda each: ["attached"] if each.is_attached else [],
    "attachment.delete-on-termination": lambda each: [str(each.device.is_deleted).lower()] if each.is_attached else [],
}


def describe_volumes(region: Region, parameters: Parameters) -> Fields:
    """By id, by filter, and by page."""
    found = {each.id: each for each in _visible(region)}
    ids = parameters.texts("VolumeId")
    for each in ids:
        if each not in found:
            raise _not_found(each)
    chosen = select([found[each] for each in ids] or found.values(), parameters, FIELDS, lambda each: each.tags)
    some, token = page(chosen, parameters, smallest=5, largest=1000)
    return {"volumeSet": [_describe(region, each) for each in some], "nextToken": token}


def delete_volume(region: Region, parameters: Parameters) -> Fields:
    """Delete one that no instance has."""
    volume_id = parameters.required("VolumeId")
    volume = next((each for each in _visible(region) if each.id == volume_id), None)
    if volume is None:
        raise _not_found(volume_id)
    if volume.is_attached:
        raise Refused("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.instance.id}")
    del region.volumes[volume.id]
    return {"return": True}


def devices_of(image: Image, parameters: Parameters) -> list[Device]:
    """The disks of a launch: the image's mapping, changed and added to by the call's. Raises :class:`Refused`."""
    devices = {each.name: each for each in image.devices}
    for mapping in parameters.groups("BlockDeviceMapping"):
        name = mapping.required("DeviceName")
        if "NoDevice" in mapping:
            devices.pop(name, None)
        elif "Ebs" in mapping:
            devices[name] = _device(name, devices.get(name), mapping.group("Ebs"))
    if image.root_device not in devices:
        raise invalid("BlockDeviceMapping", image.root_device, "The root device cannot be left out.")
    return list(devices.values())


def attach(region: Region, instance: Instance, devices: list[Device], tags: Tags) -> None:
    """Make the disks of a new instance."""
    for device in devices:
        volume = Volume(
            id=region.new_id("vol"),
            instance=instance,
            device=device,
            zone=instance.machine.zone,
            tags=dict(tags),
            created_at=instance.machine.launched_at,
        )
        region.volumes[volume.id] = volume
        instance.volumes.append(volume)


def describe_mapping(region: Region, instance: Instance) -> list[Fields]:
    """The disks as the instance's description shows them."""
    return [{"deviceName": each.device.name, "ebs": _attached(region, each)} for each in instance.volumes]


def show(region: Region) -> Iterator[Fields]:
    """Every disk that is there, for the admin page."""
    for each in region.volumes.values():
        if each.is_there:
            instance = each.instance.id if each.is_attached else None
            yield {
                "id": each.id,
                "account": region.account.number,
                "region": region.name,
                "state": _status(each),
                "instance": instance,
                "tags": each.tags,
            }


def _device(name: str, given: Device | None, ebs: Parameters) -> Device:
    if given is None and "VolumeSize" not in ebs:
        raise Refused("MissingParameter", "The request must contain the parameter size or snapshotId")
    least = given.size_gib if given else 1
    size = ebs.number("VolumeSize", least)
    if given is not None and size < least:
        message = f"Volume of size {size}GB is smaller than its snapshot, expect size >= {least}GB"
        raise Refused("InvalidBlockDeviceMapping", message)
    if not 1 <= size <= MAX_GIB:
        raise invalid("VolumeSize", size)
    is_deleted = ebs.flag("DeleteOnTermination", default=given.is_deleted if given else True)
    return Device(name, size, is_deleted, ebs.text("VolumeType", given.kind if given else "gp2"))


def _visible(region: Region) -> Iterator[Volume]:
    young = (each for each in region.volumes.values() if each.is_there)
    return (each for each in young if not each.is_attached or region.is_visible(each.instance))


def _not_found(volume_id: str) -> Refused:
    return Refused("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")


def _status(volume: Volume) -> str:
    return "in-use" if volume.is_attached else "available"


def _attached(region: Region, volume: Volume) -> Fields:
    return {
        "volumeId": volume.id,
        "status": "attached",
        "attachTime": region.clock.moment(volume.created_at),
        "deleteOnTermination": volume.device.is_deleted,
    }


def _describe(region: Region, volume: Volume) -> Fields:
    attachment = {"instanceId": volume.instance.id, "device": volume.device.name, **_attached(region, volume)}
    known = {each.name: each for each in volume.instance.image.devices}
    return {
        "volumeId": volume.id,
        "size": volume.device.size_gib,
        "snapshotId": snapshot_of(volume.instance.image, volume.device) if volume.device.name in known else "",
        "availabilityZone": volume.zone,
        "status": _status(volume),
        "createTime": region.clock.moment(volume.created_at),
        "attachmentSet": [attachment] if volume.is_attached else [],
        "volumeType": volume.device.kind,
        "encrypted": False,
        "multiAttachEnabled": False,
        "tagSet": tag_set(volume.tags),
    }
