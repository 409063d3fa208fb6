"""The methods of the Compute API that are called: where, which quota they draw on, and what they answer with.

Source: the discovery document of compute v1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ogc_async.providers.google.limits import Group


@dataclass(frozen=True, slots=True)
class Method:
    """``path`` is below the project, ``kind`` that of its replies (see :mod:`.replies`).

    A method that begins an operation counts against those under way.
    """

    http: str
    path: str
    group: Group
    kind: str


LAUNCH = "instances.bulkInsert"
"""The one method that makes machines."""


METHODS = {
    LAUNCH: Method("POST", "zones/{zone}/instances/bulkInsert", Group.WRITE, "operation"),
    "instances.delete": Method("DELETE", "zones/{zone}/instances/{instance}", Group.WRITE, "operation"),
    "instances.get": Method("GET", "zones/{zone}/instances/{instance}", Group.READ, "instance"),
    "instances.getGuestAttributes": Method(
        "GET", "zones/{zone}/instances/{instance}/getGuestAttributes", Group.WRITE, "guestAttributes"
    ),
    "instances.setLabels": Method("POST", "zones/{zone}/instances/{instance}/setLabels", Group.WRITE, "operation"),
    "instances.setScheduling": Method(
        "POST", "zones/{zone}/instances/{instance}/setScheduling", Group.WRITE, "operation"
    ),
    "instances.list": Method("GET", "zones/{zone}/instances", Group.LIST, "instanceList"),
    "instances.aggregatedList": Method("GET", "aggregated/instances", Group.HEAVY_READ, "instanceAggregatedList"),
    "disks.aggregatedList": Method("GET", "aggregated/disks", Group.HEAVY_READ, "diskAggregatedList"),
    "disks.delete": Method("DELETE", "zones/{zone}/disks/{disk}", Group.WRITE, "operation"),
    "zoneOperations.get": Method("GET", "zones/{zone}/operations/{operation}", Group.OPERATION_READ, "operation"),
    "zoneOperations.list": Method("GET", "zones/{zone}/operations", Group.LIST, "operationList"),
    "globalOperations.get": Method("GET", "global/operations/{operation}", Group.GLOBAL, "operation"),
    "machineTypes.get": Method("GET", "zones/{zone}/machineTypes/{machineType}", Group.READ, "machineType"),
    "zones.get": Method("GET", "zones/{zone}", Group.GLOBAL, "zone"),
    "projects.get": Method("GET", "", Group.GLOBAL, "project"),
    "firewalls.get": Method("GET", "global/firewalls/{firewall}", Group.GLOBAL, "firewall"),
    "firewalls.insert": Method("POST", "global/firewalls", Group.GLOBAL, "operation"),
    "firewalls.patch": Method("PATCH", "global/firewalls/{firewall}", Group.GLOBAL, "operation"),
    "firewalls.delete": Method("DELETE", "global/firewalls/{firewall}", Group.GLOBAL, "operation"),
    "images.get": Method("GET", "global/images/{image}", Group.GLOBAL, "image"),
    "images.getFromFamily": Method("GET", "global/images/family/{family}", Group.GLOBAL, "image"),
}
