"""The one way to Compute Engine: one session, calls bounded, paced, timed, retried, and their errors mapped."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio

from ogc_async.aio.limiter import Levels
from ogc_async.aio.retry import Retrier, TurnClock
from ogc_async.errors import OutcomeUnknown, ProviderError, ServiceUnavailable, Throttled, TokenSpent
from ogc_async.providers.dates import ReplyDates
from ogc_async.providers.google.credentials import PROVIDER, AccessToken, read_credentials
from ogc_async.providers.google.errors import (
    FOREIGN,
    TOO_MANY_AT_ONCE,
    is_retryable,
    map_failure,
    map_reply,
    unreadable,
)
from ogc_async.providers.google.limits import Limits, place_of
from ogc_async.providers.google.methods import LAUNCH, METHODS
from ogc_async.providers.google.replies import decoded, fault_of
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
        self.account = "" if self.project.isdecimal() else self.project
        self.region = region
        self.clock = clock
        self.sleep = sleep
        self._settings = settings
        self._base = f"{(settings.ogc_google_endpoint or ENDPOINT).rstrip('/')}/compute/v1/projects"
        self._limits = limits or Limits(place_of(self.project, self._base, region), shared=shared, sleep=sleep)
        self.retry = Retrier(rng=rng, clock=clock, sleep=sleep)
        self.dates = ReplyDates()
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

        ``names`` fill the method's path. The answer is of the method's kind: see :mod:`.replies`. Raises
        :class:`~ogc_async.errors.ProviderError`.
        """
        method = METHODS[operation]
        path = method.path.format(**{key: quote(value, safe="") for key, value in names.items()})
        url = "/".join(filter(None, (self._base, quote(in_project or self.project, safe=""), path)))
        budget_s = self._settings.ogc_api_retry_s
        clock = TurnClock(self.clock)
        failed: list[tuple[float, ProviderError]] = []

        async def once() -> Reply:
            turn = self._limits.take(operation, method.group, begins=method.http != "GET")
            if not failed:
                await clock.stand_still(turn)
            else:
                await _turn_within(turn, budget_s - (clock() - failed[0][0]), failed[-1][1])
            try:
                return await self._once(operation, url, query or {}, body)
            except ProviderError as error:
                failed.append((clock(), error))
                raise

        try:
            return await self.retry(once, is_retryable, budget_s, clock)
        except ProviderError as error:
            raise _of_all_tries(operation, [each for _, each in failed], error) from None

    async def pages(self, operation: str, /, *, filter_: str = "", **names: str) -> AsyncIterator[Reply]:
        """Every page of a listing."""
        query = {"maxResults": str(PAGE)} | ({"filter": filter_} if filter_ else {})
        while True:
            reply = await self.call(operation, query=query, body=None, in_project=None, **names)
            yield reply
            token = reply.get("nextPageToken")
            if not token:
                return
            if token == query.get("pageToken"):
                raise unreadable(operation, "a page that is followed by itself", HTTPStatus.OK)
            query["pageToken"] = token

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
        _, token = self._open()
        method = METHODS[operation]
        try:
            async with self._gate:
                bearer = await token.get()
                status, content = await self._send(method.http, url, query, body, bearer)
                if status == HTTPStatus.UNAUTHORIZED:
                    # Over before its time, or withdrawn: a new one is had once, and its refusal is final.
                    bearer = await token.get(instead_of=bearer)
                    status, content = await self._send(method.http, url, query, body, bearer)
        except FOREIGN as error:
            # The original stays out of tracebacks: it holds the request with its token.
            raise map_failure(error, operation) from None
        answer = decoded(content)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            refusal = map_reply(status, answer, operation)
            await self._heed(refusal, operation)
            raise refusal
        fault = fault_of(answer, method.kind)
        if fault or not isinstance(answer, dict):
            said = f" ({answer})" if isinstance(answer, str) else ""
            raise unreadable(operation, f"HTTP {status} with {fault}{said}", status)
        return answer

    async def _send(
        self, http: str, url: str, query: Mapping[str, str], body: Mapping[str, Any] | None, bearer: str
    ) -> tuple[int, bytes]:
        """Status and content. No redirect is followed: Compute Engine sends none, and the next host is a stranger."""
        session, _ = self._open()
        headers = {"Authorization": f"Bearer {bearer}"}
        async with session.request(
            http, url, params=query, json=body, headers=headers, allow_redirects=False
        ) as response:
            self.dates.note(response.headers.get("Date"))
            return response.status, await response.read()

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


async def _turn_within(turn: Awaitable[None], seconds: float, refusal: ProviderError) -> None:
    """Wait for the turn of a repeat, which counts: a call that was refused stands still within its budget only."""
    with anyio.move_on_after(max(seconds, 0)) as waiting:
        await turn
    if waiting.cancelled_caught:
        raise refusal


def _of_all_tries(operation: str, failed: Sequence[ProviderError], last: ProviderError) -> ProviderError:
    """What a call's failures say together: the last one's refusal is not that of a launch call before it.

    A try whose outcome nobody knows may have made machines. That its names are taken, and that the next try had no
    answer either, says as much already.
    """
    doubt = next((each for each in failed if isinstance(each, ServiceUnavailable) and each.operation == LAUNCH), None)
    if operation != LAUNCH or doubt is None or isinstance(last, ServiceUnavailable | TokenSpent):
        return last
    message = f"{last.message}; a try before it had no clear answer ({doubt.code}), so machines of it may exist"
    return OutcomeUnknown(message, provider=PROVIDER, operation=operation, code=last.code, retryable=True)
