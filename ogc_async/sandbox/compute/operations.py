"""Operations as they are read: get, list, wait."""

from __future__ import annotations

from contextlib import suppress

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.errors import not_found
from ogc_async.sandbox.compute.pages import listed
from ogc_async.sandbox.compute.project import Project
from ogc_async.sandbox.compute.tracking import Operation, described_error

WAIT_S = 120.0

FIELDS = words(
    "name id operationType operationGroupId status targetLink targetId clientOperationId user zone region progress "
    "httpErrorStatusCode insertTime"
)


def get(call: Call) -> Fields:
    """One operation as it is now."""
    return describe(call.project, _find(call))


async def wait(call: Call) -> Fields:
    """One operation once it is done, or after two minutes."""
    operation = _find(call)
    with suppress(TimeoutError):
        async with call.project.clock.limit(WAIT_S):
            await operation.done.wait()
    return describe(call.project, operation)


def list_(call: Call) -> Fields:
    """The scope's operations."""
    inside = (each for each in call.project.operations.values() if each.scope == call.scope)
    return listed(call, "operation", (describe(call.project, each) for each in inside), FIELDS)


def describe(project: Project, operation: Operation) -> Fields:
    """An operation as replies show it."""
    status = operation.status_at(project.clock.now())
    described: Fields = {
        "kind": "compute#operation",
        "id": operation.number,
        "name": operation.name,
        "operationType": operation.kind,
        "targetLink": project.link(operation.target),
        "targetId": operation.target_number,
        "status": status,
        "user": operation.user or project.user,
        "progress": 100 if status == "DONE" else 0,
        "insertTime": project.timestamp(operation.inserted_at),
        "selfLink": project.link(f"{operation.scope}/operations/{operation.name}"),
    }
    kind, _, place = operation.scope.partition("/")
    if place:
        described[kind.removesuffix("s")] = project.link(operation.scope)
    if operation.note:
        described["statusMessage"] = operation.note
    if operation.client_id:
        described["clientOperationId"] = operation.client_id
    if operation.group_id:
        described["operationGroupId"] = operation.group_id
    if status != "PENDING":
        # One that fails at once never waits for its start.
        described["startTime"] = project.timestamp(min(operation.starts_at, operation.ended_at or operation.starts_at))
    if operation.ended_at is not None:
        described["endTime"] = project.timestamp(operation.ended_at)
    if operation.places:
        described["instancesBulkInsertOperationMetadata"] = {
            "perLocationStatus": {where: placing.described() for where, placing in operation.places.items()}
        }
    if operation.faults and status == "DONE":
        described |= described_error(operation.faults)
    return described


def _find(call: Call) -> Operation:
    name = call.path["operation"]
    # An operation may be asked for by its number, too.
    found = call.project.operations.get(name) or next(
        (each for each in call.project.operations.values() if each.number == name), None
    )
    if found is None or found.scope != call.scope:
        raise not_found(call.project.path(f"{call.scope}/operations/{name}"))
    return found
