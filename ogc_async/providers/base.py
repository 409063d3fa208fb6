"""The border to a cloud: the nine things that a provider does."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol, runtime_checkable

from ogc_async.errors import ProviderError
from ogc_async.types import DescribeRequest, Instance, LaunchFailure, LaunchRequest, Prepared, Then, Volume


class Provider(Protocol):
    """One cloud, one region, one set of credentials, one event loop.

    No method waits for a machine. Each may be called again with equal arguments, from another process too, and then
    does nothing new. Failures are :class:`ProviderError`; one that is ``retryable`` has already been retried within
    the settings.
    """

    name: str
    region: str
    max_batch: int

    async def account(self, *, patiently: bool = False) -> str | None:
        """The account (or project) that these credentials act in; ``None`` where that cannot be learned now.

        Raises nothing: not to know is an answer, and costs seconds at most. ``patiently`` it is asked for as long as
        any call is repeated: before a launch, since no list says later of a machine of unknown account that it is gone.
        """
        ...

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """Find the image, make the key pair and the firewall: once for a layout, whose requests share the answer."""
        ...

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """Ask for one machine a name (at most ``max_batch``): one answer a name, in order.

        Fewer machines than names is a normal answer. Raises only where the call as a whole was refused, so that no
        machine can exist; where the outcome is unknown, the error is ``retryable`` or
        :class:`~ogc_async.errors.OutcomeUnknown`, and the token finds what there is. Once the cloud has taken the
        call, no refusal of another call (of a description, say) is this one's.
        """
        ...

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines asked for, by instance id. One that is too young or long gone is absent, not an error."""
        ...

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Each machine by its own id, and not out of a listing: an answer an id.

        ``TERMINATED`` is the cloud's own word that it has no such machine, or has ended it. Whatever else keeps a
        machine from being shown is an error.
        """
        ...

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Begin to end these machines: an answer an id.

        One that does not exist any more answers ``TERMINATED``, once a second question (:meth:`look_up`, or a
        description) has agreed that it does not.
        """
        ...

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine with this owner's tag, whichever database knows it; those already gone are left out.

        An empty list is a whole and well-formed reply that holds none; any other reply is an error.
        """
        ...

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Remove the layout's firewall and key pair, and the volumes that its machines left.

        Raises :class:`~ogc_async.errors.ResourceInUse` while a machine still uses them; what is gone already is fine.
        Whatever can be removed is removed before an error is raised of what cannot.
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


@runtime_checkable
class FindsVolumes(Protocol):
    """A provider whose machines' volumes can outlive them."""

    async def list_volumes(self, owner: str, scope: str | None = None) -> list[Volume]:
        """The volumes with this owner's tag that no machine has: this database's, or all where no scope is given."""
        ...

    async def delete_volume(self, volume_id: str) -> None:
        """Delete it and what it holds; one that is gone already is fine.

        Raises :class:`~ogc_async.errors.ResourceInUse` where a machine has it after all.
        """
        ...


@runtime_checkable
class KeepsEnds(Protocol):
    """A provider whose machines end or stop when their time to live is over, though this program is gone."""

    def why_no_end(self, *, runs_on: str, platform: str, has_cloud_init: bool, is_spot: bool, then: Then) -> str | None:
        """Why such machines would not come to such an end by themselves; ``None`` where they do. Makes no call.

        ``has_cloud_init`` says that the image has it, by the catalogue or by the layout's own word.
        """
        ...


@runtime_checkable
class MovesEnds(Protocol):
    """A provider whose machines' ends can be put off while they run."""

    def end_command(self, seconds: int) -> str:
        """The shell command, as root, by which a machine ends that many seconds from now; "" where it keeps no end."""
        ...

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        """Tell the cloud of the machine's new end: that it keeps, or shows to others. A repeat changes nothing."""
        ...


@runtime_checkable
class FindsRegions(Protocol):
    """A provider that tells where else in the account machines can be."""

    async def regions(self, owner: str) -> list[str]:
        """Every region of the account that can hold machines with this owner's tag."""
        ...
