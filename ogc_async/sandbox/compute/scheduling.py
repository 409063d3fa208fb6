"""Scheduling options: spot or not, for how long a machine may run, and when they may be changed.

Sources: https://cloud.google.com/compute/docs/instances/limit-vm-runtime, the discovery document of compute.v1
"""

from __future__ import annotations

from datetime import datetime

from ogc_async.sandbox.compute.checking import Fields, check_known, flag, number, structure, text, words
from ogc_async.sandbox.compute.errors import Refused, invalid
from ogc_async.sandbox.compute.project import Instance, Project

MIN_RUN_S, MAX_RUN_S = 30, 120 * 24 * 3600
SCHEDULING = words(
    "automaticRestart instanceTerminationAction maxRunDuration onHostMaintenance preemptible provisioningModel "
    "terminationTime"
)
FIXED = {"maxRunDuration": "Max run duration", "terminationTime": "Termination time"}
"""What the service calls them where it refuses to change them. Of the first the wording was seen, of the second not."""


def scheduling_of(given: Fields) -> Fields:
    """All options, with the defaults of those that are not given. Raises :class:`Refused`."""
    check_known(given, SCHEDULING, "scheduling.")
    model = text(given, "provisioningModel", "STANDARD")
    if model not in ("STANDARD", "SPOT"):
        raise invalid("resource.scheduling.provisioningModel", model, "The sandbox has STANDARD and SPOT.")
    is_spot = model == "SPOT" or flag(given, "preemptible")
    if is_spot and flag(given, "automaticRestart"):
        raise Refused("invalid", "Scheduling must have automaticRestart be false when preemptible is true.")
    if is_spot and text(given, "onHostMaintenance", "TERMINATE") != "TERMINATE":
        raise Refused("invalid", "Scheduling must have onHostMaintenance be TERMINATE when preemptible is true.")
    defaults = {
        "onHostMaintenance": "TERMINATE" if is_spot else "MIGRATE",
        "automaticRestart": not is_spot,
        "preemptible": is_spot,
        "provisioningModel": "SPOT" if is_spot else "STANDARD",
    }
    return defaults | given | {"preemptible": is_spot}


def limits_of(project: Project, scheduling: Fields) -> tuple[float | None, float | None]:
    """How long it may run after each start, and when it must be gone. Raises :class:`Refused`."""
    if not scheduling.get("maxRunDuration") and not scheduling.get("terminationTime"):
        return None, None
    action = text(scheduling, "instanceTerminationAction")
    if not action:
        raise Refused("invalid", "You must specify instanceTerminationAction if you limit the run time.")
    if action not in ("STOP", "DELETE"):
        raise invalid("resource.scheduling.instanceTerminationAction", action, "It must be STOP or DELETE.")
    if scheduling.get("maxRunDuration") and scheduling.get("terminationTime"):
        raise Refused("invalid", "You can not specify both maxRunDuration and terminationTime.")
    if scheduling.get("maxRunDuration"):
        duration = structure(scheduling, "maxRunDuration")
        check_known(duration, ("seconds", "nanos"), "scheduling.maxRunDuration.")
        seconds = number(duration, "seconds")
        if not MIN_RUN_S <= seconds <= MAX_RUN_S:
            raise invalid(
                "resource.scheduling.maxRunDuration", seconds, f"It must be {MIN_RUN_S} to {MAX_RUN_S} seconds."
            )
        return float(seconds), None
    when = text(scheduling, "terminationTime")
    try:
        moment = datetime.fromisoformat(when)
        seconds_left = (moment - project.clock.moment(0)).total_seconds()
    except (ValueError, TypeError):
        raise invalid("resource.scheduling.terminationTime", when, "It must be an RFC 3339 time.") from None
    if seconds_left <= project.clock.now():
        raise invalid("resource.scheduling.terminationTime", when, "It must be in the future.")
    return None, seconds_left


def change(project: Project, instance: Instance, given: Fields) -> None:
    """Give a stopped machine these options: an absent one stays, ``null`` takes one away. Raises :class:`Refused`.

    "You can only call this method on a stopped instance, that is, a VM instance that is in a TERMINATED state."
    """
    check_known(given, SCHEDULING)
    if project.status(instance) != "TERMINATED":
        name = next((FIXED[each] for each in FIXED if each in given), "Scheduling")
        raise Refused("invalid", f"{name} cannot be changed while the instance is running.")
    wanted = {name: value for name, value in (instance.scheduling | given).items() if value is not None}
    run_s, limit_at = limits_of(project, wanted)
    instance.scheduling = scheduling_of(wanted)
    instance.run_s, instance.limit_at = run_s, limit_at
    instance.machine.is_spot = bool(instance.scheduling["preemptible"])
