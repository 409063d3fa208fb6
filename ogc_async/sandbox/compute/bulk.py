"""``bulkInsert``: many machines of one kind for one call, in a zone or in a region.

Source: https://cloud.google.com/compute/docs/instances/multiple/about-bulk-creation
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ogc_async.sandbox.compute import catalog
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields, check_known, check_name, number, structure, structures, text
from ogc_async.sandbox.compute.errors import Refused, invalid, required
from ogc_async.sandbox.compute.launching import SHARED, Budget, Wanted, find_type, launch, read, taken
from ogc_async.sandbox.compute.operations import describe
from ogc_async.sandbox.compute.project import Instance
from ogc_async.sandbox.compute.tracking import Fault, Operation, Placing

MAX_COUNT = 5000
MIN_COUNT = "VM_MIN_COUNT_NOT_REACHED"
PATTERN = re.compile(r"([^#]*)(#{1,18})([^#]*)")
TAKES = ("count", "minCount", "namePattern", "perInstanceProperties", "instanceProperties", "locationPolicy")
SHAPES = ("ANY_SINGLE_ZONE", "ANY", "BALANCED")


@dataclass(frozen=True, slots=True)
class _Birth:
    """One machine of the bulk, or the failure to make it."""

    operation: Operation
    instance: Instance | None
    placing: Placing


def bulk_insert(call: Call) -> Fields:
    """Launch ``count`` machines, or at least ``minCount``, or none."""
    project, body = call.project, call.body
    if (earlier := call.earlier()) is not None:
        return describe(project, earlier)
    check_known(body, TAKES)
    properties = structure(body, "instanceProperties")
    if not properties:
        raise required("resource.instanceProperties")
    check_known(properties, SHARED, "instanceProperties.")
    zones, shape = _zones(call)
    wanted = read(project, properties, call.region, _type(properties, zones[0]))
    count, least = _counts(body)
    names = _names(call, zones, count)
    project.check_concurrent("bulkInsert", call.region)
    placed = _placed(call, names, zones, shape)
    operation = _begin(call, wanted, placed, least)
    return describe(project, call.remember(operation))


def _begin(call: Call, wanted: Wanted, placed: dict[str, list[str]], least: int) -> Operation:
    project = call.project
    group = project.new_uuid()
    count = sum(map(len, placed.values()))
    lasts = project.settings.boot[0]
    operation = project.begin("bulkInsert", call.scope, call.scope, project.new_number(), lasts=lasts, group_id=group)
    if is_summary(call.fault):
        project.room.start(project.finish_later(operation, *call.planned_faults()))
        return operation
    births, budget = [], Budget(project, call.region, placed)
    for zone, names in placed.items():
        placing = operation.places[f"zones/{zone}"] = Placing(target=len(names))
        births += [_birth(call, wanted, zone, name, group, placing, budget) for name in names]
    project.room.start(_follow(call, operation, births, min(least, count)))
    return operation


def is_summary(fault: str) -> bool:
    """These faults are planned for the bulk as a whole: one that no machine has, or several of them."""
    return "+" in fault or fault == MIN_COUNT


def _birth(call: Call, wanted: Wanted, zone: str, name: str, group: str, placing: Placing, budget: Budget) -> _Birth:
    project = call.project
    faults = call.planned_faults(f"zones/{zone}/instances/{name}")
    if not faults and (path := taken(project, zone, name)) is not None:
        faults = [Fault("RESOURCE_ALREADY_EXISTS", f"The resource '{path}' already exists")]
    faults = faults or budget.take(wanted, zone)
    properties = structure(structure(call.body, "perInstanceProperties"), name)
    hostname = text(properties, "hostname")
    operation = launch(call, wanted, zone, name, faults, group_id=group, hostname=hostname)
    return _Birth(operation, None if faults else project.holder(zone, name), placing)


async def _follow(call: Call, operation: Operation, births: Sequence[_Birth], least: int) -> None:
    """See every machine through its boot; where too few came up, end them all."""
    project = call.project
    await asyncio.gather(*map(_settle, births))
    faults = []
    alive = [each for each in births if not each.operation.faults]
    if len(alive) < least:
        for placing in operation.places.values():
            placing.status = "ROLLING_BACK"
        await _undo(call, alive)
        message = f"Requested minimum count of {least} VMs could not be created."
        faults.append(Fault(MIN_COUNT, message))
    for placing in operation.places.values():
        placing.status = "DONE"
    operation.finish(project.clock.now(), *faults)


async def _settle(birth: _Birth) -> None:
    await birth.operation.done.wait()
    if birth.operation.faults:
        birth.placing.failed += 1
    else:
        birth.placing.created += 1


async def _undo(call: Call, births: Sequence[_Birth]) -> None:
    machines = [birth.instance.machine for birth in births if birth.instance is not None]
    call.project.room.end(machines)
    await asyncio.gather(*(machine.gone.wait() for machine in machines))
    for birth in births:
        birth.placing.deleted += 1


def _type(properties: Fields, zone: str) -> catalog.MachineType:
    given = text(properties, "machineType")
    if not given:
        raise required("resource.instanceProperties.machineType")
    parameters = [structure(disk, "initializeParams") for disk in structures(properties, "disks")]
    if any("/" in each for each in (given, *(text(each, "diskType") for each in parameters))):
        # As observed: URLs where bare names are due are an internal error.
        raise Refused("backendError", "Internal error. Please try again or contact Google Support.")
    return find_type(given, zone, zone)


def _counts(body: Fields) -> tuple[int, int]:
    if "count" not in body:
        raise required("resource.count")
    count = number(body, "count")
    if not 1 <= count <= MAX_COUNT:
        raise invalid("resource.count", count, f"It must be between 1 and {MAX_COUNT}.")
    least = number(body, "minCount", count)
    if not 1 <= least <= count:
        raise invalid("resource.minCount", least, "It must be between 1 and count.")
    return count, least


def _zones(call: Call) -> tuple[list[str], str]:
    """Where the machines may be, and how they are to be spread."""
    policy = structure(call.body, "locationPolicy")
    if "zone" in call.path:
        if policy:
            raise Refused("invalid", "A location policy is for regional bulk inserts only.")
        return [call.zone], SHAPES[0]
    check_known(policy, ("locations", "targetShape"), "locationPolicy.")
    shape = text(policy, "targetShape", SHAPES[0])
    if shape not in SHAPES:
        raise invalid("resource.locationPolicy.targetShape", shape, f"It must be one of {', '.join(SHAPES)}.")
    zones = catalog.zones_of(call.region)
    for where in (locations := structure(policy, "locations")):
        if where.rpartition("zones/")[2] not in zones:
            raise invalid("resource.locationPolicy.locations", where, f"It is no zone of {call.region}.")
    denied = {
        where.rpartition("zones/")[2]
        for where in locations
        if text(structure(locations, where), "preference") == "DENY"
    }
    allowed = [zone for zone in zones if zone not in denied]
    if not allowed:
        raise invalid("resource.locationPolicy.locations", ", ".join(locations), "No zone is allowed.")
    return allowed, shape


def _names(call: Call, zones: Sequence[str], count: int) -> list[str]:
    pattern, given = text(call.body, "namePattern"), structure(call.body, "perInstanceProperties")
    if bool(pattern) == bool(given):
        raise Refused("invalid", "Exactly one of namePattern and perInstanceProperties must be specified.")
    if given:
        if len(given) != count:
            raise invalid("resource.perInstanceProperties", len(given), "There must be as many of them as count.")
        for name in given:
            check_known(structure(given, name), ("hostname",), "perInstanceProperties.")
        return [check_name(name, "resource.perInstanceProperties") for name in given]
    match = PATTERN.fullmatch(pattern)
    if match is None:
        raise invalid("resource.namePattern", pattern, "It must have one sequence of up to 18 '#'.")
    before, hashes, after = match.groups()
    taken = re.compile(f"{re.escape(before)}([0-9]{{{len(hashes)}}}){re.escape(after)}")
    found = (taken.fullmatch(name) for zone in zones for name in call.project.names_in(zone))
    first = max((int(each[1]) for each in found if each), default=0) + 1
    names = [f"{before}{index:0{len(hashes)}}{after}" for index in range(first, first + count)]
    return [check_name(name, "resource.namePattern") for name in names]


def _placed(call: Call, names: Sequence[str], zones: Sequence[str], shape: str) -> dict[str, list[str]]:
    """Which machine goes where: one zone for all, the roomiest zones first, or as evenly as there is room."""
    room = call.project.room
    free = {zone: room.free_in(zone) for zone in zones}
    by_room = sorted(zones, key=lambda zone: (free[zone], room.rng.random()), reverse=True)
    if shape == "ANY_SINGLE_ZONE":
        return {by_room[0]: list(names)}
    placed: dict[str, list[str]] = {zone: [] for zone in by_room}
    for name in names:
        open_ = [zone for zone in by_room if len(placed[zone]) < free[zone]] or by_room
        zone = min(open_, key=lambda zone: len(placed[zone])) if shape == "BALANCED" else open_[0]
        placed[zone].append(name)
    return {zone: some for zone, some in placed.items() if some}
