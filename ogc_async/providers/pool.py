"""The providers that one event loop has open: one for each cloud and region, shared by everything that runs there."""

from __future__ import annotations

from collections.abc import Callable

from ogc_async.aio.loop_scope import LoopLocal
from ogc_async.errors import MissingCredentials
from ogc_async.providers.base import Provider
from ogc_async.providers.holes import Holes
from ogc_async.providers.registry import open_provider
from ogc_async.providers.shared import SharedProvider
from ogc_async.settings import Settings

Key = tuple[str, str]
Opener = Callable[[str, Settings, str], Provider]


class ProviderPool:
    """Opens providers on first use, and closes a loop's when that loop is done."""

    def __init__(self, settings: Settings, *, opener: Opener = open_provider) -> None:
        self._settings = settings
        self._opener = opener
        self.holes = Holes()
        self._open: LoopLocal[dict[Key, SharedProvider]] = LoopLocal(dict, _close_all)

    def get(self, name: str, region: str | None = None) -> Provider:
        """The provider of that cloud and region; no region means the settings'.

        Raises :class:`~ogc_async.errors.SettingsError` where the cloud is unknown or its credentials are missing.
        """
        return self._shared(name, region)

    def unshared(self, name: str, region: str | None = None) -> Provider:
        """The cloud's own provider: some can do more than all can, which a runtime protocol tells."""
        return self._shared(name, region).inner

    def default_region(self, name: str) -> str:
        """The region of layouts that name none."""
        if name == "google":
            zone = self._settings.google_datacenter
            if not zone:
                raise MissingCredentials(name, "GOOGLE_DATACENTER", "It is the zone of layouts that name none.")
            return zone.rsplit("-", 1)[0]
        if not self._settings.aws_region:
            raise MissingCredentials(name, "AWS_REGION", "It is the region of layouts that name none.")
        return self._settings.aws_region

    async def aclose(self) -> None:
        """Close what the running loop has open."""
        await self._open.aclose()

    def _shared(self, name: str, region: str | None) -> SharedProvider:
        chosen = region or self.default_region(name)
        providers = self._open.get()
        if (name, chosen) not in providers:
            providers[name, chosen] = SharedProvider(self._opener(name, self._settings, chosen))
        return providers[name, chosen]


async def _close_all(providers: dict[Key, SharedProvider]) -> None:
    for provider in providers.values():
        await provider.aclose()
