"""Who calls: a Google credentials file, the project, and access tokens."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gcloud.aio.auth import Token

from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import MissingCredentials, ServiceUnavailable, SettingsError, Unauthorized, UnreadableReply
from ogc_async.settings import Settings

PROVIDER = "google"
SCOPE = "https://www.googleapis.com/auth/compute"
KINDS = ("service_account", "authorized_user", "impersonated_service_account", "external_account")

TOKEN_TIMEOUT_S = 20.0
"""gcloud-aio-auth repeats a failed exchange for up to a minute before it says anything."""

UNHEARD = (aiohttp.ClientError, TimeoutError, ConnectionError)
UNREAD = (ValueError, LookupError, TypeError, AttributeError)
"""What the library raises at a reply that is none of a token endpoint's."""

AGAIN = (408, 429)
"""Statuses that are no final no."""
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Credentials:
    """The content of a credentials file, and the project to work in."""

    path: Path
    project: str
    data: dict[str, Any] = field(repr=False)


def read_credentials(settings: Settings) -> Credentials:
    """Read and check the file; no network.

    Raises :class:`~ogc_async.errors.SettingsError` that names the variable where the file or the project is missing,
    and the file where it can not be used.
    """
    path = settings.google_application_credentials
    if path is None:
        raise MissingCredentials(PROVIDER, "GOOGLE_APPLICATION_CREDENTIALS", "It is the path of a credentials file.")
    data = _read(path.expanduser())
    kind = data.get("type")
    if kind not in KINDS:
        raise _unusable(path, f"is of type {kind!r}, not one of {', '.join(KINDS)}")
    if kind == "service_account":
        _check_key(path, data)
    if kind == "impersonated_service_account":
        _check_source(path, data)
    project = settings.google_project or data.get("project_id") or data.get("quota_project_id")
    if not project:
        raise MissingCredentials(PROVIDER, "GOOGLE_PROJECT", f"{path} names no project.")
    return Credentials(path, str(project), data)


class AccessToken:
    """An access token that is always fresh: kept, and renewed before it is over."""

    def __init__(self, credentials: Credentials) -> None:
        self._path = credentials.path
        self._flights: SingleFlight[str, str] = SingleFlight()
        self._refusal: asyncio.Future[str] | None = None
        self._heard = 0
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._hear)
        trace.on_request_redirect.append(_stay)
        timeout = aiohttp.ClientTimeout(total=TOKEN_TIMEOUT_S)
        self._session = aiohttp.ClientSession(trace_configs=[trace], timeout=timeout)
        # The library reads files and the environment by itself; it is given the content instead.
        content = io.StringIO(json.dumps(credentials.data))
        try:
            self._token = Token(service_file=content, session=cast("Any", self._session), scopes=[SCOPE])
        except Exception as error:  # noqa: BLE001  # the library raises bare exceptions of any kind
            raise _unusable(credentials.path, f"can not be used: {type(error).__name__}: {error}") from None

    async def get(self, *, instead_of: str = "") -> str:
        """The token, and another one ``instead_of`` one that Compute Engine refused.

        Raises :class:`~ogc_async.errors.Unauthorized` within 20 seconds where there is none to be had.
        """
        if instead_of and self._token.access_token == instead_of:
            self._token.access_token = None
        return await self._flights.run("token", self._get)

    async def aclose(self) -> None:
        """Stop renewing."""
        await self._token.close()
        await self._session.close()

    async def _get(self) -> str:
        self._refusal, self._heard = asyncio.get_running_loop().create_future(), 0
        getting = asyncio.create_task(self._token.get())
        try:
            ends: set[asyncio.Future[Any]] = {getting, self._refusal}
            await asyncio.wait(ends, timeout=TOKEN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            return self._outcome(getting, self._refusal)
        finally:
            getting.cancel()
            await asyncio.gather(getting, return_exceptions=True)

    def _outcome(self, getting: asyncio.Task[str | None], refusal: asyncio.Future[str]) -> str:
        if getting.done() and getting.exception() is None and getting.result():
            return str(getting.result())
        if refusal.done():
            raise self._refused(refusal.result())
        if not getting.done():
            heard = f"; the last one was HTTP {self._heard}" if self._heard else ""
            raise self._unheard(f"no answer of a token endpoint's within {TOKEN_TIMEOUT_S:g} s{heard}")
        error = getting.exception()
        if isinstance(error, UNHEARD):
            raise self._unheard(_first_line(error))
        if error is None or isinstance(error, UNREAD):
            raise self._unread()
        raise self._refused(_first_line(error))

    async def _hear(self, _session: object, _context: object, heard: aiohttp.TraceRequestEndParams) -> None:
        """A clear no is passed on at once; the library would ask again, four times, for up to a minute."""
        status = self._heard = heard.response.status
        if 400 <= status < 500 and status not in AGAIN and self._refusal is not None and not self._refusal.done():
            reason = _reason(await heard.response.text(errors="replace"))
            if reason and not self._refusal.done():
                self._refusal.set_result(f"HTTP {status} {reason}")

    def _refused(self, why: str) -> Unauthorized:
        message = f"no access token for {self._path}: {why}; check the file, this machine's clock, and the network"
        return Unauthorized(message, provider=PROVIDER, operation="token")

    def _unheard(self, why: str) -> ServiceUnavailable:
        """Nobody said no: the token endpoint is in trouble, or the way to it, and may not be a little later."""
        message = f"no access token for {self._path}: {why}; check the network"
        return ServiceUnavailable(message, provider=PROVIDER, operation="token", retryable=True)

    def _unread(self) -> UnreadableReply:
        message = f"no access token for {self._path}: the token endpoint answered without one; check the network"
        return UnreadableReply(message, provider=PROVIDER, operation="token", retryable=True)


async def _stay(_session: object, _context: object, heard: aiohttp.TraceRequestRedirectParams) -> None:
    """What proves who we are goes to the token endpoint alone, wherever that would send it on to."""
    raise aiohttp.ClientError(f"the token endpoint answers HTTP {heard.response.status}, a redirect")


def _reason(text: str) -> str:
    """What a token endpoint says, in its two usual forms; "" where it is not one that says no."""
    try:
        said = json.loads(text)
        error = said["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    if isinstance(error, dict):
        return f"{error.get('status', '')}: {error.get('message', '')}"[:MAX_TEXT]
    return f"{error}: {said.get('error_description', '')}"[:MAX_TEXT]


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _unusable(path, "does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, f"can not be read: {error}") from None
    except ValueError:
        raise _unusable(path, "is not JSON") from None
    if not isinstance(data, dict):
        raise _unusable(path, "is not a JSON object")
    return data


def _check_key(path: Path, data: Mapping[str, Any]) -> None:
    """A key that can not sign is better known now than after the library has tried five times."""
    for name in ("client_email", "private_key"):
        if not isinstance(data.get(name), str):
            raise _unusable(path, f"has no {name}")
    try:
        load_pem_private_key(data["private_key"].encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable(path, "has a private_key that is none") from None


def _check_source(path: Path, data: Mapping[str, Any]) -> None:
    """gcloud-aio-auth impersonates from a user's credentials only."""
    source = data.get("source_credentials")
    kind = source.get("type") if isinstance(source, dict) else None
    if kind != "authorized_user" or "service_account_impersonation_url" not in data:
        raise _unusable(path, f"impersonates from {kind!r}, which is not served; use an authorized user's credentials")


def _unusable(path: Path, why: str) -> SettingsError:
    return SettingsError(f"google: GOOGLE_APPLICATION_CREDENTIALS: {path} {why}; download the credentials file anew")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__
