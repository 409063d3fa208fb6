"""Machines that the cloud ends by itself: their time is over, or they were spot machines and are taken back.

Sources: https://cloud.google.com/compute/docs/instances/limit-vm-runtime,
https://cloud.google.com/compute/docs/instances/spot
"""

from __future__ import annotations

import asyncio

from ogc_async.sandbox.compute.project import Instance, Project
from ogc_async.sandbox.compute.tracking import Operation

EXPIRED = ("compute.instances.automaticDelete", "The machine's time was over")
PREEMPTED = ("compute.instances.preempted", "Instance was preempted.")
"""A preemption's operation, by which a machine that was taken back is told from one that somebody stopped."""
SYSTEM = "system"
"""Who does it."""


def limit_time(project: Project, instance: Instance) -> None:
    """See that it ends when its time is over; each start begins that anew."""
    if instance.run_s is not None or instance.limit_at is not None:
        project.room.start(_expire(project, instance))


def preempt(project: Project, instance: Instance) -> None:
    """Take a machine back that lives: it is stopped or deleted, as its scheduling says."""
    kind, note = PREEMPTED
    operation = project.begin(kind, f"zones/{instance.zone}", instance.path, instance.machine.id)
    operation.user, operation.note = SYSTEM, note
    _end(project, instance, PREEMPTED)
    operation.finish(project.clock.now())


async def _expire(project: Project, instance: Instance) -> None:
    machine = instance.machine
    await machine.settled.wait()
    now = project.clock.now()
    ends_at = min(each for each in (instance.limit_at, instance.run_s and now + instance.run_s) if each)
    instance.ends_at = ends_at
    await project.clock.sleep(max(ends_at - now, 0))
    if not machine.is_living or instance.ends_at != ends_at:
        return
    kind = "delete" if instance.ends_by_deletion else "stop"
    operation = project.begin(kind, f"zones/{machine.zone}", instance.path, machine.id)
    await _finish_after(project, operation, _end(project, instance, EXPIRED))


def _end(project: Project, instance: Instance, reason: tuple[str, str]) -> asyncio.Event:
    """Begin the end; what comes back is set when it is over."""
    machine = instance.machine
    if instance.ends_by_deletion:
        project.room.end([machine], reason)
        return machine.gone
    instance.ends_at = None
    project.room.stop([machine], reason)
    return machine.stopped


async def _finish_after(project: Project, operation: Operation, over: asyncio.Event) -> None:
    await over.wait()
    operation.finish(project.clock.now())
