"""The firewall of a layout: one security group in the default VPC, which lets in SSH and the layout's ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

from ogc_async.errors import InvalidRequest, NotFound, ProviderError
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import PROVIDER, is_duplicate
from ogc_async.providers.aws.replies import Reply
from ogc_async.providers.aws.tags import layout_tags, resource_name, tag_filters, tag_specification
from ogc_async.types import LaunchRequest, Port

APPEAR_S = 10.0
"""A group that another process made a moment ago may not be described yet."""

RECONCILE_TRIES = 3
"""Each time that another process adds one of the missing rules first, all of them are refused."""

Rule = tuple[str, int, int, str]
"""Protocol, first port, last port, CIDR."""


class _Group(NamedTuple):
    id: str
    rules: frozenset[Rule]


async def ensure_firewall(client: AwsClient, request: LaunchRequest) -> str:
    """Create the layout's security group, or add to it what is missing; returns its id.

    Rules that the layout does not name (any more) stay: machines of an earlier launch may live on them. They go with
    the group.
    """
    wanted = wanted_rules(request)
    try:
        group = _Group(await _create(client, request), frozenset())
    except ProviderError as error:
        if not is_duplicate(error):
            raise
        group = await _find(client, request)
    for attempt in range(RECONCILE_TRIES):
        missing = wanted - group.rules
        if not missing:
            break
        try:
            await _authorize(client, group.id, missing)
            break
        except ProviderError as error:
            if not is_duplicate(error) or attempt == RECONCILE_TRIES - 1:
                raise
            group = await _find(client, request)
    return group.id


async def delete_firewalls(client: AwsClient, layout: str, *, owner: str, scope: str) -> None:
    """Delete the layout's security group. Raises :class:`~ogc_async.errors.ResourceInUse` while a machine has it."""
    filters = tag_filters(layout_tags(owner, scope, layout))
    pages = client.pages("DescribeSecurityGroups", "SecurityGroups", Filters=filters)
    for group_id in [group["GroupId"] async for page in pages for group in page]:
        try:
            await client.call("DeleteSecurityGroup", GroupId=group_id)
        except NotFound:
            continue


def wanted_rules(request: LaunchRequest) -> frozenset[Rule]:
    """The rules that the layout needs: SSH and its ports, from each of its networks."""
    ports = (Port(request.ssh_port, request.ssh_port), *request.ports)
    networks = [str(ip_network(cidr, strict=False)) for cidr in request.ingress]
    return frozenset((port.protocol, port.first, port.last, cidr) for port in ports for cidr in networks)


def permissions(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Rules as EC2 takes them, in a stable order, IPv4 and IPv6 networks apart."""
    spans: dict[tuple[str, int, int], dict[str, Any]] = {}
    for protocol, first, last, cidr in sorted(rules):
        span = {"IpProtocol": protocol, "FromPort": first, "ToPort": last}
        entry = spans.setdefault((protocol, first, last), span)
        if ip_network(cidr).version == 6:
            entry.setdefault("Ipv6Ranges", []).append({"CidrIpv6": cidr})
        else:
            entry.setdefault("IpRanges", []).append({"CidrIp": cidr})
    return list(spans.values())


def rules_of(group: Mapping[str, Any]) -> frozenset[Rule]:
    """The rules of a security group as EC2 described it."""
    return frozenset(
        (entry.get("IpProtocol", ""), entry.get("FromPort", -1), entry.get("ToPort", -1), cidr)
        for entry in group.get("IpPermissions") or ()
        for cidr in _networks(entry)
    )


def _networks(entry: Mapping[str, Any]) -> list[str]:
    v4 = [each.get("CidrIp", "") for each in entry.get("IpRanges") or ()]
    return v4 + [each.get("CidrIpv6", "") for each in entry.get("Ipv6Ranges") or ()]


async def _create(client: AwsClient, request: LaunchRequest) -> str:
    tags = layout_tags(request.owner, request.scope, request.layout)
    try:
        reply = await client.call(
            "CreateSecurityGroup",
            GroupName=resource_name(request.owner, request.scope, request.layout),
            Description=f"SSH and ports of the layout {request.layout}",
            TagSpecifications=[tag_specification("security-group", tags)],
        )
    except ProviderError as error:
        if error.code in ("VPCIdNotSpecified", "DefaultVpcDoesNotExist"):
            message = f"{client.region} has no default VPC; create one with `aws ec2 create-default-vpc`"
            raise InvalidRequest(message, provider=PROVIDER, operation=error.operation, code=error.code) from None
        raise
    return str(reply["GroupId"])


async def _find(client: AwsClient, request: LaunchRequest) -> _Group:
    """Our group of that name. By its tags, since a stranger's group may be called the same."""
    filters = tag_filters(layout_tags(request.owner, request.scope, request.layout))
    name = resource_name(request.owner, request.scope, request.layout)

    async def once() -> _Group:
        pages = client.pages("DescribeSecurityGroups", "SecurityGroups", Filters=filters)
        groups: list[Reply] = [group async for page in pages for group in page if group["GroupName"] == name]
        if not groups:
            message = f"the security group {name!r} exists in {client.region} but is not tagged as ours; delete it"
            raise NotFound(message, provider=PROVIDER, operation="DescribeSecurityGroups")
        return _Group(groups[0]["GroupId"], rules_of(groups[0]))

    return await client.retry(once, lambda error: isinstance(error, NotFound), APPEAR_S)


async def _authorize(client: AwsClient, group_id: str, rules: Iterable[Rule]) -> None:
    await client.call("AuthorizeSecurityGroupIngress", settles=True, GroupId=group_id, IpPermissions=permissions(rules))
