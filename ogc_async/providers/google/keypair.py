"""The public key of a layout: Compute Engine has no key pairs, it rides in each machine's metadata."""

from __future__ import annotations

from ogc_async.errors import InvalidRequest
from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.types import LaunchRequest


def ssh_keys(request: LaunchRequest, username: str) -> str:
    """The line of ``ssh-keys`` metadata that lets the layout's key in as that user."""
    return f"{username}:{request.public_key.strip()}"


async def check_os_login(client: GoogleClient) -> None:
    """Raise :class:`~ogc_async.errors.InvalidRequest` where the project's OS Login would have keys be ignored.

    To turn it off for our machines would undo what an administrator has decided; they are asked instead.
    """
    project = await client.call("projects.get")
    items = (project.get("commonInstanceMetadata") or {}).get("items") or ()
    values = {item.get("key"): str(item.get("value", "")).upper() for item in items}
    if values.get("enable-oslogin") == "TRUE":
        message = (
            f"project {client.project!r} has OS Login on (enable-oslogin=TRUE in its metadata), under which machines "
            "ignore a layout's SSH key; turn it off there, or use another project"
        )
        raise InvalidRequest(message, provider=PROVIDER, operation="projects.get", code="enable-oslogin")
