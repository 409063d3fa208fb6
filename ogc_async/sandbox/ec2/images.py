"""Public images, and the SSM parameters that name the newest of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ogc_async.sandbox.ec2.catalog import ALIASES, Device, Image, snapshot_of
from ogc_async.sandbox.ec2.catalog import parameters as parameters_of
from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.filters import Field, page, select
from ogc_async.sandbox.ec2.launching import find_image
from ogc_async.sandbox.ec2.region import Fields, Region
from ogc_async.sandbox.ec2.wire import Parameters

MAX_NAMES = 10

FIELDS: dict[str, Field[Image]] = {
    "image-id": lambda image: [image.id],
    "name": lambda image: [image.name],
    "architecture": lambda image: [image.arch],
    "owner-id": lambda image: [image.owner],
    "owner-alias": lambda image: [ALIASES.get(image.owner, "")],
    "state": lambda _: ["available"],
    "is-public": lambda image: [str(image.is_public).lower()],
    "image-type": lambda _: ["machine"],
    "root-device-type": lambda _: ["ebs"],
    "virtualization-type": lambda _: ["hvm"],
    "creation-date": lambda image: [image.creation_date],
}


def describe_images(region: Region, parameters: Parameters) -> Fields:
    """By id, owner and filter."""
    ids = parameters.texts("ImageId")
    found: Sequence[Image] = [find_image(region, each) for each in ids] or list(region.images().values())
    owners = set(parameters.texts("Owner"))
    if owners:
        own = {region.account.number: "self"}
        found = [image for image in found if owners & {image.owner, ALIASES.get(image.owner), own.get(image.owner)}]
    chosen = select(found, parameters, FIELDS, lambda _: {})
    some, token = page(chosen, parameters, smallest=1, largest=1000)
    return {"imagesSet": [_describe(image) for image in some], "nextToken": token}


def ask_parameters(region: Region, operation: str, body: bytes) -> dict[str, Any]:
    """The operations of SSM that are served. Raises :class:`Refused`."""
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        raise Refused("SerializationException", "") from None
    if operation == "GetParameters":
        return _get_parameters(region, asked.get("Names") or [])
    if operation == "GetParameter":
        return _get_parameter(region, asked.get("Name") or "")
    raise Refused("InvalidAction", f"The operation {operation} is not served here")


def _get_parameters(region: Region, names: Sequence[str]) -> dict[str, Any]:
    if not 1 <= len(names) <= MAX_NAMES:
        raise Refused("ValidationException", f"1 validation error detected: names must have 1 to {MAX_NAMES} members")
    known = parameters_of(region.name)
    return {
        "Parameters": [_parameter(region, name, known[name]) for name in names if name in known],
        "InvalidParameters": [name for name in names if name not in known],
    }


def _get_parameter(region: Region, name: str) -> dict[str, Any]:
    known = parameters_of(region.name)
    if name not in known:
        raise Refused("ParameterNotFound", "")
    return {"Parameter": _parameter(region, name, known[name])}


def _parameter(region: Region, name: str, value: str) -> dict[str, Any]:
    arn = f"arn:aws:ssm:{region.name}::parameter{name}"
    return {"Name": name, "Type": "String", "Value": value, "Version": 1, "ARN": arn, "DataType": "aws:ec2:image"}


def _describe(image: Image) -> Fields:
    return {
        "imageId": image.id,
        "imageLocation": f"{ALIASES.get(image.owner, image.owner)}/{image.name}",
        "imageState": "available",
        "imageOwnerId": image.owner,
        "creationDate": image.creation_date,
        "isPublic": image.is_public,
        "architecture": image.arch,
        "imageType": "machine",
        "imageOwnerAlias": ALIASES.get(image.owner),
        "name": image.name,
        "description": image.name,
        "rootDeviceType": "ebs",
        "rootDeviceName": image.root_device,
        "blockDeviceMapping": [{"deviceName": each.name, "ebs": _disk(image, each)} for each in image.devices],
        "virtualizationType": "hvm",
        "hypervisor": "xen",
        "enaSupport": True,
        "platform": "windows" if image.is_windows else None,
        "platformDetails": "Windows" if image.is_windows else "Linux/UNIX",
    }


def _disk(image: Image, device: Device) -> Fields:
    return {
        "snapshotId": snapshot_of(image, device),
        "volumeSize": device.size_gib,
        "volumeType": device.kind,
        "deleteOnTermination": device.is_deleted,
        "encrypted": False,
    }
