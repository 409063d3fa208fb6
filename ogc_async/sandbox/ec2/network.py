"""Security groups in the one VPC, and the places there are: VPC, subnets, zones, regions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import groupby

from ogc_async.sandbox.ec2.catalog import REGIONS, is_served
from ogc_async.sandbox.ec2.errors import Refused, invalid, missing
from ogc_async.sandbox.ec2.filters import Field, page, select
from ogc_async.sandbox.ec2.region import Fields, Region, Rule, SecurityGroup, tag_set, tag_specification
from ogc_async.sandbox.ec2.wire import Parameters

MAX_NAME = 255
MAX_RULES = 60
VPC_NETWORK = "172.31.0.0/16"


def create_security_group(region: Region, parameters: Parameters) -> Fields:
    """A name is taken once a VPC, whatever its capitals."""
    name, description = parameters.required("GroupName"), parameters.required("GroupDescription")
    _check_vpc(region, parameters.text("VpcId"))
    if len(name) > MAX_NAME or name.startswith("sg-"):
        raise invalid("GroupName", name)
    tags = tag_specification(parameters, "security-group")
    if any(each.name.lower() == name.lower() for each in region.groups.values()):
        message = f"The security group '{name}' already exists for VPC '{region.vpc_id}'"
        raise Refused("InvalidGroup.Duplicate", message)
    group = region.add_group(name, description, tags)
    return {"groupId": group.id, "tagSet": tag_set(tags), "securityGroupArn": _arn(region, group)}


def delete_security_group(region: Region, parameters: Parameters) -> Fields:
    """Refused while a machine has it."""
    group = _find(region, parameters)
    if group is region.default_group:
        raise Refused("CannotDelete", "the specified group: cannot be deleted by a user")
    if any(group.id in each.group_ids and not each.is_ended for each in region.instances.values()):
        raise Refused("DependencyViolation", f"resource {group.id} has a dependent object")
    del region.groups[group.id]
    return {"return": True, "groupId": group.id}


def describe_security_groups(region: Region, parameters: Parameters) -> Fields:
    """By id, by name, or by filter."""
    groups = [_by_id(region, each) for each in parameters.texts("GroupId")]
    groups += [_by_name(region, each) for each in parameters.texts("GroupName")]
    fields: dict[str, Field[SecurityGroup]] = {
        "group-id": lambda each: [each.id],
        "group-name": lambda each: [each.name],
        "description": lambda each: [each.description],
        "vpc-id": lambda _: [region.vpc_id],
        "owner-id": lambda _: [region.account.number],
    }
    chosen = select(groups or region.groups.values(), parameters, fields, lambda each: each.tags)
    some, token = page(chosen, parameters, smallest=5, largest=1000)
    return {"securityGroupInfo": [_describe(region, each) for each in some], "nextToken": token}


def authorize_ingress(region: Region, parameters: Parameters) -> Fields:
    """Add rules; one that is there already, and none is added."""
    group, rules = _find(region, parameters), _rules(parameters)
    for rule in rules:
        if rule in group.ingress:
            message = (
                f'the specified rule "peer: {rule.network}, {rule.protocol.upper()}, from port: {rule.first}, '
                f'to port: {rule.last}, ALLOW" already exists'
            )
            raise Refused("InvalidPermission.Duplicate", message)
    if len(group.ingress) + len(rules) > MAX_RULES:
        raise Refused(
            "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached."
        )
    added = {rule: region.new_id("sgr") for rule in rules}
    group.ingress |= added
    return {"return": True, "securityGroupRuleSet": [_rule(group, rule, rule_id) for rule, rule_id in added.items()]}


def revoke_ingress(region: Region, parameters: Parameters) -> Fields:
    """Take rules away."""
    group, rules = _find(region, parameters), _rules(parameters)
    for rule in rules:
        if rule not in group.ingress:
            raise Refused("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    for rule in rules:
        del group.ingress[rule]
    return {"return": True}


def describe_vpcs(region: Region, parameters: Parameters) -> Fields:
    """The default VPC: there is no other."""
    for each in parameters.texts("VpcId"):
        _check_vpc(region, each)
    fields: dict[str, Field[str]] = {
        "vpc-id": lambda each: [each],
        "is-default": lambda _: ["true"],
        "isDefault": lambda _: ["true"],
        "state": lambda _: ["available"],
    }
    vpc = {
        "vpcId": region.vpc_id,
        "ownerId": region.account.number,
        "state": "available",
        "cidrBlock": VPC_NETWORK,
        "instanceTenancy": "default",
        "isDefault": True,
    }
    return {"vpcSet": [vpc for _ in select([region.vpc_id], parameters, fields, lambda _: {})]}


def describe_subnets(region: Region, parameters: Parameters) -> Fields:
    """The default VPC's subnets: one a zone."""
    wanted = parameters.texts("SubnetId")
    for each in wanted:
        if each not in region.subnets.values():
            raise Refused("InvalidSubnetID.NotFound", f"The subnet ID '{each}' does not exist")
    fields: dict[str, Field[str]] = {
        "subnet-id": lambda zone: [region.subnets[zone]],
        "availability-zone": lambda zone: [zone],
        "vpc-id": lambda _: [region.vpc_id],
        "default-for-az": lambda _: ["true"],
        "map-public-ip-on-launch": lambda _: [str(region.settings.has_public_addresses).lower()],
        "state": lambda _: ["available"],
    }
    zones = [zone for zone in region.zones if not wanted or region.subnets[zone] in wanted]
    some, token = page(select(zones, parameters, fields, lambda _: {}), parameters, smallest=5, largest=1000)
    return {"subnetSet": [_subnet(region, zone) for zone in some], "nextToken": token}


def describe_availability_zones(region: Region, parameters: Parameters) -> Fields:
    """The region's zones."""
    wanted = parameters.texts("ZoneName")
    for each in wanted:
        if each not in region.zones:
            raise invalid("availability zone", each)
    fields: dict[str, Field[str]] = {
        "zone-name": lambda zone: [zone],
        "region-name": lambda _: [region.name],
        "state": lambda _: ["available"],
    }
    zones = select(wanted or region.zones, parameters, fields, lambda _: {})
    return {
        "availabilityZoneInfo": [
            {
                "zoneName": zone,
                "zoneState": "available",
                "regionName": region.name,
                "zoneType": "availability-zone",
                "optInStatus": "opt-in-not-required",
            }
            for zone in zones
        ]
    }


def describe_regions(region: Region, parameters: Parameters) -> Fields:
    """The regions that the account may use; those it has not opted in to where all, or these, are asked for."""
    named = parameters.texts("RegionName")
    if unknown := [each for each in named if each not in REGIONS]:
        raise invalid("region", unknown[0], f"Invalid region names provided: {', '.join(unknown)}")
    found = named or [each for each in REGIONS if parameters.flag("AllRegions") or is_served(each)]
    fields: dict[str, Field[str]] = {
        "region-name": lambda name: [name],
        "opt-in-status": lambda name: [REGIONS[name]],
        "endpoint": lambda name: [_endpoint(name)],
    }
    return {
        "regionInfo": [
            {"regionName": name, "regionEndpoint": _endpoint(name), "optInStatus": REGIONS[name]}
            for name in select(found, parameters, fields, lambda _: {})
        ]
    }


def _endpoint(name: str) -> str:
    return f"ec2.{name}.amazonaws.com"


def describe_addresses(region: Region, parameters: Parameters) -> Fields:
    """Elastic addresses: there are none."""
    for each in parameters.texts("AllocationId"):
        raise Refused("InvalidAllocationID.NotFound", f"The allocation ID '{each}' does not exist")
    for each in parameters.texts("PublicIp"):
        raise Refused("InvalidAddress.NotFound", f"Address '{each}' not found.")
    return {"addressesSet": []}


def _check_vpc(region: Region, vpc_id: str) -> None:
    if vpc_id and vpc_id != region.vpc_id:
        raise Refused("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def _by_id(region: Region, group_id: str) -> SecurityGroup:
    if group_id not in region.groups:
        raise Refused("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
    return region.groups[group_id]


def _by_name(region: Region, name: str) -> SecurityGroup:
    found = next((each for each in region.groups.values() if each.name == name), None)
    if found is None:
        raise Refused("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC")
    return found


def _find(region: Region, parameters: Parameters) -> SecurityGroup:
    if "GroupId" in parameters:
        return _by_id(region, parameters.required("GroupId"))
    if "GroupName" in parameters:
        return _by_name(region, parameters.required("GroupName"))
    raise missing("GroupId")


def _rules(parameters: Parameters) -> list[Rule]:
    entries = parameters.groups("IpPermissions")
    rules = [rule for each in entries for rule in _rules_of(each)]
    if not entries and "CidrIp" in parameters:
        rules = [_read_rule(parameters, _network(parameters.required("CidrIp"), 4), "")]
    if not rules:
        raise missing("IpPermissions")
    if len(set(rules)) < len(rules):
        raise Refused("InvalidParameterValue", "The same permission must not appear multiple times")
    return rules


def _rules_of(entry: Parameters) -> Iterable[Rule]:
    for ranges, cidr, version in (("IpRanges", "CidrIp", 4), ("Ipv6Ranges", "CidrIpv6", 6)):
        for each in entry.groups(ranges):
            yield _read_rule(entry, _network(each.required(cidr), version), each.text("Description"))
    for each in entry.groups("Groups"):
        yield _read_rule(entry, each.required("GroupId"), each.text("Description"))


def _read_rule(entry: Parameters, network: str, description: str) -> Rule:
    protocol = entry.required("IpProtocol")
    first, last = entry.number("FromPort", -1), entry.number("ToPort", -1)
    if protocol in ("tcp", "udp") and not 0 <= first <= last <= 65535:
        raise invalid("port range", f"{first}-{last}")
    return Rule(protocol, first, last, network, description)


def _network(cidr: str, version: int) -> str:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        raise Refused("InvalidParameterValue", f"CIDR block {cidr} is malformed") from None
    if network.version != version:
        raise Refused("InvalidParameterValue", f"CIDR block {cidr} is malformed")
    return str(network)


def _describe(region: Region, group: SecurityGroup) -> Fields:
    return {
        "ownerId": group.owner,
        "groupId": group.id,
        "groupName": group.name,
        "groupDescription": group.description,
        "vpcId": region.vpc_id,
        "ipPermissions": _permissions(group.owner, group.ingress),
        "ipPermissionsEgress": _permissions(group.owner, group.egress),
        "tagSet": tag_set(group.tags),
        "securityGroupArn": _arn(region, group),
    }


def _permissions(owner: str, rules: Iterable[Rule]) -> list[Fields]:
    def span(rule: Rule) -> tuple[str, int, int]:
        return rule.protocol, rule.first, rule.last

    return [_permission(owner, key, list(alike)) for key, alike in groupby(sorted(rules, key=span), key=span)]


def _permission(owner: str, span: tuple[str, int, int], rules: list[Rule]) -> Fields:
    protocol, first, last = span
    ports = {} if protocol == "-1" else {"fromPort": first, "toPort": last}
    groups = [each for each in rules if each.network.startswith("sg-")]
    v6 = [each for each in rules if ":" in each.network]
    v4 = [each for each in rules if each not in groups and each not in v6]
    return {
        "ipProtocol": protocol,
        **ports,
        "groups": [{"userId": owner, "groupId": each.network} for each in groups],
        "ipRanges": [{"cidrIp": each.network, "description": each.description or None} for each in v4],
        "ipv6Ranges": [{"cidrIpv6": each.network, "description": each.description or None} for each in v6],
        "prefixListIds": [],
    }


def _rule(group: SecurityGroup, rule: Rule, rule_id: str) -> Fields:
    is_group = rule.network.startswith("sg-")
    is_v6 = ":" in rule.network
    return {
        "securityGroupRuleId": rule_id,
        "groupId": group.id,
        "groupOwnerId": group.owner,
        "isEgress": False,
        "ipProtocol": rule.protocol,
        "fromPort": rule.first,
        "toPort": rule.last,
        "cidrIpv4": None if is_group or is_v6 else rule.network,
        "cidrIpv6": rule.network if is_v6 else None,
        "referencedGroupInfo": {"groupId": rule.network, "userId": group.owner} if is_group else None,
        "description": rule.description or None,
    }


def _subnet(region: Region, zone: str) -> Fields:
    number = region.zones.index(zone)
    return {
        "subnetId": region.subnets[zone],
        "state": "available",
        "vpcId": region.vpc_id,
        "cidrBlock": f"172.31.{16 * number}.0/20",
        "availableIpAddressCount": 4091,
        "availabilityZone": zone,
        "defaultForAz": True,
        "mapPublicIpOnLaunch": region.settings.has_public_addresses,
        "ownerId": region.account.number,
    }


def _arn(region: Region, group: SecurityGroup) -> str:
    return f"arn:aws:ec2:{region.name}:{group.owner}:security-group/{group.id}"
