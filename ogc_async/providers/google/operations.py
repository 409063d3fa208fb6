"""Operations, followed to their end: a call that was taken may still fail."""

from __future__ import annotations

from ogc_async.errors import ProviderError
from ogc_async.providers.google.client import GoogleClient, Reply
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.errors import operation_error

POLL_S = 0.5
TIMEOUT_S = 120.0


async def finish(client: GoogleClient, operation: Reply, name: str, *, zone: str | None = None) -> None:
    """Wait for the end of an operation that ``name`` began, a global one where no zone is given.

    Raises what it failed with.
    """
    deadline = client.clock() + TIMEOUT_S
    while operation.get("status") != "DONE":
        if client.clock() > deadline:
            message = f"operation {operation.get('name')} is not done after {TIMEOUT_S:g} s"
            raise ProviderError(message, provider=PROVIDER, operation=name)
        await client.sleep(POLL_S)
        operation = await _read(client, str(operation["name"]), zone)
    error = operation_error(operation, name)
    if error is not None:
        raise error


async def _read(client: GoogleClient, operation: str, zone: str | None) -> Reply:
    if zone is None:
        return await client.call("globalOperations.get", operation=operation)
    return await client.call("zoneOperations.get", zone=zone, operation=operation)
