"""The clouds there are, by the name that a layout gives."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from ogc_async.aio.limiter import Levels
from ogc_async.errors import SettingsError
from ogc_async.providers.base import Provider
from ogc_async.settings import Settings


class Factory(Protocol):
    """Opens one region of a cloud."""

    def __call__(self, settings: Settings, region: str, *, shared: Levels | None = None) -> Provider:
        """Make the provider; no call is made."""
        ...


FACTORIES = {
    "aws": ("ogc_async.providers.aws.provider", "AwsProvider"),
    "google": ("ogc_async.providers.google.provider", "GoogleProvider"),
}
"""Module and class, not the class itself: a cloud's client takes 0.2 s to import, and most commands need none."""


def open_provider(name: str, settings: Settings, region: str, *, shared: Levels | None = None) -> Provider:
    """The provider of one cloud and region; it makes no call before it is asked for something.

    ``shared`` is where its request limits are counted together with other processes. Raises
    :class:`~ogc_async.errors.SettingsError` where the cloud is unknown or its credentials are missing.
    """
    if name not in FACTORIES:
        known = ", ".join(sorted(FACTORIES))
        raise SettingsError(f"provider {name!r} is not known; use one of: {known}")
    module, factory = FACTORIES[name]
    return cast("Factory", getattr(import_module(module), factory))(settings, region, shared=shared)
