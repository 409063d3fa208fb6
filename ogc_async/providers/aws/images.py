"""From a layout's ``runs-on`` to an image: by SSM parameter, else by owner and name pattern, or as given."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import InvalidRequest, NotFound, ProviderError, Unauthorized
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.errors import PROVIDER, is_retryable
from ogc_async.providers.aws.replies import Reply
from ogc_async.providers.aws.tags import filter_by
from ogc_async.providers.catalog import AwsImage, UnknownImage, find_image
from ogc_async.types import Disk, LaunchRequest

log = logging.getLogger(__name__)

KEEP_S = 3600.0
"""Vendors publish new images every few weeks; an hour spares a busy service the calls and never uses a withdrawn one
for long."""

SSM_S = 5.0
"""SSM is only the shorter way to an image. Networks exist that have a way to EC2 and none to SSM."""

PROVISIONED = frozenset({"gp3", "io1", "io2"})
"""Types of volumes that a rate can be asked of; EC2 refuses it for others."""

DEFAULT_USERNAME = "ec2-user"

_silent: dict[tuple[str, str], float] = {}
"""Since when this process does without SSM, by endpoint and region: it did not answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image to launch, and the user to log in as."""

    id: str
    username: str


@dataclass(frozen=True, slots=True)
class Disks:
    """The volumes that an image's machines come with; nothing where that could not be learned."""

    root_device: str = ""
    all: tuple[Disk, ...] = ()


class Images:
    """Finds images, each once for all who ask."""

    def __init__(self, client: AwsClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._found: SingleFlight[tuple[str, str], str] = SingleFlight(keep_s=KEEP_S, clock=clock)
        self._described: SingleFlight[str, Reply] = SingleFlight(keep_s=KEEP_S, clock=clock)

    async def find(self, request: LaunchRequest) -> Image:
        """The image of ``request.runs_on`` and ``request.arch``, and the user to log in as.

        Raises :class:`~ogc_async.errors.InvalidRequest` for a name that nobody knows, or that does not come for the
        architecture; :class:`~ogc_async.errors.NotFound` where this region has no such image.
        """
        if request.runs_on.startswith("ami-"):
            await self._describe(request.runs_on)
            return Image(request.runs_on, request.username or DEFAULT_USERNAME)
        query = image_query(request.runs_on, request.arch)
        key = (request.runs_on, request.arch)
        image_id = await self._found.run(key, lambda: self._search(query, request.runs_on, request.arch))
        return Image(image_id, request.username or query.username)

    async def disks(self, image_id: str, *, is_needed: bool) -> Disks:
        """The image's volumes. Credentials that may not ask learn nothing, unless it is needed."""
        try:
            return disks_of(await self._describe(image_id))
        except Unauthorized as error:
            if is_needed:
                raise
            log.info("the image's volumes are launched as it says, since they can not be asked for: %s", error)
            return Disks()

    async def _search(self, query: AwsImage, runs_on: str, arch: str) -> str:
        return await self._by_parameter(query, arch) or await self._by_pattern(query, runs_on, arch)

    async def _by_parameter(self, query: AwsImage, arch: str) -> str:
        """The image that the vendor's parameter names, or "": reading it may be forbidden, and is never needed."""
        parameter = query.parameter_for(arch)
        if not parameter or self._is_silent():
            return ""
        reply: Reply = {}
        with anyio.move_on_after(SSM_S) as limit:
            try:
                reply = await self._client.call("GetParameters", service="ssm", budget_s=SSM_S, Names=[parameter])
            except ProviderError as error:
                log.info("looking images up by name, since SSM can not be asked: %s", error)
                if is_retryable(error):
                    self._note_silence()
        if limit.cancelled_caught:
            log.info("looking images up by name, since SSM did not answer within %.0f s", SSM_S)
            self._note_silence()
        return next((str(each["Value"]) for each in reply.get("Parameters") or ()), "")

    def _is_silent(self) -> bool:
        since = _silent.get(self._place)
        return since is not None and self._clock() - since < KEEP_S

    def _note_silence(self) -> None:
        _silent[self._place] = self._clock()

    @property
    def _place(self) -> tuple[str, str]:
        return self._client.settings.aws_endpoint_url or "", self._client.region

    async def _by_pattern(self, query: AwsImage, runs_on: str, arch: str) -> str:
        parameters = search_parameters(query, arch)
        images = [
            image async for page in self._client.pages("DescribeImages", "Images", **parameters) for image in page
        ]
        newest = newest_image(images, query.excluding)
        if newest is None:
            raise self._not_found(f"no image for runs-on {runs_on!r} ({arch})")
        # It is described already.
        await self._described.run(newest["ImageId"], lambda: _at_hand(newest))
        return str(newest["ImageId"])

    async def _describe(self, image_id: str) -> Reply:
        return await self._described.run(image_id, lambda: self._describe_now(image_id))

    async def _describe_now(self, image_id: str) -> Reply:
        try:
            images: list[Reply] = (await self._client.call("DescribeImages", ImageIds=[image_id]))["Images"]
        except ProviderError as error:
            if error.code.startswith("InvalidAMIID."):
                raise self._not_found(f"no image {image_id!r}", code=error.code) from None
            raise
        if not images:
            raise self._not_found(f"no image {image_id!r}")
        return images[0]

    def _not_found(self, what: str, code: str = "") -> NotFound:
        message = f"{what} in {self._client.region}; name another runs-on, or an ami-… that this account may use there"
        return NotFound(message, provider=PROVIDER, operation="DescribeImages", code=code)


async def _at_hand(described: Reply) -> Reply:
    return described


def image_query(runs_on: str, arch: str) -> AwsImage:
    """The catalogue's query. Raises :class:`~ogc_async.errors.InvalidRequest` where there is none."""
    try:
        query = find_image(runs_on)
    except UnknownImage as error:
        raise InvalidRequest(f"{error}; an ami-… id does too", provider=PROVIDER, operation="find image") from None
    if query.aws is None or arch not in query.arches():
        message = f"runs-on {runs_on!r} does not come for {arch} on EC2"
        raise InvalidRequest(message, provider=PROVIDER, operation="find image")
    return query.aws


def disks_of(image: Mapping[str, Any]) -> Disks:
    """Of an image as EC2 described it, the EBS volumes that a launch has to name for them to go with their machine.

    The root volume always is; another one only where the image would leave it behind, since EC2 makes that anew from
    all that is said of it, while it takes the rest of the root volume from the image.
    """
    root_device = str(image.get("RootDeviceName", ""))
    disks: list[Disk] = []
    for each in image.get("BlockDeviceMappings") or ():
        device, ebs = each.get("DeviceName"), each.get("Ebs")
        if not device or ebs is None:
            continue
        if device == root_device:
            disks.append(Disk(device, _some(ebs, ("VolumeSize",))))
        elif not ebs.get("DeleteOnTermination"):
            disks.append(Disk(device, _some(ebs, _whole(ebs))))
    return Disks(root_device, tuple(disks))


def _whole(ebs: Mapping[str, Any]) -> list[str]:
    names = ["SnapshotId", "VolumeSize", "VolumeType"]
    if ebs.get("VolumeType") in PROVISIONED:
        names += ["Iops", "Throughput"]
    if not ebs.get("SnapshotId"):
        # A snapshot's own encryption must not be named.
        names.append("Encrypted")
    return names


def _some(ebs: Mapping[str, Any], names: Iterable[str]) -> tuple[tuple[str, str | int | bool], ...]:
    return tuple((name, ebs[name]) for name in names if ebs.get(name))


def search_parameters(query: AwsImage, arch: str) -> dict[str, Any]:
    """What ``DescribeImages`` is asked: images that any current machine type can boot from."""
    filters = {
        "name": query.pattern_for(arch),
        "architecture": arch,
        "state": "available",
        "root-device-type": "ebs",
        "virtualization-type": "hvm",
    }
    return {"Owners": [query.owner], "Filters": [filter_by(name, [value]) for name, value in filters.items()]}


def newest_image(images: Iterable[Reply], excluding: Iterable[str]) -> Reply | None:
    """The one created last; names with one of ``excluding`` in them do not count."""
    unwanted = tuple(excluding)
    fit = [image for image in images if not any(word in str(image.get("Name", "")) for word in unwanted)]
    # ISO 8601 in UTC sorts as text; the id decides between twins, so that every process finds the same.
    return max(fit, key=lambda image: (str(image.get("CreationDate", "")), str(image["ImageId"])), default=None)
