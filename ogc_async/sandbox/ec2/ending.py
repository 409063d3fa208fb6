"""TerminateInstances and what protects from it, and the console of what still runs."""

from __future__ import annotations

import base64

from ogc_async.sandbox.ec2.describing import find_instances
from ogc_async.sandbox.ec2.errors import Refused, invalid, missing
from ogc_async.sandbox.ec2.region import Fields, Region
from ogc_async.sandbox.ec2.stopping import describe_changes
from ogc_async.sandbox.ec2.wire import Parameters

MAX_IDS = 1000


def terminate_instances(region: Region, parameters: Parameters) -> Fields:
    """End these instances; one bad id, or one that is protected, and none ends."""
    ids = parameters.texts("InstanceId")
    if not ids:
        raise missing("InstanceId")
    if len(ids) > MAX_IDS:
        raise Refused("InvalidParameterValue", f"At most {MAX_IDS} instance ids")
    instances = find_instances(region, ids)
    for each in instances:
        if each.machine.is_protected and not each.is_ended:
            raise Refused(
                "OperationNotPermitted",
                f"The instance '{each.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                "attribute and try again.",
            )
    region.take_resources("TerminateInstances", len(instances))
    before = {each.id: each.machine.state for each in instances}
    region.room.end([each.machine for each in instances])
    return describe_changes(instances, before)


def modify_instance_attribute(region: Region, parameters: Parameters) -> Fields:
    """Protect from termination or from stopping, or not; choose what a shutdown from inside does."""
    [instance] = find_instances(region, [parameters.required("InstanceId")])
    if "DisableApiTermination" in parameters:
        instance.machine.is_protected = parameters.group("DisableApiTermination").flag("Value")
    if "DisableApiStop" in parameters:
        instance.is_stop_protected = parameters.group("DisableApiStop").flag("Value")
    if "InstanceInitiatedShutdownBehavior" in parameters:
        wanted = parameters.group("InstanceInitiatedShutdownBehavior").required("Value")
        instance.machine.is_ended_by_shutdown = is_terminate(wanted)
    return {"return": True}


def is_terminate(behavior: str) -> bool:
    """A shutdown from inside is the instance's end. Raises :class:`Refused`."""
    if behavior not in ("stop", "terminate"):
        raise invalid("InstanceInitiatedShutdownBehavior", behavior)
    return behavior == "terminate"


def get_console_output(region: Region, parameters: Parameters) -> Fields:
    """The boot's last words, with the host key as cloud-init prints it."""
    [instance] = find_instances(region, [parameters.required("InstanceId")])
    host = instance.machine.host
    output = None
    if host is not None and instance.machine.ssh_open_at is not None:
        key = host.host_key.export_public_key().decode().strip()
        lines = ("-----BEGIN SSH HOST KEY KEYS-----", key, "-----END SSH HOST KEY KEYS-----", "")
        output = base64.b64encode("\r\n".join(lines).encode()).decode()
    moment = region.clock.moment(region.clock.now())
    return {"instanceId": instance.id, "timestamp": moment, "output": output}
