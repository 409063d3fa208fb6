"""From a layout's ``runs-on`` to an image: the newest of a family, or as given; and whether the machine type fits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogc_async.errors import InvalidRequest, NoCapacity, NotFound
from ogc_async.providers.catalog import UnknownImage, find_image
from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import PROVIDER
from ogc_async.types import LaunchRequest

DEFAULT_USERNAME = "ogc"
"""The guest agent makes whatever user the key is for; this is ours where the layout names none."""

NOT_OFFERED = "notOffered"

ARCHES = {"X86_64": "x86_64", "ARM64": "arm64"}

_EXPLICIT = re.compile(
    r"(?:https://[^/]+/compute/v1/)?projects/(?P<project>[^/]+)/global/images/(?:(?P<family>family)/)?(?P<name>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image to launch, as ``sourceImage`` takes it."""

    path: str
    username: str


async def find(client: GoogleClient, request: LaunchRequest) -> Image:
    """The image of ``request.runs_on`` and ``request.arch``, and the user to log in as.

    Raises :class:`~ogc_async.errors.InvalidRequest` for a name that nobody knows, or an image for another architecture;
    :class:`~ogc_async.errors.NotFound` where there is no such image.
    """
    project, name, is_family = image_query(request.runs_on, request.arch)
    try:
        if is_family:
            found = await client.call("images.getFromFamily", in_project=project, family=name)
        else:
            found = await client.call("images.get", in_project=project, image=name)
    except NotFound as error:
        kind = "image family" if is_family else "image"
        message = f"no {kind} {name!r} in {project}; name another runs-on, or an image's path (projects/…)"
        raise NotFound(message, provider=PROVIDER, operation=error.operation, code=error.code) from None
    arch = ARCHES.get(str(found.get("architecture", "")), request.arch)
    if arch != request.arch:
        raise _invalid(f"runs-on {request.runs_on!r} is an image for {arch}, not {request.arch}")
    return Image(f"projects/{project}/global/images/{found['name']}", request.username or DEFAULT_USERNAME)


async def check_machine_type(client: GoogleClient, request: LaunchRequest, zone: str) -> None:
    """Raise for a zone that does not exist, and for a machine type of another architecture.

    A type that this zone does not offer is a lack of room there: another zone, or another size, may have it.
    """
    size = request.instance_size
    try:
        found = await client.call("machineTypes.get", zone=zone, machineType=size)
    except NotFound as error:
        await _check_zone(client, zone)
        message = f"no machine type {size!r} in {zone}; name another instance-size, or other zones"
        raise NoCapacity(message, provider=PROVIDER, operation=error.operation, code=NOT_OFFERED) from None
    arch = ARCHES.get(str(found.get("architecture", "")), request.arch)
    if arch != request.arch:
        raise _invalid(f"instance-size {size!r} is {arch}, not {request.arch}; set arch, or name another one")


def image_query(runs_on: str, arch: str) -> tuple[str, str, bool]:
    """Project, name, and whether that is a family's. Raises :class:`~ogc_async.errors.InvalidRequest`."""
    explicit = _EXPLICIT.fullmatch(runs_on)
    if explicit:
        return explicit["project"], explicit["name"], explicit["family"] is not None
    try:
        query = find_image(runs_on)
    except UnknownImage as error:
        raise _invalid(f"{error}; an image's path (projects/…/global/images/…) does too") from None
    family = query.google.family_for(arch) if query.google else ""
    if query.google is None or not family:
        raise _invalid(f"runs-on {runs_on!r} does not come for {arch} on Compute Engine")
    return query.google.project, family, True


async def _check_zone(client: GoogleClient, zone: str) -> Mapping[str, Any]:
    try:
        return await client.call("zones.get", zone=zone)
    except NotFound as error:
        where = f"no zone {zone!r}, or no project {client.project!r}"
        message = f"{where}; check the layout's zones, GOOGLE_DATACENTER and GOOGLE_PROJECT"
        raise NotFound(message, provider=PROVIDER, operation=error.operation, code=error.code) from None


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, provider=PROVIDER, operation="find image")
