"""StopInstances, StartInstances and RebootInstances: what outlives its machine's run, and what may not.

Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Stop_Start.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
"""

from __future__ import annotations

from collections.abc import Iterable

from ogc_async.sandbox.ec2.describing import describe_state, find_instances
from ogc_async.sandbox.ec2.errors import Refused, missing, no_capacity
from ogc_async.sandbox.ec2.region import Fields, Instance, Region
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.room import State

HIBERNATED = ("Client.UserInitiatedHibernate", "User initiated hibernate")
STOPPED = ("Client.UserInitiatedShutdown", "User initiated shutdown")
STOPPABLE = frozenset({State.RUNNING, State.STOPPING, State.STOPPED})
STARTABLE = frozenset({State.STOPPED, State.PENDING, State.RUNNING})


def stop_instances(region: Region, parameters: Parameters) -> Fields:
    """Stop these; one that may not be, and none is. Disks and private addresses stay, public addresses do not."""
    instances = _named(region, parameters)
    is_hibernation = parameters.flag("Hibernate")
    for each in instances:
        _check_stop(each, is_hibernation=is_hibernation)
    region.take_resources("StopInstances", len(instances))
    before = {each.id: each.machine.state for each in instances}
    region.room.stop([each.machine for each in instances], HIBERNATED if is_hibernation else STOPPED)
    return describe_changes(instances, before)


def start_instances(region: Region, parameters: Parameters) -> Fields:
    """Start those that are stopped, each under a new public address; the others run on."""
    instances = _named(region, parameters)
    _check_states(instances, STARTABLE, "started")
    stopped = [each for each in instances if each.machine.state is State.STOPPED]
    _check_room(region, stopped)
    region.take_resources("StartInstances", len(instances))
    before = {each.id: each.machine.state for each in instances}
    for each in stopped:
        region.room.start_again(each.machine)
    return describe_changes(instances, before)


def reboot_instances(region: Region, parameters: Parameters) -> Fields:
    """Reboot these; addresses and disks stay."""
    instances = _named(region, parameters)
    _check_states(instances, frozenset({State.PENDING, State.RUNNING}), "rebooted")
    for each in instances:
        region.room.reboot(each.machine)
    return {"return": True}


def describe_changes(instances: Iterable[Instance], before: dict[str, State]) -> Fields:
    """What a call did to its instances' states."""
    return {
        "instancesSet": [
            {
                "instanceId": each.id,
                "currentState": describe_state(each.machine.state),
                "previousState": describe_state(before[each.id]),
            }
            for each in instances
        ]
    }


def _named(region: Region, parameters: Parameters) -> list[Instance]:
    ids = parameters.texts("InstanceId")
    if not ids:
        raise missing("InstanceId")
    return find_instances(region, ids)


def _check_stop(instance: Instance, *, is_hibernation: bool) -> None:
    _check_states([instance], STOPPABLE, "stopped")
    if instance.machine.is_spot and not instance.is_persistent:
        message = (
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance "
            "request. You can only stop Spot Instances associated with persistent Spot Instance requests."
        )
        raise Refused("UnsupportedOperation", message)
    if instance.is_stop_protected and instance.machine.state is State.RUNNING:
        message = (
            f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and "
            "try again."
        )
        raise Refused("OperationNotPermitted", message)
    if is_hibernation and not instance.is_hibernatable:
        message = f"The instance '{instance.id}' was not launched with hibernation configured."
        raise Refused("UnsupportedHibernationConfiguration", message)


def _check_states(instances: Iterable[Instance], allowed: frozenset[State], what: str) -> None:
    for each in instances:
        if each.machine.state not in allowed:
            message = f"The instance '{each.id}' is not in a state from which it can be {what}."
            raise Refused("IncorrectInstanceState", message)


def _check_room(region: Region, instances: list[Instance]) -> None:
    if region.room.living_in(region.name) + len(instances) > region.settings.quota:
        limit = region.settings.quota
        message = f"You have requested more instances ({len(instances)}) than your current limit of {limit} allows."
        raise Refused("InstanceLimitExceeded", message)
    for each in instances:
        if not region.room.free_in(each.machine.zone):
            raise no_capacity(each.machine.type, each.machine.zone)
