"""Compute Engine behind the border that actions know: one region, one project, one set of credentials."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import suppress
from datetime import UTC, datetime

import anyio

from ogc_async.aio.gather import gather_bounded
from ogc_async.aio.limiter import Levels
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import InvalidRequest, OgcError, ProviderError, ResourceInUse
from ogc_async.providers.base import FindsRegions, FindsVolumes, KeepsEnds, MovesEnds, Provider, PublishesHostKeys
from ogc_async.providers.google import hostkeys, images
from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.providers.google.ends import move_end
from ogc_async.providers.google.firewall import delete_firewall, ensure_firewall
from ogc_async.providers.google.instances import Instances
from ogc_async.providers.google.keypair import check_os_login, ssh_keys
from ogc_async.providers.google.limits import Limits
from ogc_async.providers.google.regions import find_regions
from ogc_async.providers.google.volumes import delete_volume, delete_volumes, list_volumes
from ogc_async.settings import Settings
from ogc_async.types import DescribeRequest, Instance, LaunchFailure, LaunchRequest, Prepared, Then, Volume

MAX_BATCH = 1000
"""A bulk insert takes 5,000; smaller ones say sooner what became of them."""

ACCOUNT_TIMEOUT_S = 5.0


class GoogleProvider:
    """Launches, describes and terminates Compute Engine instances.

    Raises :class:`~ogc_async.errors.SettingsError` where the credentials can not be used; makes no call before it is
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
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.region = region
        self._wall_clock = wall_clock
        self.max_batch = min(settings.ogc_launch_batch or MAX_BATCH, MAX_BATCH)
        self._client = GoogleClient(settings, region, limits=limits, shared=shared, rng=rng, clock=clock, sleep=sleep)
        zone = settings.google_datacenter
        default_zone = zone if zone and zone.startswith(f"{region}-") else None
        self._instances = Instances(self._client, settings, default_zone=default_zone)
        self._preparing: SingleFlight[Hashable, Prepared] = SingleFlight()

    def __repr__(self) -> str:
        return f"GoogleProvider(project={self._client.project!r}, region={self.region!r})"

    async def account(self, *, patiently: bool = False) -> str | None:
        """The project's id, as its machines' descriptions name it; of one given by its number, the API is asked."""
        if not self._client.account:
            with anyio.move_on_after(None if patiently else ACCOUNT_TIMEOUT_S), suppress(OgcError):
                self._client.account = str((await self._client.call("projects.get"))["name"])
        return self._client.account or None

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """Find the image, check the machine type, open the firewall; requests of one layout share one round of it."""
        return await self._preparing.run(_what_is_prepared(request), lambda: self._prepare(request))

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """One machine a name, as far as there is room."""
        if len(request.names) > self.max_batch:
            message = f"{len(request.names)} machines in one launch; ask for at most {self.max_batch}"
            raise InvalidRequest(message, provider=self.name, operation="instances.bulkInsert")
        return await self._instances.launch(request, prepared) if request.names else []

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines of these batches and ids, by instance id."""
        return await self._instances.describe(request)

    async def look_up(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Each of these machines by its own name."""
        return self._client.dates.on(await self._instances.look_up(instance_ids))

    async def terminate(self, instance_ids: Collection[str]) -> dict[str, Instance | ProviderError]:
        """Begin to end these machines."""
        return self._client.dates.on(await self._instances.terminate(instance_ids))

    async def list_owned(self, owner: str) -> list[Instance]:
        """Every machine of that owner that is not on its way out."""
        return self._client.dates.on_all(await self._instances.list_owned(owner))

    async def published_host_keys(self, instance_id: str) -> tuple[str, ...]:
        """What the machine's guest agent says its host keys are."""
        return await hostkeys.published(self._client, instance_id)

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Delete the layout's firewall, and the disks that its machines left; while machines are there, both stay.

        Compute Engine would delete a firewall of machines that live behind it.
        """
        if await self._instances.list_layout(layout, owner=owner, scope=scope):
            message = f"machines of layout {layout!r} are still there; terminate them first"
            raise ResourceInUse(message, provider=self.name, operation="firewalls.delete")
        removed = await gather_bounded(
            lambda delete: delete(self._client, layout, owner=owner, scope=scope),
            (delete_firewall, delete_volumes),
            limit=2,
            catch=ProviderError,
        )
        first = next(filter(None, removed), None)
        if first is not None:
            raise first

    def why_no_end(self, *, runs_on: str, platform: str, has_cloud_init: bool, is_spot: bool, then: Then) -> str | None:
        """Compute Engine itself ends or stops every machine that this launches, whatever runs on it.

        Its exception, a preemptible machine that is no spot machine, is none that this launches:
        https://docs.cloud.google.com/compute/docs/instances/limit-vm-runtime.
        """
        return None

    def end_command(self, seconds: int) -> str:
        """Nothing: the machine keeps no end of its own."""
        return ""

    async def move_end(self, instance_id: str, ends_at: datetime) -> None:
        """Limit a machine that stands still, from its next start on; one that runs is refused."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        await move_end(self._client, instance_id, ends_at, now=now)

    async def regions(self, owner: str) -> list[str]:
        """The regions of the project that have machines of that owner, or disks that they left."""
        return await find_regions(self._client, owner)

    async def list_volumes(self, owner: str, scope: str | None = None) -> list[Volume]:
        """The disks of that owner, of that database or of all, that no machine has."""
        return await list_volumes(self._client, owner=owner, scope=scope)

    async def delete_volume(self, volume_id: str) -> None:
        """Delete it, by its ``zone/name``; one that is gone already is fine."""
        await delete_volume(self._client, volume_id)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _prepare(self, request: LaunchRequest) -> Prepared:
        zone = self._instances.zone_of(request)
        # What can be wrong first: a layout that can not be launched as it is written leaves nothing behind.
        image = await images.find(self._client, request)
        await images.check_machine_type(self._client, request, zone)
        await check_os_login(self._client)
        firewall = await ensure_firewall(self._client, request)
        return Prepared(image.path, image.username, ssh_keys(request, image.username), firewall)


def _what_is_prepared(request: LaunchRequest) -> Hashable:
    """Of a request, all that its preparation depends on; batches of a layout are equal in it."""
    return (
        (request.owner, request.scope, request.layout, request.public_key, request.zone),
        (request.runs_on, request.arch, request.username, request.instance_size),
        (request.ports, request.ingress, request.ssh_port),
    )


_: type[Provider] = GoogleProvider
__: type[PublishesHostKeys] = GoogleProvider
___: type[FindsVolumes] = GoogleProvider
____: type[FindsRegions] = GoogleProvider
_____: type[KeepsEnds] = GoogleProvider
______: type[MovesEnds] = GoogleProvider
