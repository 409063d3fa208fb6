"""Operations: what a change is going through, and how it went.

Source: https://cloud.google.com/compute/docs/api/how-tos/api-requests-responses#handling_api_responses
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ogc_async.sandbox.compute.checking import Fields

HTTP_ERRORS = {
    "CONDITION_NOT_MET": (412, "PRECONDITION FAILED"),
    "INTERNAL_ERROR": (503, "SERVICE UNAVAILABLE"),
    "QUOTA_EXCEEDED": (403, "FORBIDDEN"),
    "RESOURCE_ALREADY_EXISTS": (409, "CONFLICT"),
    "ZONE_RESOURCE_POOL_EXHAUSTED": (503, "SERVICE UNAVAILABLE"),
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": (503, "SERVICE UNAVAILABLE"),
}
ALL_CPUS = {
    "metricName": "compute.googleapis.com/cpus_all_regions",
    "limitName": "CPUS-ALL-REGIONS-per-project",
    "dimensions": {},
    "limit": 12.0,
}
BAD_REQUEST = (400, "BAD REQUEST")


class Fault(NamedTuple):
    """Why an operation failed."""

    code: str
    message: str
    details: tuple[Any, ...] = ()


@dataclass(slots=True, kw_only=True)
class Placing:
    """How far a bulk insert is in one zone."""

    target: int
    created: int = 0
    failed: int = 0
    deleted: int = 0
    status: str = "CREATING"

    def described(self) -> Fields:
        """As ``perLocationStatus`` shows it."""
        return {
            "status": self.status,
            "targetVmCount": self.target,
            "createdVmCount": self.created,
            "failedToCreateVmCount": self.failed,
            "deletedVmCount": self.deleted,
        }


@dataclass(slots=True, kw_only=True, eq=False)
class Operation:
    """One change. Times are the sandbox clock's; the scope is ``zones/…``, ``regions/…`` or ``global``."""

    name: str
    number: str
    kind: str
    scope: str
    target: str
    target_number: str
    inserted_at: float
    starts_at: float
    client_id: str = ""
    group_id: str = ""
    user: str = ""
    """Who began it; "" is the project's account."""
    note: str = ""
    """What it says beside its status."""
    ended_at: float | None = None
    faults: list[Fault] = field(default_factory=list)
    places: dict[str, Placing] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def status_at(self, now: float) -> str:
        """PENDING, RUNNING or DONE."""
        if self.done.is_set():
            return "DONE"
        return "PENDING" if now < self.starts_at else "RUNNING"

    def finish(self, now: float, *faults: Fault) -> None:
        """It is over."""
        self.faults += faults
        self.ended_at = now
        self.done.set()


def no_room(zone_path: str, machine_type: str, *, is_late: bool = False) -> Fault:
    """The zone is full."""
    start = f"The zone '{zone_path}' does not have enough resources available to fulfill the request"
    if not is_late:
        return Fault("ZONE_RESOURCE_POOL_EXHAUSTED", f"{start}.  Try a different zone, or try again later.")
    info = {
        "reason": "resource_availability",
        "domain": "compute.googleapis.com",
        "metadatas": {"zone": zone_path.rpartition("/")[2], "vmType": machine_type, "zonesAvailable": ""},
    }
    message = f"{start}.  '(resource type:compute)'."
    return Fault("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", message, ({"errorInfo": info},))


def constraint(project_number: str, path: str) -> str:
    """How a policy of the organization refuses a machine, whether at once or by its operation."""
    return (
        f"Constraint constraints/compute.vmExternalIpAccess violated for project {project_number}. Add instance {path} "
        "to the constraint to use external IP with it."
    )


def planned_faults(codes: str, project_number: str, zone_path: str, target_path: str) -> list[Fault]:
    """The faults with these codes, joined by ``+``, each in the words of the service where they are known."""
    words = {
        "INTERNAL_ERROR": "Internal error. Please try again or contact Google Support. (Code: '-2F1A7C3E')",
        "CONDITION_NOT_MET": constraint(project_number, target_path),
        "VM_MIN_COUNT_NOT_REACHED": "Requested minimum count of 1 VMs could not be created.",
        "QUOTA_EXCEEDED": "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.",
        "RESOURCE_ALREADY_EXISTS": f"The resource '{target_path}' already exists",
        "RESOURCE_NOT_READY": f"The resource '{target_path}' is not ready",
        "ZONE_RESOURCE_POOL_EXHAUSTED": no_room(zone_path, "").message,
    }
    details = {"QUOTA_EXCEEDED": ({"quotaInfo": ALL_CPUS},)}
    return [
        Fault(code, words.get(code, "The operation failed, as planned."), details.get(code, ()))
        for code in codes.split("+")
    ]


def no_quota(region: str, limit: int) -> Fault:
    """The project has as many machines as it may have."""
    info = {
        "metricName": "compute.googleapis.com/instances",
        "limitName": "INSTANCES-per-project-region",
        "dimensions": {"region": region},
        "limit": float(limit),
    }
    message = f"Quota 'INSTANCES' exceeded.  Limit: {float(limit)} in region {region}."
    return Fault("QUOTA_EXCEEDED", message, ({"quotaInfo": info},))


def described_error(faults: list[Fault]) -> Fields:
    """What an operation that failed tells beside its status."""
    status, message = HTTP_ERRORS.get(faults[0].code, BAD_REQUEST)
    errors = []
    for fault in faults:
        error: Fields = {"code": fault.code, "message": fault.message}
        if fault.details:
            error["errorDetails"] = list(fault.details)
        errors.append(error)
    return {"error": {"errors": errors}, "httpErrorStatusCode": status, "httpErrorMessage": message}
