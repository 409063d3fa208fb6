"""The host keys that a machine publishes about itself, for who connects to it for the first time."""

from __future__ import annotations

from ogc_async.errors import NotFound
from ogc_async.providers.google.client import GoogleClient

NAMESPACE = "hostkeys/"


async def published(client: GoogleClient, instance_id: str) -> tuple[str, ...]:
    """The public keys, as OpenSSH lines; none where the guest agent has not published any, or may not.

    The agent does so at first boot, where the metadata has ``enable-guest-attributes``. Source:
    https://docs.cloud.google.com/compute/docs/metadata/manage-guest-attributes.
    """
    zone, _, name = instance_id.partition("/")
    try:
        reply = await client.call(
            "instances.getGuestAttributes", zone=zone, instance=name, query={"queryPath": NAMESPACE}
        )
    except NotFound:
        return ()
    items = (reply.get("queryValue") or {}).get("items") or ()
    return tuple(f"{each['key']} {str(each['value']).strip()}" for each in items)
