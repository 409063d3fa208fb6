"""Whether a reply is what its operation answers with: of its kind, whole, and with the fields that are read.

Anything else, however well it reads, is no answer. Source: the discovery document of compute v1, which names the kind
of every resource; a resource says it in ``kind``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Part: TypeAlias = "type[str] | type[int] | type[bool] | Fields | Many | Named"


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object: what is always there, and what may be left out."""

    needs: Mapping[str, Part] = field(default_factory=dict)
    may: Mapping[str, Part] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Many:
    """A JSON list."""

    of: Part


@dataclass(frozen=True, slots=True)
class Named:
    """A JSON object whose keys are names."""

    of: Part


_WARNING = Fields(may={"code": str})
_INSTANCE = Fields(
    needs={"name": str, "status": str, "zone": str},
    may={
        "labels": Named(str),
        "labelFingerprint": str,
        "machineType": str,
        "scheduling": Fields(may={"provisioningModel": str, "preemptible": bool, "terminationTime": str}),
        "resourceStatus": Fields(may={"scheduling": Fields(may={"terminationTimestamp": str})}),
        "networkInterfaces": Many(
            Fields(may={"networkIP": str, "accessConfigs": Many(Fields(may={"natIP": str}))}),
        ),
        "selfLink": str,
        "statusMessage": str,
        "creationTimestamp": str,
        "lastStopTimestamp": str,
        "lastSuspendedTimestamp": str,
    },
)
_DISK = Fields(needs={"name": str, "status": str}, may={"labels": Named(str), "sizeGb": str, "users": Many(str)})
_OPERATION = Fields(
    needs={"name": str, "status": str},
    may={
        "error": Fields(may={"errors": Many(Fields(may={"code": str, "message": str}))}),
        "httpErrorMessage": str,
        "httpErrorStatusCode": int,
        "operationGroupId": str,
        "targetLink": str,
    },
)
_FIREWALL = Fields(
    needs={"name": str},
    may={
        "allowed": Many(Fields(needs={"IPProtocol": str}, may={"ports": Many(str)})),
        "description": str,
        "sourceRanges": Many(str),
    },
)
_METADATA = Fields(may={"items": Many(Fields(may={"key": str, "value": str}))})
_PAGE: Mapping[str, Part] = {"nextPageToken": str, "warning": _WARNING}
_SCOPE = Fields(may={"instances": Many(_INSTANCE), "warning": _WARNING})
_DISKS = Fields(may={"disks": Many(_DISK), "warning": _WARNING})

KINDS: Mapping[str, Fields] = {
    "diskAggregatedList": Fields(may={"items": Named(_DISKS), "unreachables": Many(str), **_PAGE}),
    "firewall": _FIREWALL,
    "guestAttributes": Fields(
        may={"queryValue": Fields(may={"items": Many(Fields(needs={"key": str, "value": str}))})}
    ),
    "image": Fields(needs={"name": str}, may={"architecture": str}),
    "instance": _INSTANCE,
    "instanceAggregatedList": Fields(may={"items": Named(_SCOPE), "unreachables": Many(str), **_PAGE}),
    "instanceList": Fields(may={"items": Many(_INSTANCE), **_PAGE}),
    "machineType": Fields(needs={"name": str}, may={"architecture": str}),
    "operation": _OPERATION,
    "operationList": Fields(may={"items": Many(_OPERATION), **_PAGE}),
    "project": Fields(needs={"name": str}, may={"commonInstanceMetadata": _METADATA}),
    "zone": Fields(needs={"name": str}),
}
"""What is read of each kind of reply. An empty list has no ``items``."""

_INCOMPLETE = frozenset({"UNREACHABLE", "PARTIAL_SUCCESS", "LIST_OVERHEAD_QUOTA_EXCEED"})
"""Warnings under which a list lacks resources that exist."""


def decoded(content: bytes) -> object:
    """A reply's JSON, or its text where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def fault_of(reply: object, kind: str) -> str:
    """What keeps a reply from being of a kind of :data:`KINDS`, in a few words; "" where nothing does."""
    if not isinstance(reply, dict):
        return "no JSON object"
    if reply.get("kind") != f"compute#{kind}":
        return f"of kind {_brief(reply.get('kind'))} where compute#{kind} is due"
    return _fault(reply, KINDS[kind], "")


def unreached(page: Mapping[str, Any], region: str | None) -> str:
    """What a page of a list says that it could not reach of a region, or of any; "" where it holds all there is."""
    warning = str((page.get("warning") or {}).get("code", ""))
    if warning in _INCOMPLETE and not page.get("unreachables"):
        return warning
    beyond = [each for each in page.get("unreachables") or () if _may_be_in(region, each)]
    scopes = page.get("items")
    if isinstance(scopes, dict):
        beyond += [scope for scope, part in scopes.items() if _may_be_in(region, scope) and _is_cut(part)]
    return ", ".join(beyond)


def _is_cut(scope: Mapping[str, Any]) -> bool:
    return (scope.get("warning") or {}).get("code") in _INCOMPLETE


def _may_be_in(region: str | None, scope: str) -> bool:
    """``scope`` ends in a zone's or region's name; one that says neither may be any."""
    name = scope.rpartition("/")[2]
    return region is None or name == region or name.startswith(f"{region}-") or "-" not in name


def _fault(value: object, part: Part, where: str) -> str:
    if isinstance(part, Fields):
        return _fault_of_fields(value, part, where)
    if isinstance(part, Named):
        if not isinstance(value, dict):
            return f"{where or 'reply'} is no object"
        return _first(_fault(each, part.of, f"{where}.{_brief(key)}") for key, each in value.items())
    if isinstance(part, Many):
        if not isinstance(value, list):
            return f"{where} is no list"
        return _first(_fault(each, part.of, f"{where}[{index}]") for index, each in enumerate(value))
    is_right = isinstance(value, part) and isinstance(value, bool) is (part is bool)
    return "" if is_right else f"{where} is {_brief(value)}"


def _fault_of_fields(value: object, part: Fields, where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is no object"
    missing = [each for each in part.needs if each not in value]
    if missing:
        return f"{where or 'reply'} has no {missing[0]}"
    known = {**part.needs, **part.may}
    there = [each for each in known if each in value]
    return _first(_fault(value[each], known[each], f"{where}.{each}".lstrip(".")) for each in there)


def _first(faults: Iterable[str]) -> str:
    return next(filter(None, faults), "")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
