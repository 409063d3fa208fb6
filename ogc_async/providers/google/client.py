"""The one way to Compute Engine: one session, calls bounded, paced, timed, retried, and their errors mapped."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio

from ogc_async.aio.limiter import Levels
from ogc_async.aio.retry import Retrier, TurnClock
from ogc_async.errors import ProviderError, Throttled
from ogc_async.providers.google.credentials import AccessToken, read_credentials
from ogc_async.providers.google.errors import FOREIGN, TOO_MANY_AT_ONCE, is_retryable, map_failure, map_reply
from ogc_async.providers.google.limits import Limits, place_of
from ogc_async.providers.google.methods import METHODS
from ogc_async.settings import Settings

ENDPOINT = "https://compute.googleapis.com"
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
PAGE = 500
"""Resources a page, the most there is."""

Reply = dict[str, Any]


class GoogleClient:
    """Calls one project's Compute API. The connection is opened on first use and kept until :meth:`aclose`.

    ``shared`` is where its request limits are counted together with other processes; without it, it counts alone.
    Raises :class:`~ogc_async.errors.SettingsError` where the credentials can not be used.
    """

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
        self._credentials = read_credentials(settings)
        self.project = self._credentials.project
        self.region = region
        self.clock = clock
        self.sleep = sleep
        self._settings = settings
        self._base = f"{(settings.ogc_google_endpoint or ENDPOINT).rstrip('/')}/compute/v1/projects"
        self._limits = limits or Limits(place_of(self.project, self._base, region), shared=shared, sleep=sleep)
        self.retry = Retrier(rng=rng, clock=clock, sleep=sleep)
        self._gate = anyio.CapacityLimiter(settings.ogc_max_api_calls)
        self._session: aiohttp.ClientSession | None = None
        self._token: AccessToken | None = None

    def __repr__(self) -> str:
        return f"GoogleClient(project={self.project!r}, region={self.region!r})"

    async def call(
        self,
        operation: str,
        /,
        *,
        in_project: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        **names: str,
    ) -> Reply:
        """One API call, such as ``instances.get``; its repeats carry the same parameters, and so the same request id.

        ``names`` fill the method's path. Raises :class:`~ogc_async.errors.ProviderError`.
        """
        method = METHODS[operation]
        path = method.path.format(**{key: quote(value, safe="") for key, value in names.items()})
        url = "/".join(filter(None, (self._base, quote(in_project or self.project, safe=""), path)))

        clock = TurnClock(self.clock)

        async def once() -> Reply:
            await clock.stand_still(self._limits.take(operation, method.group, begins=method.http != "GET"))
            return await self._once(operation, url, query or {}, body)

        return await self.retry(once, is_retryable, self._settings.ogc_api_retry_s, clock)

    async def pages(self, operation: str, /, *, filter_: str = "", **names: str) -> AsyncIterator[Reply]:
        """Every page of a listing."""
        query = {"maxResults": str(PAGE)} | ({"filter": filter_} if filter_ else {})
        while True:
            reply = await self.call(operation, query=query, body=None, in_project=None, **names)
            yield reply
            if not reply.get("nextPageToken"):
                return
            query["pageToken"] = reply["nextPageToken"]

    async def aclose(self) -> None:
        """Close the connection. A later call opens a new one."""
        token, self._token = self._token, None
        session, self._session = self._session, None
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if token is not None:
                await token.aclose()
            if session is not None:
                await session.close()

    async def _once(self, operation: str, url: str, query: Mapping[str, str], body: Mapping[str, Any] | None) -> Reply:
        session, token = self._open()
        method = METHODS[operation]
        try:
            async with self._gate:
                headers = {"Authorization": f"Bearer {await token.get()}"}
                async with session.request(method.http, url, params=query, json=body, headers=headers) as response:
                    answer = await _content(response)
        except FOREIGN as error:
            # The original stays out of tracebacks: it holds the request with its token.
            raise map_failure(error, operation) from None
        if response.status < 400 and isinstance(answer, dict):
            return answer
        refusal = map_reply(response.status, answer, operation)
        await self._heed(refusal, operation)
        raise refusal

    async def _heed(self, error: ProviderError, operation: str) -> None:
        group = METHODS[operation].group
        if error.code == TOO_MANY_AT_ONCE:
            await self._limits.too_many_at_once(operation, group)
        elif isinstance(error, Throttled):
            await self._limits.used_up(group)

    def _open(self) -> tuple[aiohttp.ClientSession, AccessToken]:
        if self._session is None:
            timeout_s = self._settings.ogc_api_timeout_s
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
                connector=aiohttp.TCPConnector(limit=self._settings.ogc_max_api_calls),
            )
        if self._token is None:
            self._token = AccessToken(self._credentials)
        return self._session, self._token


async def _content(response: aiohttp.ClientResponse) -> object:
    try:
        return await response.json(content_type=None)
    except ValueError:
        return await response.text(errors="replace")
