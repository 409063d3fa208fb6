"""EC2 as a provider: one region, one set of credentials."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from datetime import datetime
from typing import Any

import anyio

from ogc_async.aio.gather import gather_bounded
from ogc_async.aio.limiter import Levels
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import InvalidRequest, ProviderError
from ogc_async.providers.aws.account import Account
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import PROVIDER, all_or_raise
from ogc_async.providers.aws.firewall import delete_firewalls, ensure_firewall
from ogc_async.providers.aws.images import Images
from ogc_async.providers.aws.instances import Instances
from ogc_async.providers.aws.keypair import delete_key_pairs, ensure_key_pair, list_key_pairs
from ogc_async.providers.aws.limits import Limits
from ogc_async.providers.aws.userdata import END_PATH
from ogc_async.providers.aws.volumes import delete_volume, delete_volumes, list_volumes
from ogc_async.providers.base import FindsRegions, FindsVolumes, InjectsHostKeys, KeepsEnds, MovesEnds, Provider
from ogc_async.providers.catalog import has_cloud_init
from ogc_async.providers.ends import why_no_end
from ogc_async.providers.keypairs import KeepsKeyPairs, KeyPair
from ogc_async.settings import Settings
from ogc_async.types import DescribeRequest, Instance, LaunchFailure, LaunchRequest, Prepared, Then, Volume

MAX_BATCH = 100
"""What AWS recommends for one RunInstances call: five of 100 launch sooner than one of 500."""


class AwsProvider:
    """Launches, describes and terminates EC2 instances.

    Raises :class:`~ogc_async.errors.MissingCredentials` where the settings lack a key; makes no call before it is
    asked for something.
    """

    name = PROVIDER

    def __init__(
        self,
        settings: Settings,
        region: str,
        *,
        limits: Limits | None = None,
        shared: Levels | None = None,
        rng: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.region = region
        self.max_batch = min(settings.ogc_launch_batch or MAX_BATCH, MAX_BATCH)
        self._client = AwsClient(settings, region, limits=limits, shared=shared, rng=rng, clock=clock, sleep=sleep)
        self._images = Images(self._client, clock=clock)
        self._account = Account(self._client)
        self._instances = Instances(self._client, self._account, clock=clock)
        self._preparing: SingleFlight[Hashable, Prepared] = SingleFlight()

    def __repr__(self) -> str:
        return f"AwsProvider(region={self.region!r})"

    async def account(self, *, patiently: bool = False) -> str | None:
        """The account's number, as replies name the owner of machines, or else as STS does: asked once a process."""
        return await (self._account.insist() if patiently else self._account.number())

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """Find the image, import the public key, open the firewall; requests of one layout share one round of it."""
        return await self._preparing.run(_what_is_prepared(request), lambda: self._prepare(request))

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """One machine a name, as far as there is room."""
        if len(request.names) > self.max_batch:
            message = f"{len(request.names)} machines in one launch; ask for at most {self.max_batch}"
            raise InvalidRequest(message, provider=self.name, operation="RunInstances")
        return await self._instances.launch(request, prepared) if request.names else []

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines of these batches and ids, by instance id."""
        return await self._instances.describe(request)

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Each of these machines by its own id."""
        return self._client.dates.on(await self._instances.look_up(instance_ids))

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Begin to end these machines."""
        return self._client.dates.on(await self._instances.terminate(instance_ids))

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine of that owner that is not terminated."""
        return self._client.dates.on_all(await self._instances.list_owned(owner))

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Delete the layout's security group, then its key pairs and volumes: while the group is in use, all stay."""
        await delete_firewalls(self._client, layout, owner=owner, scope=scope)
        removed = await gather_bounded(
            lambda delete: delete(self._client, layout, owner=owner, scope=scope),
            (delete_key_pairs, delete_volumes),
            limit=2,
            catch=ProviderError,
        )
        all_or_raise(removed)

    def has_cloud_init(self, runs_on: str) -> bool:
        """The catalogue's word; an ``ami-…`` is not in it."""
        return has_cloud_init(runs_on)

    async def list_key_pairs(self, owner: str, scope: str) -> list[KeyPair]:
        """The key pairs of that owner and database."""
        return await list_key_pairs(self._client, owner=owner, scope=scope)

    async def delete_key_pair(self, name: str) -> None:
        """Delete it; EC2 answers success for one that is gone."""
        await self._client.call("DeleteKeyPair", KeyName=name)

    async def list_volumes(self, owner: str, scope: str | None = None) -> list[Volume]:
        """The volumes of that owner, of that database or of all, that no machine has."""
        return await list_volumes(self._client, owner=owner, scope=scope)

    async def delete_volume(self, volume_id: str) -> None:
        """Delete it; one that is gone already is fine."""
        await delete_volume(self._client, volume_id)

    def why_no_end(self, *, runs_on: str, platform: str, has_cloud_init: bool, is_spot: bool, then: Then) -> str | None:
        """The machine keeps its end itself: cloud-init has to install what does."""
        return why_no_end(
            self.name, runs_on=runs_on, platform=platform, has_cloud_init=has_cloud_init, is_spot=is_spot, then=then
        )

    def end_command(self, seconds: int) -> str:
        """One line of POSIX shell, which prints the new end in epoch seconds; it fails with a sentence.

        Users other than root need a ``sudo`` that asks for no password, as EC2's images give to their login user.
        """
        extend = f"sh {END_PATH} extend {seconds}"
        return f'if [ "$(id -u)" = 0 ]; then {extend}; else sudo -n {extend}; fi'

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        """Tag the machine with it; EC2 does nothing at that time, whatever the tag says."""
        await self._instances.move_end(instance_id, ends_at)

    async def regions(self, owner: str) -> list[str]:
        """Every region that is enabled for the account, whoever's machines are there."""
        reply = await self._client.call("DescribeRegions")
        return sorted(each["RegionName"] for each in reply["Regions"])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _prepare(self, request: LaunchRequest) -> Prepared:
        # The image first: a layout that can not be launched as it is written leaves nothing behind.
        image = await self._images.find(request)
        work: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: ensure_key_pair(self._client, request),
            lambda: ensure_firewall(self._client, request),
            lambda: self._images.disks(image.id, is_needed=request.disk_size_gib is not None),
        )
        made = await gather_bounded(lambda make: make(), work, limit=len(work), catch=ProviderError)
        key_pair, firewall, disks = all_or_raise(made)
        return Prepared(image.id, image.username, key_pair, firewall, disks.root_device, disks.all)


def _what_is_prepared(request: LaunchRequest) -> Hashable:
    """Of a request, all that its preparation depends on; batches of a layout are equal in it."""
    return (
        (request.owner, request.scope, request.layout, request.public_key),
        (request.runs_on, request.arch, request.username, request.disk_size_gib),
        (request.ports, request.ingress, request.ssh_port),
    )


_: type[Provider] = AwsProvider
__: type[KeepsKeyPairs] = AwsProvider
___: type[InjectsHostKeys] = AwsProvider
____: type[FindsVolumes] = AwsProvider
_____: type[KeepsEnds] = AwsProvider
______: type[MovesEnds] = AwsProvider
_______: type[FindsRegions] = AwsProvider
