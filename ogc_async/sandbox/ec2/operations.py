"""The operations that are served, each with the parameters it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ogc_async.sandbox.ec2 import (
    describing,
    ending,
    identity,
    images,
    keys,
    launching,
    network,
    stopping,
    tagging,
    volumes,
)
from ogc_async.sandbox.ec2.region import Fields, Region
from ogc_async.sandbox.ec2.wire import Parameters


class Operation(NamedTuple):
    """What an action does; parameters that it does not take are refused."""

    run: Callable[[Region, Parameters], Fields]
    takes: frozenset[str]


def _operation(run: Callable[[Region, Parameters], Fields], takes: str) -> Operation:
    return Operation(run, frozenset(takes.split()))


PAGES = "Filter MaxResults NextToken"
RULES = "GroupId GroupName IpPermissions CidrIp FromPort ToPort IpProtocol TagSpecification"

OPERATIONS = {
    "RunInstances": _operation(launching.run_instances, launching.TAKES),
    "DescribeInstances": _operation(describing.describe_instances, f"{PAGES} InstanceId"),
    "DescribeInstanceStatus": _operation(
        describing.describe_instance_status, f"{PAGES} InstanceId IncludeAllInstances"
    ),
    "DescribeInstanceAttribute": _operation(describing.describe_instance_attribute, "InstanceId Attribute"),
    "DescribeVolumes": _operation(volumes.describe_volumes, f"{PAGES} VolumeId"),
    "DeleteVolume": _operation(volumes.delete_volume, "VolumeId"),
    "StopInstances": _operation(stopping.stop_instances, "InstanceId Force Hibernate SkipOsShutdown"),
    "StartInstances": _operation(stopping.start_instances, "InstanceId AdditionalInfo"),
    "RebootInstances": _operation(stopping.reboot_instances, "InstanceId"),
    "TerminateInstances": _operation(ending.terminate_instances, "InstanceId Force SkipOsShutdown"),
    "ModifyInstanceAttribute": _operation(
        ending.modify_instance_attribute,
        "InstanceId DisableApiTermination DisableApiStop InstanceInitiatedShutdownBehavior",
    ),
    "GetConsoleOutput": _operation(ending.get_console_output, "InstanceId Latest"),
    "ImportKeyPair": _operation(keys.import_key_pair, "KeyName PublicKeyMaterial TagSpecification"),
    "CreateKeyPair": _operation(keys.create_key_pair, "KeyName KeyType KeyFormat TagSpecification"),
    "DescribeKeyPairs": _operation(keys.describe_key_pairs, "KeyName KeyPairId Filter IncludePublicKey"),
    "DeleteKeyPair": _operation(keys.delete_key_pair, "KeyName KeyPairId"),
    "CreateSecurityGroup": _operation(
        network.create_security_group, "GroupName GroupDescription VpcId TagSpecification"
    ),
    "DeleteSecurityGroup": _operation(network.delete_security_group, "GroupId GroupName"),
    "DescribeSecurityGroups": _operation(network.describe_security_groups, f"{PAGES} GroupId GroupName"),
    "AuthorizeSecurityGroupIngress": _operation(network.authorize_ingress, RULES),
    "RevokeSecurityGroupIngress": _operation(network.revoke_ingress, RULES),
    "DescribeAddresses": _operation(network.describe_addresses, "Filter AllocationId PublicIp"),
    "DescribeVpcs": _operation(network.describe_vpcs, f"{PAGES} VpcId"),
    "DescribeSubnets": _operation(network.describe_subnets, f"{PAGES} SubnetId"),
    "DescribeAvailabilityZones": _operation(
        network.describe_availability_zones, "Filter ZoneName ZoneId AllAvailabilityZones"
    ),
    "DescribeRegions": _operation(network.describe_regions, "Filter RegionName AllRegions"),
    "DescribeImages": _operation(
        images.describe_images, f"{PAGES} ImageId Owner ExecutableBy IncludeDeprecated IncludeDisabled"
    ),
    "CreateTags": _operation(tagging.create_tags, "ResourceId Tag"),
    "DeleteTags": _operation(tagging.delete_tags, "ResourceId Tag"),
    "DescribeTags": _operation(tagging.describe_tags, PAGES),
}

STS_OPERATIONS = {"GetCallerIdentity": _operation(identity.get_caller_identity, "")}
