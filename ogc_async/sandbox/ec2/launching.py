"""RunInstances: as many machines as there is room for, once a client token."""

from __future__ import annotations

from dataclasses import dataclass

from ogc_async.sandbox.ec2 import cloudinit
from ogc_async.sandbox.ec2.catalog import AMI_ID, Device, Image, arch_of
from ogc_async.sandbox.ec2.describing import describe_reservation
from ogc_async.sandbox.ec2.ending import is_terminate
from ogc_async.sandbox.ec2.errors import Refused, invalid, missing, no_capacity
from ogc_async.sandbox.ec2.region import Bound, Fields, Instance, KeyPair, Region, tag_specification
from ogc_async.sandbox.ec2.volumes import attach, devices_of
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.hosts import Login
from ogc_async.sandbox.room import Machine

MAX_TOKEN = 64
MAX_USER_DATA = 16 * 1024
INTERFACE = ("Description", "DeleteOnTermination", "InterfaceType")
"""Of a network interface, what makes no difference here."""
TAGGABLE = ("instance", "volume", "spot-instances-request", "network-interface")

TAKES = (
    "ImageId InstanceType MinCount MaxCount ClientToken KeyName SecurityGroup SecurityGroupId SubnetId Placement "
    "TagSpecification InstanceInitiatedShutdownBehavior MetadataOptions InstanceMarketOptions UserData "
    "BlockDeviceMapping DisableApiTermination DisableApiStop Monitoring EbsOptimized NetworkInterface "
    "HibernationOptions"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A launch that is possible, capacity aside."""

    image: Image
    type: str
    least: int
    most: int
    zone: str | None
    key: KeyPair | None
    group_ids: list[str]
    devices: list[Device]
    has_public_address: bool


def run_instances(region: Region, parameters: Parameters) -> Fields:
    """Launch between ``MinCount`` and ``MaxCount`` machines in one zone."""
    wanted = _read(region, parameters)
    token = parameters.text("ClientToken")
    if len(token) > MAX_TOKEN:
        raise invalid("ClientToken", token, f"It has at most {MAX_TOKEN} characters.")
    if parameters.flag("DryRun"):
        raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    # A token means one thing in a zone; in the whole region, where the call names no zone.
    scope = (token, wanted.zone or "")
    fingerprint = parameters.fingerprint(without=("ClientToken", "DryRun"))
    bound = region.tokens.get(scope) if token else None
    if bound is not None and bound.fingerprint != fingerprint:
        message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
        raise Refused("IdempotentParameterMismatch", message)
    if bound is not None and bound.instances:
        return _again(region, bound)
    region.take_resources("RunInstances", wanted.most)
    if bound is None:
        bound = Bound(fingerprint=fingerprint)
    if token:
        # Before capacity is known: a token is bound by the attempt, not by its success.
        region.tokens[scope] = bound
    zone, count = _find_room(region, wanted)
    bound.instances = _launch(region, parameters, wanted, zone, count)
    return describe_reservation(region, bound.instances, is_launch=True)


def _again(region: Region, bound: Bound) -> Fields:
    if all(each.is_ended for each in bound.instances):
        raise Refused(
            "IdempotentInstanceTerminated",
            "The request to launch an instance uses the same client token as a previous request for which the "
            "instance has been terminated.",
        )
    return describe_reservation(region, bound.instances, is_launch=True)


def _read(region: Region, parameters: Parameters) -> Wanted:
    image = find_image(region, parameters.required("ImageId"))
    kind = parameters.text("InstanceType", "m1.small")
    arch = arch_of(kind)
    if arch is None:
        raise invalid("InstanceType", kind)
    if arch != image.arch:
        message = (
            f"The architecture '{arch}' of the specified instance type does not match the architecture "
            f"'{image.arch}' of the specified AMI. Specify an instance type and an AMI that have matching architectures"
        )
        raise Refused("InvalidParameterValue", message)
    for name in ("MinCount", "MaxCount"):
        if name not in parameters:
            raise missing(name)
    least, most = parameters.number("MinCount", 1), parameters.number("MaxCount", 1)
    if not 1 <= least <= most:
        raise invalid("MinCount", least, "It must be between 1 and MaxCount.")
    return Wanted(
        image=image,
        type=kind,
        least=least,
        most=most,
        zone=_zone(region, parameters),
        key=_key(region, parameters),
        group_ids=_groups(region, parameters),
        devices=devices_of(image, parameters),
        has_public_address=_interface(parameters).flag(
            "AssociatePublicIpAddress", default=region.settings.has_public_addresses
        ),
    )


def find_image(region: Region, image_id: str) -> Image:
    """The image of that id. Raises :class:`Refused`."""
    if not AMI_ID.fullmatch(image_id):
        raise Refused("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    found = region.images().get(image_id)
    if found is None:
        raise Refused("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return found


def _interface(parameters: Parameters) -> Parameters:
    """The one network interface that a launch may describe. Raises :class:`Refused`."""
    described = parameters.groups("NetworkInterface")
    if not described:
        return Parameters({})
    if len(described) > 1 or described[0].number("DeviceIndex", 0) != 0:
        raise invalid("NetworkInterface", "several", "Here a machine has one, with the device index 0.")
    for name, word in (("SubnetId", "subnet ID"), ("SecurityGroupId", "security groups"), ("SecurityGroup", "groups")):
        if name in parameters:
            message = f"Network interfaces and an instance-level {word} may not be specified on the same request"
            raise Refused("InvalidParameterCombination", message)
    described[0].check_known(("DeviceIndex", "AssociatePublicIpAddress", "SubnetId", "SecurityGroupId", *INTERFACE))
    return described[0]


def _zone(region: Region, parameters: Parameters) -> str | None:
    subnet = parameters.text("SubnetId") or _interface(parameters).text("SubnetId")
    named = parameters.group("Placement").text("AvailabilityZone")
    if subnet:
        by_subnet = {subnet_id: zone for zone, subnet_id in region.subnets.items()}
        if subnet not in by_subnet:
            raise Refused("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
        return by_subnet[subnet]
    if named and named not in region.zones:
        raise invalid("availability zone", named, f"Zones: {', '.join(region.zones)}.")
    return named or None


def _key(region: Region, parameters: Parameters) -> KeyPair | None:
    name = parameters.text("KeyName")
    if name and name not in region.key_pairs:
        raise Refused("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    return region.key_pairs.get(name)


def _groups(region: Region, parameters: Parameters) -> list[str]:
    ids = parameters.texts("SecurityGroupId") + _interface(parameters).texts("SecurityGroupId")
    for each in ids:
        if each not in region.groups:
            raise Refused("InvalidGroup.NotFound", f"The security group '{each}' does not exist")
    by_name = {group.name: group.id for group in region.groups.values()}
    for name in parameters.texts("SecurityGroup"):
        if name not in by_name:
            raise Refused("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC")
        ids.append(by_name[name])
    return ids or [region.default_group.id]


def _find_room(region: Region, wanted: Wanted) -> tuple[str, int]:
    allowed = region.settings.quota - region.room.living_in(region.name)
    if allowed < wanted.least:
        limit = region.settings.quota
        message = f"You have requested more instances ({wanted.least}) than your current limit of {limit} allows."
        raise Refused("InstanceLimitExceeded", message)
    zones = [wanted.zone] if wanted.zone else region.zones
    zone = max(zones, key=lambda each: (region.room.free_in(each), region.room.rng.random()))
    count = min(wanted.most, region.room.free_in(zone), allowed)
    if count < wanted.least:
        raise no_capacity(wanted.type, zone)
    return zone, count


def _launch(region: Region, parameters: Parameters, wanted: Wanted, zone: str, count: int) -> list[Instance]:
    tags = tag_specification(parameters, "instance", TAGGABLE)
    volume_tags = tag_specification(parameters, "volume", TAGGABLE)
    user_data = parameters.text("UserData")
    if len(user_data) > MAX_USER_DATA * 4 // 3 + 4:
        raise Refused("InvalidParameterValue", f"User data is limited to {MAX_USER_DATA} bytes")
    told = cloudinit.Told() if wanted.image.is_windows else cloudinit.read(user_data)
    market = parameters.group("InstanceMarketOptions")
    spot_type = market.group("SpotOptions").text("SpotInstanceType", "one-time")
    ends_by_shutdown = is_terminate(parameters.text("InstanceInitiatedShutdownBehavior", "stop"))
    reservation, now = region.new_id("r"), region.clock.now()
    launched = []
    for index in range(count):
        machine = Machine(
            id=region.new_id("i"),
            provider="aws",
            region=region.name,
            zone=zone,
            type=wanted.type,
            image=wanted.image.id,
            logins=(Login(wanted.key.public_key),) if wanted.key else (),
            host_key=told.host_key,
            user_data=told.user_data,
            private_ip=region.room.next_private_ip(),
            launched_at=now,
            boot_s=region.room.draw_boot_s(),
            tags=dict(tags),
            is_protected=parameters.flag("DisableApiTermination"),
            is_spot=market.text("MarketType") == "spot",
            has_public_address=wanted.has_public_address,
            is_ended_by_shutdown=ends_by_shutdown,
        )
        instance = Instance(
            machine=machine,
            image=wanted.image,
            reservation=reservation,
            index=index,
            token=parameters.text("ClientToken"),
            key_name=wanted.key.name if wanted.key else "",
            group_ids=wanted.group_ids,
            is_persistent=spot_type == "persistent",
            is_hibernatable=parameters.group("HibernationOptions").flag("Configured"),
            is_stop_protected=parameters.flag("DisableApiStop"),
            http_tokens=parameters.group("MetadataOptions").text("HttpTokens", "optional"),
            user_data=user_data,
        )
        region.instances[instance.id] = instance
        attach(region, instance, wanted.devices, volume_tags)
        region.room.launch(machine)
        launched.append(instance)
    return launched
