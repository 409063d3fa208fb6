"""``App``: what one deployment is made of; ``app``: the default one, that every verb uses unless told otherwise."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ogc_async.db import Engine, SessionFactory
from ogc_async.db.pacing import SharedLevels
from ogc_async.events import Events
from ogc_async.providers.base import Provider
from ogc_async.providers.pool import ProviderPool
from ogc_async.providers.registry import open_provider
from ogc_async.settings import Settings, load_settings
from ogc_async.spec import Spec


class App:
    """An engine, its sessions, a spec, settings and events; all but the first may be left alone.

    Making one connects to nothing. In an application's own loop, ``async with App() as app`` (or ``await
    app.aclose()``) closes the loop's pools and clients at the end; the synchronous twins do so by themselves.
    """

    def __init__(self, *, engine: Engine | None = None, settings: Settings | None = None) -> None:
        self.engine = engine
        self.session: SessionFactory | None = None
        self.spec: Spec | None = None
        self.events = Events()
        self._settings = settings
        self._providers: ProviderPool | None = None

    @property
    def settings(self) -> Settings:
        """The settings, read when they are first needed."""
        if self._settings is None:
            self._settings = load_settings()
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._providers = None

    @property
    def providers(self) -> ProviderPool:
        """The providers, opened when they are first needed."""
        if self._providers is None:
            self._providers = ProviderPool(self.settings, opener=self._open_provider)
        return self._providers

    @providers.setter
    def providers(self, providers: ProviderPool) -> None:
        self._providers = providers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what the running loop has open: database pool and cloud clients. All may be used again afterwards."""
        if self._providers is not None:
            await self._providers.aclose()
        if self.engine is not None:
            await self.engine.aclose()

    def _open_provider(self, name: str, settings: Settings, region: str) -> Provider:
        """A provider that counts its calls together with every other process on the app's database."""
        shared = SharedLevels(self.engine) if self.engine is not None else None
        return open_provider(name, settings, region, shared=shared)


app = App()
