"""RunInstances: as many machines as there is room for, once a client token."""

from __future__ import annotations

from dataclasses import dataclass

from ogc_async.sandbox.ec2.catalog import AMI_ID, Image, arch_of, images
from ogc_async.sandbox.ec2.cloudinit import host_key_in
from ogc_async.sandbox.ec2.describing import describe_reservation
from ogc_async.sandbox.ec2.errors import Refused, invalid, missing
from ogc_async.sandbox.ec2.region import Bound, Fields, Instance, KeyPair, Region, tag_specification
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.hosts import Login
from ogc_async.sandbox.room import Machine

MAX_TOKEN = 64
MAX_USER_DATA = 16 * 1024
DEFAULT_DISK_GIB = 8
TAGGABLE = ("instance", "volume", "spot-instances-request", "network-interface")

TAKES = (
    "ImageId InstanceType MinCount MaxCount ClientToken KeyName SecurityGroup SecurityGroupId SubnetId Placement "
    "TagSpecification InstanceInitiatedShutdownBehavior MetadataOptions InstanceMarketOptions UserData "
    "BlockDeviceMapping DisableApiTermination Monitoring EbsOptimized"
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
        image, kind, least, most, _zone(region, parameters), _key(region, parameters), _groups(region, parameters)
    )


def find_image(region: Region, image_id: str) -> Image:
    """The image of that id. Raises :class:`Refused`."""
    if not AMI_ID.fullmatch(image_id):
        raise Refused("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    found = images(region.name).get(image_id)
    if found is None:
        raise Refused("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return found


def _zone(region: Region, parameters: Parameters) -> str | None:
    subnet = parameters.text("SubnetId")
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
    ids = parameters.texts("SecurityGroupId")
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
        message = (
            f"We currently do not have sufficient {wanted.type} capacity in the Availability Zone you requested "
            f"({zone}). Our system will be working on provisioning additional capacity."
        )
        raise Refused("InsufficientInstanceCapacity", message, 500)
    return zone, count


def _launch(region: Region, parameters: Parameters, wanted: Wanted, zone: str, count: int) -> list[Instance]:
    tags = tag_specification(parameters, "instance", TAGGABLE)
    volume_tags = tag_specification(parameters, "volume", TAGGABLE)
    disks = [each.group("Ebs") for each in parameters.groups("BlockDeviceMapping")]
    user_data = parameters.text("UserData")
    if len(user_data) > MAX_USER_DATA * 4 // 3 + 4:
        raise Refused("InvalidParameterValue", f"User data is limited to {MAX_USER_DATA} bytes")
    host_key = None if wanted.image.is_windows else host_key_in(user_data)
    market = parameters.group("InstanceMarketOptions").text("MarketType")
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
            host_key=host_key,
            private_ip=region.room.next_private_ip(),
            launched_at=now,
            boot_s=region.room.draw_boot_s(),
            tags=dict(tags),
            is_protected=parameters.flag("DisableApiTermination"),
        )
        instance = Instance(
            machine=machine,
            image=wanted.image,
            reservation=reservation,
            index=index,
            token=parameters.text("ClientToken"),
            key_name=wanted.key.name if wanted.key else "",
            group_ids=wanted.group_ids,
            shutdown_behavior=parameters.text("InstanceInitiatedShutdownBehavior", "stop"),
            is_spot=market == "spot",
            http_tokens=parameters.group("MetadataOptions").text("HttpTokens", "optional"),
            user_data=user_data,
            volume_id=region.new_id("vol"),
            volume_gib=disks[0].number("VolumeSize", DEFAULT_DISK_GIB) if disks else DEFAULT_DISK_GIB,
            volume_tags=dict(volume_tags),
        )
        region.instances[instance.id] = instance
        region.room.launch(machine)
        launched.append(instance)
    return launched
