"""The default network and its firewall rules."""

from __future__ import annotations

import ipaddress
import re

from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, number_of
from ogc_async.sandbox.compute.checking import Fields, check_known, check_name, flag, number, structures, text, texts
from ogc_async.sandbox.compute.errors import Refused, already_exists, invalid, not_found
from ogc_async.sandbox.compute.launching import DEFAULT_NETWORK
from ogc_async.sandbox.compute.operations import describe
from ogc_async.sandbox.compute.pages import listed
from ogc_async.sandbox.compute.project import Project

LISTS = ("sourceRanges", "destinationRanges", "sourceTags", "targetTags")
TAKES = frozenset(
    ("name", "description", "network", "direction", "priority", "allowed", "denied", "disabled", "logConfig", *LISTS)
)
FIELDS = TAKES | {"id", "creationTimestamp"}
IGNORED = frozenset({"kind", "id", "selfLink", "creationTimestamp"})
"""Whoever patches may send back what was read."""
PROTOCOL = re.compile(r"tcp|udp|icmp|esp|ah|sctp|ipip|all|\d{1,3}", re.IGNORECASE)
PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
EVERYWHERE = "0.0.0.0/0"


DEFAULT_FIREWALLS: dict[str, tuple[list[Fields], str]] = {
    "default-allow-icmp": ([{"IPProtocol": "icmp"}], EVERYWHERE),
    "default-allow-internal": ([{"IPProtocol": "all"}], "10.128.0.0/9"),
    "default-allow-rdp": ([{"IPProtocol": "tcp", "ports": ["3389"]}], EVERYWHERE),
    "default-allow-ssh": ([{"IPProtocol": "tcp", "ports": ["22"]}], EVERYWHERE),
}
"""By name: what each allows, and from where."""


def default_firewalls(project: Project) -> dict[str, Fields]:
    """The rules that a new project's default network has."""
    return {
        name: _made(project, {"name": name, "allowed": allowed, "sourceRanges": [source], "priority": 65534})
        for name, (allowed, source) in DEFAULT_FIREWALLS.items()
    }


def insert_firewall(call: Call) -> Fields:
    """Make a rule."""
    project = call.project
    if (earlier := call.earlier()) is not None:
        return describe(project, earlier)
    check_known(call.body, TAKES)
    name = check_name(text(call.body, "name"))
    firewall = _made(project, call.body)
    if name in project.firewalls:
        raise already_exists(project.path(f"global/firewalls/{name}"))
    if not call.fault:
        project.firewalls[name] = firewall
    return _changed(call, "insert", firewall)


def patch_firewall(call: Call) -> Fields:
    """Change some of a rule."""
    if (earlier := call.earlier()) is not None:
        return describe(call.project, earlier)
    before = _find(call)
    check_known(call.body, TAKES | IGNORED)
    if text(call.body, "name", before["name"]) != before["name"]:
        raise invalid("resource.name", call.body["name"], "A firewall keeps its name.")
    changes = {name: value for name, value in call.body.items() if name not in IGNORED}
    merged = {name: value for name, value in before.items() if name in TAKES} | changes
    after = _made(call.project, {name: value for name, value in merged.items() if value not in (None, [])})
    after |= {name: before[name] for name in ("id", "creationTimestamp")}
    if not call.fault:
        call.project.firewalls[before["name"]] = after
    return _changed(call, "patch", after)


def get_firewall(call: Call) -> Fields:
    """One rule."""
    return _find(call)


def list_firewalls(call: Call) -> Fields:
    """All rules."""
    return listed(call, "firewall", call.project.firewalls.values(), FIELDS)


def delete_firewall(call: Call) -> Fields:
    """Remove a rule."""
    if (earlier := call.earlier()) is not None:
        return describe(call.project, earlier)
    firewall = _find(call)
    if not call.fault:
        del call.project.firewalls[firewall["name"]]
    return _changed(call, "delete", firewall)


def get_network(call: Call) -> Fields:
    """One network."""
    if call.path["network"] != "default":
        raise not_found(call.project.path(f"global/networks/{call.path['network']}"))
    return _network(call.project)


def list_networks(call: Call) -> Fields:
    """The default network."""
    return listed(call, "network", [_network(call.project)], ("name", "id", "autoCreateSubnetworks"))


def _find(call: Call) -> Fields:
    name = call.path["firewall"]
    if name not in call.project.firewalls:
        raise not_found(call.project.path(f"global/firewalls/{name}"))
    return call.project.firewalls[name]


def _changed(call: Call, kind: str, firewall: Fields) -> Fields:
    target = f"global/firewalls/{firewall['name']}"
    operation = call.project.errand(kind, "global", target, firewall["id"], *call.planned_faults(target))
    return describe(call.project, call.remember(operation))


def _made(project: Project, body: Fields) -> Fields:
    network = text(body, "network", "global/networks/default")
    if not DEFAULT_NETWORK.fullmatch(network) or network == "default":
        raise invalid("resource.network", network, "The referenced network resource cannot be found.")
    direction = text(body, "direction", "INGRESS")
    if direction not in ("INGRESS", "EGRESS"):
        raise invalid("resource.direction", direction, "It must be INGRESS or EGRESS.")
    priority = number(body, "priority", 1000)
    if not 0 <= priority <= 65535:
        raise invalid("resource.priority", priority, "It must be between 0 and 65535.")
    made: Fields = {
        "kind": "compute#firewall",
        "id": project.new_number(),
        "creationTimestamp": project.timestamp(project.clock.now()),
        "name": text(body, "name"),
        "description": text(body, "description"),
        "network": project.link("global/networks/default"),
        "direction": direction,
        "priority": priority,
        "disabled": flag(body, "disabled"),
        "logConfig": {"enable": False},
        "selfLink": project.link(f"global/firewalls/{text(body, 'name')}"),
    }
    made |= _rules(body) | {name: given for name in LISTS if (given := _checked(name, texts(body, name)))}
    if direction == "INGRESS" and not {"sourceRanges", "sourceTags"} & set(made):
        made["sourceRanges"] = [EVERYWHERE]
    return made


def _rules(body: Fields) -> Fields:
    names = [name for name in ("allowed", "denied") if structures(body, name)]
    if len(names) != 1:
        raise Refused("invalid", "Exactly one of allowed and denied must be specified.")
    rules = []
    for rule in structures(body, names[0]):
        check_known(rule, ("IPProtocol", "ports"), f"{names[0]}.")
        protocol = text(rule, "IPProtocol").lower()
        if not PROTOCOL.fullmatch(protocol):
            raise invalid(f"resource.{names[0]}[0].IPProtocol", protocol, "It is no protocol.")
        ports = texts(rule, "ports")
        for port in ports:
            _check_port(names[0], port)
        rules.append({"IPProtocol": protocol, "ports": ports} if ports else {"IPProtocol": protocol})
    return {names[0]: rules}


def _check_port(name: str, port: str) -> None:
    match = PORTS.fullmatch(port)
    if match is None or not int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise invalid(f"resource.{name}[0].ports[0]", port, "It is no port, and no range of ports.")


def _checked(name: str, values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        field = f"resource.{name}[{index}]"
        if name.endswith("Tags"):
            check_name(value, field)
            continue
        try:
            ipaddress.ip_network(value)
        except ValueError:
            raise invalid(field, value, "Must be a valid IP address range in CIDR notation.") from None
    return values


def _network(project: Project) -> Fields:
    return {
        "kind": "compute#network",
        "id": number_of("networks/default"),
        "name": "default",
        "description": "Default network for the project",
        "creationTimestamp": project.timestamp(0),
        "autoCreateSubnetworks": True,
        "subnetworks": [project.link(f"regions/{region}/subnetworks/default") for region in REGIONS],
        "routingConfig": {"routingMode": "REGIONAL"},
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "selfLink": project.link("global/networks/default"),
        "selfLinkWithId": project.link(f"global/networks/{number_of('networks/default')}"),
    }
