"""Instances that somebody stops, starts, suspends, resumes or resets.

Source: https://cloud.google.com/compute/docs/instances/instance-lifecycle
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields, words
from ogc_async.sandbox.compute.ending import limit_time
from ogc_async.sandbox.compute.errors import Refused
from ogc_async.sandbox.compute.launching import boot_faults
from ogc_async.sandbox.compute.operations import describe
from ogc_async.sandbox.compute.project import Instance, Project
from ogc_async.sandbox.compute.tracking import Fault, Operation, no_room

STOPPED_BY_USER = ("compute.instances.stop", "Instance stopped by a user")


class Change(NamedTuple):
    """One way to change what an instance is doing."""

    kind: str
    """The operation's type."""
    fits: frozenset[str]
    """The statuses in which it can be asked for."""
    begin: Callable[[Project, Instance], asyncio.Event]
    """What begins it; the event says that it is over."""
    is_boot: bool = False


def stop(call: Call) -> Fields:
    """Stop an instance, whose ephemeral address is given up; one that has stopped stays so."""
    return _change(call, STOP)


def start(call: Call) -> Fields:
    """Start an instance that has stopped, on another address; one that runs goes on."""
    return _change(call, START)


def suspend(call: Call) -> Fields:
    """Suspend an instance. Its memory is lost here: no process comes back."""
    return _change(call, SUSPEND)


def resume(call: Call) -> Fields:
    """Resume an instance that is suspended."""
    return _change(call, RESUME)


def reset(call: Call) -> Fields:
    """Pull the plug of an instance and put it back: it keeps its addresses, and is RUNNING all the while."""
    return _change(call, RESET)


def _change(call: Call, change: Change) -> Fields:
    project = call.project
    if (earlier := call.earlier()) is not None:
        return describe(project, earlier)
    instance = project.named(call.zone, call.path["instance"])
    if project.status(instance) not in change.fits:
        raise Refused("resourceNotReady", f"The resource '{project.path(instance.path)}' is not ready")
    project.check_concurrent(change.kind, call.region)
    operation = project.begin(change.kind, call.scope, instance.path, instance.machine.id)
    faults = call.planned_faults(instance.path) or _obstacles(project, instance, change)
    if faults:
        project.room.start(project.finish_later(operation, *faults))
    else:
        project.room.start(_follow(project, operation, instance, change, change.begin(project, instance)))
    return describe(project, call.remember(operation))


def _obstacles(project: Project, instance: Instance, change: Change) -> list[Fault]:
    """A machine that has stopped has given up its place."""
    if change.is_boot and not instance.machine.is_living and project.room.free_in(instance.zone) <= 0:
        return [no_room(project.path(f"zones/{instance.zone}"), instance.machine.type)]
    return []


async def _follow(
    project: Project, operation: Operation, instance: Instance, change: Change, over: asyncio.Event
) -> None:
    await over.wait()
    operation.finish(project.clock.now(), *(boot_faults(project, instance.machine) if change.is_boot else ()))


def _stop(project: Project, instance: Instance) -> asyncio.Event:
    instance.is_suspended, instance.ends_at = False, None
    project.room.stop([instance.machine], STOPPED_BY_USER)
    return instance.machine.stopped


def _suspend(project: Project, instance: Instance) -> asyncio.Event:
    over = _stop(project, instance)
    instance.is_suspended = True
    return over


def _start(project: Project, instance: Instance) -> asyncio.Event:
    if not instance.machine.is_living:
        instance.is_suspended, instance.ends_at = False, None
        project.room.start_again(instance.machine)
        limit_time(project, instance)
    return instance.machine.settled


def _reset(project: Project, instance: Instance) -> asyncio.Event:
    project.room.reboot(instance.machine)
    return instance.machine.settled


STOP = Change("stop", words("PROVISIONING STAGING RUNNING STOPPING SUSPENDED TERMINATED"), _stop)
START = Change("start", words("PROVISIONING STAGING RUNNING TERMINATED"), _start, is_boot=True)
SUSPEND = Change("suspend", words("RUNNING"), _suspend)
RESUME = Change("resume", words("SUSPENDED"), _start, is_boot=True)
RESET = Change("reset", words("RUNNING"), _reset)
