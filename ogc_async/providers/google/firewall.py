"""The firewall of a layout: one rule on the default network, for machines with the layout's network tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from ogc_async.errors import InvalidRequest, NotFound, ServiceUnavailable, TokenSpent
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.errors import is_missing
from ogc_async.providers.google.operations import finish
from ogc_async.providers.google.tags import ownership, resource_name
from ogc_async.types import LaunchRequest, Port

NETWORK = "global/networks/default"
SETTLE_S = 30.0

Rules = Mapping[str, frozenset[str]]
"""Ports by protocol, as Compute Engine writes them."""


async def ensure_firewall(client: GoogleClient, request: LaunchRequest) -> str:
    """Make the layout's firewall, or add to it what is missing; returns its name, which is the network tag as well.

    What the layout does not name (any more) stays: machines of an earlier launch may live on it.
    """
    name = resource_name(request.owner, request.scope, request.layout)

    async def once() -> str:
        try:
            there = await client.call("firewalls.get", firewall=name)
        except NotFound:
            await _insert(client, name, request)
            return name
        if there.get("description") != ownership(request.owner, request.scope, request.layout):
            message = f"the firewall {name!r} exists and is not ours; delete it"
            raise InvalidRequest(message, provider=PROVIDER, operation="firewalls.get")
        await _complete(client, there, request)
        return name

    # Two processes may make it, or complete it, at the same time: the second one looks again.
    return await client.retry(once, lambda error: isinstance(error, TokenSpent | ServiceUnavailable), SETTLE_S)


async def delete_firewall(client: GoogleClient, layout: str, *, owner: str, scope: str) -> None:
    """Delete the layout's firewall; one that is gone already is fine."""
    name = resource_name(owner, scope, layout)
    try:
        await finish(client, await client.call("firewalls.delete", firewall=name), "firewalls.delete")
    except NotFound as error:
        if not is_missing(error, f"global/firewalls/{name}"):
            raise


def wanted_rules(request: LaunchRequest) -> Rules:
    """The ports that the layout needs: SSH and its own."""
    ports = (Port(request.ssh_port, request.ssh_port), *request.ports)
    protocols = {port.protocol for port in ports}
    return {each: frozenset(_span(port) for port in ports if port.protocol == each) for each in protocols}


def allowed(rules: Rules) -> list[dict[str, Any]]:
    """Rules as Compute Engine takes them, in a stable order."""
    return [{"IPProtocol": protocol, "ports": sorted(rules[protocol])} for protocol in sorted(rules)]


def rules_of(firewall: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The rules of a firewall as Compute Engine described it."""
    return {each["IPProtocol"]: frozenset(each.get("ports") or ()) for each in firewall.get("allowed") or ()}


def union(one: Rules, other: Rules) -> dict[str, frozenset[str]]:
    """What either lets through."""
    return {each: one.get(each, frozenset()) | other.get(each, frozenset()) for each in {*one, *other}}


async def _insert(client: GoogleClient, name: str, request: LaunchRequest) -> None:
    body: Reply = {
        "name": name,
        "description": ownership(request.owner, request.scope, request.layout),
        "network": f"projects/{client.project}/{NETWORK}",
        "direction": "INGRESS",
        "allowed": allowed(wanted_rules(request)),
        "sourceRanges": _networks(request.ingress),
        "targetTags": [name],
    }
    await finish(client, await client.call("firewalls.insert", body=body), "firewalls.insert")


async def _complete(client: GoogleClient, there: Mapping[str, Any], request: LaunchRequest) -> None:
    rules = union(rules_of(there), wanted_rules(request))
    sources = sorted({*(there.get("sourceRanges") or ()), *_networks(request.ingress)})
    if rules == rules_of(there) and sources == sorted(there.get("sourceRanges") or ()):
        return
    body: Reply = {"allowed": allowed(rules), "sourceRanges": sources}
    begun = await client.call("firewalls.patch", firewall=str(there["name"]), body=body)
    await finish(client, begun, "firewalls.patch")


def _networks(ingress: Iterable[str]) -> list[str]:
    """One rule takes networks of one family; IPv6 ones have no way in on the default network."""
    networks = sorted({str(ip_network(cidr, strict=False)) for cidr in ingress})
    v4 = [each for each in networks if ip_network(each).version == 4]
    if not v4:
        message = "ingress names IPv6 networks only; machines on the default network have no IPv6 address"
        raise InvalidRequest(message, provider=PROVIDER, operation="firewalls.insert")
    return v4


def _span(port: Port) -> str:
    return str(port.first) if port.first == port.last else f"{port.first}-{port.last}"
