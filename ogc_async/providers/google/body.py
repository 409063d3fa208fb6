"""What a launch on Compute Engine says: the body of one bulk insert, equal for equal requests."""

from __future__ import annotations

from typing import Any

from ogc_async.errors import InvalidRequest
from ogc_async.providers.google.client import Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.firewall import NETWORK
from ogc_async.providers.google.tags import label_key, labels_of, resource_name
from ogc_async.types import LaunchRequest, Prepared
from ogc_async.types.carried import COMPUTE_ENGINE, end_tag, packed
from ogc_async.types.launch import TAG_BATCH, TAG_ENDS, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

TTL_S = (30, 120 * 24 * 3600)


def insert_body(request: LaunchRequest, prepared: Prepared, service_account: str | None) -> Reply:
    """The ``bulkInsert`` call: as many of the names as there is room for, labelled from their first moment on."""
    return {
        "count": str(len(request.names)),
        "minCount": "1",
        "perInstanceProperties": {name: {} for name in request.names},
        "instanceProperties": _properties(request, prepared, service_account),
    }


def without_disk_labels(body: Reply) -> Reply:
    """The same call for an account that may not label disks."""
    properties = body["instanceProperties"]
    [disk] = properties["disks"]
    bare = {key: value for key, value in disk["initializeParams"].items() if key != "labels"}
    return {**body, "instanceProperties": {**properties, "disks": [{**disk, "initializeParams": bare}]}}


def instance_labels(request: LaunchRequest) -> dict[str, str]:
    """The user's labels and tags as they are written, then ours, which win."""
    ours = {**_layout_tags(request), TAG_BATCH: request.token}
    if request.ends_at is not None:
        ours[TAG_ENDS] = end_tag(request.ends_at)
    tags = {label_key(key): value for key, value in packed(request.tags, COMPUTE_ENGINE).items()}
    return {**request.labels, **tags, **labels_of(ours)}


def scheduling(request: LaunchRequest) -> dict[str, Any]:
    """Spot, and the machine's time to live, which Compute Engine itself keeps.

    One action answers for both: what becomes of a machine whose time is over becomes of a spot machine that is taken
    back. A limit asks for nothing else of an on-demand machine. Sources:
    https://docs.cloud.google.com/compute/docs/instances/limit-vm-runtime,
    https://docs.cloud.google.com/compute/docs/instances/create-use-spot.
    """
    wanted: dict[str, Any] = {}
    if request.spot:
        wanted |= {"provisioningModel": "SPOT", "automaticRestart": False, "onHostMaintenance": "TERMINATE"}
    if request.ttl is not None:
        seconds = int(request.ttl.total_seconds())
        if not TTL_S[0] <= seconds <= TTL_S[1]:
            message = f"layout {request.layout!r}: ttl must be between 30 seconds and 120 days on Compute Engine"
            raise InvalidRequest(message, provider=PROVIDER, operation="instances.bulkInsert")
        wanted["maxRunDuration"] = {"seconds": str(seconds)}
    return wanted | {"instanceTerminationAction": "STOP" if request.stops_at_end else "DELETE"} if wanted else {}


def _layout_tags(request: LaunchRequest) -> dict[str, str]:
    return {TAG_OWNER: request.owner, TAG_SCOPE: request.scope, TAG_LAYOUT: request.layout}


def _properties(request: LaunchRequest, prepared: Prepared, service_account: str | None) -> Reply:
    disk: Reply = {"sourceImage": prepared.image, "labels": labels_of(_layout_tags(request))}
    if request.disk_size_gib is not None:
        disk["diskSizeGb"] = str(request.disk_size_gib)
    properties: Reply = {
        "machineType": request.instance_size,
        "labels": instance_labels(request),
        "tags": {"items": [resource_name(request.owner, request.scope, request.layout)]},
        "metadata": {
            "items": [
                {"key": "ssh-keys", "value": prepared.key_pair},
                # So that the machine can publish its host keys: see `hostkeys`.
                {"key": "enable-guest-attributes", "value": "TRUE"},
            ]
        },
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": disk}],
        "networkInterfaces": [
            {"network": NETWORK, "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}
        ],
    }
    if service_account:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        properties["serviceAccounts"] = [{"email": service_account, "scopes": scopes}]
    if wanted := scheduling(request):
        properties["scheduling"] = wanted
    return properties
