"""Public images."""

from __future__ import annotations

from ogc_async.sandbox.compute import catalog
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import Image, number_of
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.errors import not_found
from ogc_async.sandbox.compute.pages import listed
from ogc_async.sandbox.compute.project import ROOT

FIELDS = words("name id family status architecture creationTimestamp deprecated description")


def get(call: Call) -> Fields:
    """One image."""
    return _described(call, call.path["image"])


def get_from_family(call: Call) -> Fields:
    """The newest image of a family."""
    return _described(call, f"family/{call.path['family']}")


def list_(call: Call) -> Fields:
    """A vendor's images, old ones too."""
    found = catalog.images(call.path["project"]).values()
    return listed(call, "image", map(_describe, found), FIELDS)


def _described(call: Call, tail: str) -> Fields:
    found = catalog.find_image(call.path["project"], tail)
    if found is None:
        raise not_found(f"projects/{call.path['project']}/global/images/{tail}")
    return _describe(found)


def _describe(image: Image) -> Fields:
    described: Fields = {
        "kind": "compute#image",
        "id": number_of(image.path),
        "name": image.name,
        "family": image.family,
        "description": image.name,
        "creationTimestamp": f"{image.created}T06:30:00.000-07:00",
        "status": "READY",
        "sourceType": "RAW",
        "rawDisk": {"source": "", "containerType": "TAR"},
        "architecture": image.arch,
        "diskSizeGb": str(image.disk_gb),
        "archiveSizeBytes": str(image.disk_gb * 10**8),
        "storageLocations": ["us"],
        "guestOsFeatures": [{"type": each} for each in _features(image)],
        "selfLink": f"{ROOT}/{image.path}",
    }
    if image.is_deprecated:
        described["deprecated"] = {"state": "DEPRECATED"}
    return described


def _features(image: Image) -> tuple[str, ...]:
    common = ("UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE", "GVNIC")
    return (*common, "WINDOWS") if image.is_windows else common
