"""From a layout's ``runs-on`` to an image: by SSM parameter, else by owner and name pattern, or as given."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import InvalidRequest, NotFound, ProviderError
from ogc_async.providers.aws.client import AwsClient, Reply
from ogc_async.providers.aws.errors import PROVIDER
from ogc_async.providers.aws.tags import filter_by
from ogc_async.providers.catalog import AwsImage, UnknownImage, find_image
from ogc_async.types import LaunchRequest

log = logging.getLogger(__name__)

KEEP_S = 3600.0
"""Vendors publish new images every few weeks; an hour spares a busy service the calls and never uses a withdrawn one
for long."""

DEFAULT_USERNAME = "ec2-user"


@dataclass(frozen=True, slots=True)
class Image:
    """An image to launch; ``root_device`` is "" unless it was asked for."""

    id: str
    username: str
    root_device: str = ""


class Images:
    """Finds images, each once for all who ask."""

    def __init__(self, client: AwsClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._found: SingleFlight[tuple[str, str], str] = SingleFlight(keep_s=KEEP_S, clock=clock)
        self._described: SingleFlight[str, Reply] = SingleFlight(keep_s=KEEP_S, clock=clock)

    async def find(self, request: LaunchRequest) -> Image:
        """The image of ``request.runs_on`` and ``request.arch``, and the user to log in as.

        Raises :class:`~ogc_async.errors.InvalidRequest` for a name that nobody knows, or that does not come for the
        architecture; :class:`~ogc_async.errors.NotFound` where this region has no such image.
        """
        if request.runs_on.startswith("ami-"):
            described = await self._describe(request.runs_on)
            username = request.username or DEFAULT_USERNAME
            return Image(request.runs_on, username, str(described.get("RootDeviceName", "")))
        query = image_query(request.runs_on, request.arch)
        key = (request.runs_on, request.arch)
        image_id = await self._found.run(key, lambda: self._search(query, request.runs_on, request.arch))
        root_device = ""
        if request.disk_size_gib is not None:
            root_device = str((await self._describe(image_id)).get("RootDeviceName", ""))
        return Image(image_id, request.username or query.username, root_device)

    async def _search(self, query: AwsImage, runs_on: str, arch: str) -> str:
        return await self._by_parameter(query, arch) or await self._by_pattern(query, runs_on, arch)

    async def _by_parameter(self, query: AwsImage, arch: str) -> str:
        """The image that the vendor's parameter names, or "": reading it may be forbidden, and is never needed."""
        parameter = query.parameter_for(arch)
        if not parameter:
            return ""
        try:
            reply = await self._client.call("GetParameters", service="ssm", Names=[parameter])
        except ProviderError as error:
            log.info("looking images up by name, since SSM can not be asked: %s", error)
            return ""
        return next((str(each["Value"]) for each in reply.get("Parameters") or ()), "")

    async def _by_pattern(self, query: AwsImage, runs_on: str, arch: str) -> str:
        parameters = search_parameters(query, arch)
        images = [
            image async for page in self._client.pages("DescribeImages", "Images", **parameters) for image in page
        ]
        newest = newest_image(images, query.excluding)
        if newest is None:
            raise self._not_found(f"no image for runs-on {runs_on!r} ({arch})")
        return str(newest["ImageId"])

    async def _describe(self, image_id: str) -> Reply:
        return await self._described.run(image_id, lambda: self._describe_now(image_id))

    async def _describe_now(self, image_id: str) -> Reply:
        try:
            images: list[Reply] = (await self._client.call("DescribeImages", ImageIds=[image_id])).get("Images") or []
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


def has_cloud_init(runs_on: str) -> bool:
    """The catalogue says so; of an image that is named by its own id, or by nobody's name, nothing is known."""
    try:
        image = find_image(runs_on).aws
    except UnknownImage:
        return False
    return image is not None and image.has_cloud_init


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
