"""The border to a cloud: the seven things that a provider does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from ogc_async.errors import ProviderError
from ogc_async.types import DescribeRequest, Instance, LaunchFailure, LaunchRequest, Prepared


class Provider(Protocol):
    """One cloud, one region, one set of credentials, one event loop.

    No method waits for a machine. Each may be called again with equal arguments, from another process too, and then
    does nothing new. Failures are :class:`ProviderError`; one that is ``retryable`` has already been retried within
    the settings.
    """

    name: str
    region: str
    max_batch: int

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """Find the image, make the key pair and the firewall: once for a layout, whose requests share the answer."""
        ...

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """Ask for one machine a name (at most ``max_batch``): one answer a name, in order.

        Fewer machines than names is a normal answer. Raises only where the call as a whole was refused, so that no
        machine can exist; where the outcome is unknown, the error is ``retryable`` and the token finds what there is.
        """
        ...

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines asked for, by instance id. One that is too young or long gone is absent, not an error."""
        ...

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Begin to end these machines: an answer an id. One that does not exist any more answers ``TERMINATED``."""
        ...

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with this owner's tag, whichever database knows it; those already gone are left out."""
        ...

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Remove the layout's firewall and key pair.

        Raises :class:`~ogc_async.errors.ResourceInUse` while a machine still uses them; what is gone already is fine.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections. A second call does nothing."""
        ...


@runtime_checkable
class PublishesHostKeys(Protocol):
    """A provider whose machines tell their host keys to the cloud, which tells them to us."""

    async def published_host_keys(self, instance_id: str) -> tuple[str, ...]:
        """The machine's public host keys, as OpenSSH lines; none where it has not published any yet, or never does."""
        ...


@runtime_checkable
class InjectsHostKeys(Protocol):
    """A provider that gives machines the host key of their launch request: those of one request share it."""

    def has_cloud_init(self, runs_on: str) -> bool:
        """The image is known to have cloud-init, which installs the key before sshd starts. Makes no call."""
        ...
