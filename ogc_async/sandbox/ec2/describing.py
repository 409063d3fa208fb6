"""Instances as descriptions show them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.filters import Field, page, select
from ogc_async.sandbox.ec2.region import STATES, Fields, Instance, Region, Tags, tag_set
from ogc_async.sandbox.ec2.volumes import describe_mapping
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.room import RECLAIMED, SHUT_DOWN_INSIDE, STOPPED_BY_CLOUD, State

INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
MAX_STATUS_IDS = 100
BY_SERVICE = frozenset({RECLAIMED[0], STOPPED_BY_CLOUD[0]})
"""Ends of machines that ran; other codes of ``Server.…`` are of launches that failed."""


def describe_instances(region: Region, parameters: Parameters) -> Fields:
    """By ids, or by filters and pages."""
    ids = parameters.texts("InstanceId")
    if ids and "MaxResults" in parameters:
        message = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise Refused("InvalidParameterCombination", message)
    found = find_instances(region, ids) if ids else list(region.visible())
    chosen, token = _page(region, found, parameters)
    runs = groupby(chosen, key=lambda each: each.reservation)
    return {"reservationSet": [describe_reservation(region, list(run)) for _, run in runs], "nextToken": token}


def describe_instance_status(region: Region, parameters: Parameters) -> Fields:
    """Running instances, or all of them where that is asked."""
    ids = parameters.texts("InstanceId")
    if len(ids) > MAX_STATUS_IDS:
        raise Refused("InvalidParameterValue", f"At most {MAX_STATUS_IDS} instance ids")
    found = find_instances(region, ids) if ids else list(region.visible())
    if not parameters.flag("IncludeAllInstances"):
        found = [each for each in found if each.machine.state is State.RUNNING]
    chosen, token = _page(region, found, parameters)
    return {"instanceStatusSet": [_status(each) for each in chosen], "nextToken": token}


def describe_instance_attribute(region: Region, parameters: Parameters) -> Fields:
    """One attribute of one instance."""
    [instance] = find_instances(region, [parameters.required("InstanceId")])
    name = parameters.required("Attribute")
    values: dict[str, Fields] = {
        "instanceType": {"value": instance.machine.type},
        "userData": {"value": instance.user_data} if instance.user_data else {},
        "disableApiStop": {"value": instance.is_stop_protected},
        "disableApiTermination": {"value": instance.machine.is_protected},
        "instanceInitiatedShutdownBehavior": {"value": instance.shutdown_behavior},
        "rootDeviceName": {"value": instance.image.root_device},
    }
    if name not in values:
        raise Refused("InvalidParameterValue", f"Value ({name}) for parameter attribute is invalid.")
    return {"instanceId": instance.id, name: values[name]}


def find_instances(region: Region, ids: Iterable[str]) -> list[Instance]:
    """Instances by id; one that is unknown, or too young to be known, fails them all."""
    wanted = list(dict.fromkeys(ids))
    malformed = next((each for each in wanted if not INSTANCE_ID.fullmatch(each)), None)
    if malformed is not None:
        raise Refused("InvalidInstanceID.Malformed", f'Invalid id: "{malformed}"')
    known = {each.id: each for each in map(region.instances.get, wanted) if each and region.is_visible(each)}
    unknown = [each for each in wanted if each not in known]
    if len(unknown) == 1:
        raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{unknown[0]}' does not exist")
    if unknown:
        raise Refused("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(unknown)}' do not exist")
    return [known[each] for each in wanted]


def describe_reservation(region: Region, instances: list[Instance], *, is_launch: bool = False) -> Fields:
    """One launch, with those of its instances that are shown; the launch's own reply shows tags from the start."""
    return {
        "reservationId": instances[0].reservation,
        "ownerId": region.account.number,
        "groupSet": [],
        "instancesSet": [
            _instance(region, each, each.machine.tags if is_launch else region.shown_tags(each)) for each in instances
        ],
    }


def describe_state(state: State) -> Fields:
    """A state's code and name."""
    code, name = STATES[state]
    return {"code": code, "name": name}


def fields(region: Region) -> dict[str, Field[Instance]]:
    """What instances are filtered by."""
    return {
        "instance-id": lambda each: [each.id],
        "instance-state-name": lambda each: [each.state],
        "instance-state-code": lambda each: [str(STATES[each.machine.state][0])],
        "instance-type": lambda each: [each.machine.type],
        "instance-lifecycle": lambda each: ["spot"] if each.machine.is_spot else [],
        "image-id": lambda each: [each.image.id],
        "architecture": lambda each: [each.image.arch],
        "availability-zone": lambda each: [each.machine.zone],
        "client-token": lambda each: [each.token],
        "key-name": lambda each: [each.key_name],
        "reservation-id": lambda each: [each.reservation],
        "instance.group-id": lambda each: each.group_ids,
        "instance.group-name": lambda each: _group_names(region, each),
        "network-interface.group-id": lambda each: each.group_ids,
        "ip-address": lambda each: [each.machine.address or ""],
        "private-ip-address": lambda each: [each.machine.private_ip],
        "subnet-id": lambda each: [region.subnets[each.machine.zone]],
        "vpc-id": lambda each: [region.vpc_id],
        "owner-id": lambda each: [region.account.number],
    }


def _page(region: Region, found: Iterable[Instance], parameters: Parameters) -> tuple[list[Instance], str | None]:
    chosen = select(found, parameters, fields(region), region.shown_tags)
    return page(chosen, parameters, smallest=5, largest=1000)


def _group_names(region: Region, instance: Instance) -> Iterator[str]:
    return (region.groups[each].name for each in instance.group_ids if each in region.groups)


def _instance(region: Region, instance: Instance, tags: Tags) -> Fields:
    machine, image = instance.machine, instance.image
    is_there = machine.is_kept
    host_name = f"ip-{machine.private_ip.replace('.', '-')}.{region.name}.compute.internal"
    reason = (
        {"code": machine.reason[0], "message": f"{machine.reason[0]}: {machine.reason[1]}"} if machine.reason else None
    )
    return {
        "instanceId": instance.id,
        "imageId": image.id,
        "instanceState": describe_state(machine.state),
        "privateDnsName": host_name if is_there else "",
        "dnsName": f"ec2-{machine.address.replace('.', '-')}.compute.amazonaws.com" if machine.address else "",
        "reason": _transition(region, instance),
        "keyName": instance.key_name or None,
        "amiLaunchIndex": instance.index,
        "instanceType": machine.type,
        "launchTime": region.clock.moment(machine.boots_since),
        "placement": {"availabilityZone": machine.zone, "groupName": "", "tenancy": "default"},
        "monitoring": {"state": "disabled"},
        "subnetId": region.subnets[machine.zone] if is_there else None,
        "vpcId": region.vpc_id if is_there else None,
        "privateIpAddress": machine.private_ip if is_there else None,
        "ipAddress": machine.address,
        "sourceDestCheck": True if is_there else None,
        "groupSet": [
            {"groupId": each, "groupName": region.groups[each].name}
            for each in instance.group_ids
            if each in region.groups
        ]
        if is_there
        else [],
        "stateReason": reason,
        "architecture": image.arch,
        "rootDeviceType": "ebs",
        "rootDeviceName": image.root_device,
        "blockDeviceMapping": describe_mapping(region, instance) if is_there else [],
        "virtualizationType": "hvm",
        "instanceLifecycle": "spot" if machine.is_spot else None,
        "clientToken": instance.token,
        "tagSet": tag_set(tags),
        "hypervisor": "xen",
        "ebsOptimized": False,
        "enaSupport": True,
        "platform": "windows" if image.is_windows else None,
        "metadataOptions": {"state": "applied", "httpTokens": instance.http_tokens, "httpEndpoint": "enabled"},
    }


def _transition(region: Region, instance: Instance) -> str:
    """Who stopped or ended it, and when; of an end from inside EC2 tells no moment, and of a failed launch its code."""
    machine = instance.machine
    if machine.reason is None:
        return ""
    code = machine.reason[0]
    who = "User" if code.startswith("Client.") else "Service" if code in BY_SERVICE else ""
    if machine.reason == SHUT_DOWN_INSIDE or not who:
        return f"{who} initiated" if who else code
    return f"{who} initiated ({region.clock.moment(machine.reason_at):%Y-%m-%d %H:%M:%S} GMT)"


def _status(instance: Instance) -> Fields:
    is_running = instance.machine.state is State.RUNNING
    checks = {"status": "ok" if is_running else "not-applicable"}
    return {
        "instanceId": instance.id,
        "availabilityZone": instance.machine.zone,
        "instanceState": describe_state(instance.machine.state),
        "instanceStatus": checks,
        "systemStatus": checks,
    }
