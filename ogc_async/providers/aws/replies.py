"""Which replies count: those that hold what their operation always answers with. All others are no answer at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Reply = dict[str, Any]


class _List(NamedTuple):
    """A list that a reply always has, and what each of its items has."""

    name: str
    each: tuple[str, ...]
    least: int = 0


LISTS: Mapping[str, _List] = {
    # Never fewer than MinCount, which is 1: where there is room for none, EC2 says so by an error.
    "RunInstances": _List("Instances", ("InstanceId", "State.Name"), least=1),
    "DescribeInstances": _List("Reservations", ("Instances",)),
    "DescribeInstanceStatus": _List("InstanceStatuses", ("InstanceId", "InstanceState.Name")),
    "TerminateInstances": _List("TerminatingInstances", ("InstanceId", "CurrentState.Name")),
    "DescribeImages": _List("Images", ("ImageId",)),
    "DescribeKeyPairs": _List("KeyPairs", ("KeyName",)),
    "DescribeSecurityGroups": _List("SecurityGroups", ("GroupId", "GroupName")),
    "DescribeVolumes": _List("Volumes", ("VolumeId", "State")),
    # An account has one region at least: the one that answers.
    "DescribeRegions": _List("Regions", ("RegionName",), least=1),
    "GetParameters": _List("Parameters", ("Value",)),
}
VALUES: Mapping[str, str] = {
    "CreateSecurityGroup": "GroupId",
    "ImportKeyPair": "KeyName",
    "GetCallerIdentity": "Account",
}
"""Operations that are listed in neither table answer with no more than their name."""

OF_INSTANCES = ("InstanceId", "State.Name")


def find_fault(operation: str, reply: Mapping[str, Any]) -> str:
    """What a reply lacks to be an answer to the operation, or ""."""
    if operation in VALUES:
        return "" if _has(reply, VALUES[operation]) else f"no {VALUES[operation]}"
    if operation not in LISTS:
        return ""
    wanted = LISTS[operation]
    items = reply.get(wanted.name)
    if not isinstance(items, list) or len(items) < wanted.least:
        return f"no {wanted.name}"
    if operation == "DescribeInstances":
        return _missing(items, wanted.each) or _missing(
            [each for item in items for each in item["Instances"]], OF_INSTANCES
        )
    return _missing(items, wanted.each)


def _missing(items: Sequence[Any], names: Sequence[str]) -> str:
    return next((f"one without {name}" for item in items for name in names if not _has(item, name)), "")


def _has(item: Any, path: str) -> bool:
    """The item has a value there; an empty list is one."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, Mapping) else None
    return item is not None and item != ""
