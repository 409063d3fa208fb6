"""Tags of whatever carries some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ogc_async.sandbox.ec2.errors import Refused, missing
from ogc_async.sandbox.ec2.filters import Field, page, select
from ogc_async.sandbox.ec2.region import MAX_TAGS, Fields, Region, Tags, read_tags
from ogc_async.sandbox.ec2.wire import Parameters

MAX_RESOURCES = 1000


class Tag(NamedTuple):
    """One tag of one resource."""

    resource_id: str
    kind: str
    key: str
    value: str


FIELDS: dict[str, Field[Tag]] = {
    "resource-id": lambda tag: [tag.resource_id],
    "resource-type": lambda tag: [tag.kind],
    "key": lambda tag: [tag.key],
    "value": lambda tag: [tag.value],
}


def create_tags(region: Region, parameters: Parameters) -> Fields:
    """Add tags, or give them new values."""
    tags = read_tags(parameters.groups("Tag"))
    if not tags:
        raise missing("Tag")
    targets = _targets(region, parameters)
    if any(len(each | tags) > MAX_TAGS for each in targets):
        raise Refused("TagLimitExceeded", f"The maximum number of tags on a resource is {MAX_TAGS}")
    for each in targets:
        each.update(tags)
    return {"return": True}


def delete_tags(region: Region, parameters: Parameters) -> Fields:
    """Take tags away: all of a resource's where none is named; one with another value than named stays."""
    named = [
        (each.required("Key"), each.text("Value") if "Value" in each else None) for each in parameters.groups("Tag")
    ]
    for tags in _targets(region, parameters):
        for key, value in named or [(key, None) for key in tags]:
            if value is None or tags.get(key) == value:
                tags.pop(key, None)
    return {"return": True}


def describe_tags(region: Region, parameters: Parameters) -> Fields:
    """Tags by filter."""
    chosen = select(_all(region), parameters, FIELDS, lambda tag: {tag.key: tag.value})
    some, token = page(chosen, parameters, smallest=5, largest=1000)
    described = [
        {"resourceId": tag.resource_id, "resourceType": tag.kind, "key": tag.key, "value": tag.value} for tag in some
    ]
    return {"tagSet": described, "nextToken": token}


def _targets(region: Region, parameters: Parameters) -> list[Tags]:
    ids = parameters.texts("ResourceId")
    if not ids:
        raise missing("ResourceId")
    if len(ids) > MAX_RESOURCES:
        raise Refused("InvalidParameterValue", f"At most {MAX_RESOURCES} resources")
    targets = []
    for each in ids:
        tags = region.tags_of(each)
        if tags is None:
            raise Refused(*_unknown(each))
        targets.append(tags)
    return targets


def _unknown(resource_id: str) -> tuple[str, str]:
    kinds = {"i": "InvalidInstanceID", "vol": "InvalidVolume", "sg": "InvalidGroup", "key": "InvalidKeyPair"}
    kind = kinds.get(resource_id.partition("-")[0])
    if kind is None:
        return "InvalidID", f"The ID '{resource_id}' is not valid"
    return f"{kind}.NotFound", f"The ID '{resource_id}' does not exist"


def _all(region: Region) -> Iterator[Tag]:
    resources: list[tuple[str, str, Tags]] = [
        *((each.id, "instance", region.shown_tags(each)) for each in region.visible()),
        *((each.id, "volume", each.tags) for each in region.volumes.values() if each.is_there),
        *((each.id, "security-group", each.tags) for each in region.groups.values()),
        *((each.id, "key-pair", each.tags) for each in region.key_pairs.values()),
    ]
    for resource_id, kind, tags in resources:
        yield from (Tag(resource_id, kind, key, value) for key, value in tags.items())
