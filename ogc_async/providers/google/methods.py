"""The methods of the Compute API that are called: where, and which quota they draw on.

Source: the discovery document of compute v1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ogc_async.providers.google.limits import Group


@dataclass(frozen=True, slots=True)
class Method:
    """``path`` is below the project; a method that begins an operation counts against those under way."""

    http: str
    path: str
    group: Group


METHODS = {
    "instances.bulkInsert": Method("POST", "zones/{zone}/instances/bulkInsert", Group.WRITE),
    "instances.delete": Method("DELETE", "zones/{zone}/instances/{instance}", Group.WRITE),
    "instances.get": Method("GET", "zones/{zone}/instances/{instance}", Group.READ),
    "instances.getGuestAttributes": Method("GET", "zones/{zone}/instances/{instance}/getGuestAttributes", Group.WRITE),
    "instances.list": Method("GET", "zones/{zone}/instances", Group.LIST),
    "instances.aggregatedList": Method("GET", "aggregated/instances", Group.HEAVY_READ),
    "zoneOperations.get": Method("GET", "zones/{zone}/operations/{operation}", Group.OPERATION_READ),
    "zoneOperations.list": Method("GET", "zones/{zone}/operations", Group.LIST),
    "globalOperations.get": Method("GET", "global/operations/{operation}", Group.GLOBAL),
    "machineTypes.get": Method("GET", "zones/{zone}/machineTypes/{machineType}", Group.READ),
    "zones.get": Method("GET", "zones/{zone}", Group.GLOBAL),
    "projects.get": Method("GET", "", Group.GLOBAL),
    "firewalls.get": Method("GET", "global/firewalls/{firewall}", Group.GLOBAL),
    "firewalls.insert": Method("POST", "global/firewalls", Group.GLOBAL),
    "firewalls.patch": Method("PATCH", "global/firewalls/{firewall}", Group.GLOBAL),
    "firewalls.delete": Method("DELETE", "global/firewalls/{firewall}", Group.GLOBAL),
    "images.get": Method("GET", "global/images/{image}", Group.GLOBAL),
    "images.getFromFamily": Method("GET", "global/images/family/{family}", Group.GLOBAL),
}
