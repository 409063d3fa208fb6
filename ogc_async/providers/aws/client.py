"""The one way to EC2 and SSM: clients made once, calls bounded, paced, timed, retried, and their errors mapped."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import xform_name
from botocore.exceptions import ConfigParseError, InvalidRegionError, ProfileNotFound

from ogc_async.aio.limiter import Levels
from ogc_async.aio.retry import Retrier, TurnClock
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import MissingCredentials, ProviderError, ServiceUnavailable, SettingsError, Throttled
from ogc_async.providers.aws.errors import (
    FOREIGN,
    PROVIDER,
    Caller,
    is_propagating,
    is_retryable,
    map_error,
    unreadable,
)
from ogc_async.providers.aws.http import DirectToLoopback
from ogc_async.providers.aws.limits import Limits, place_of
from ogc_async.providers.aws.logs import hide_user_data
from ogc_async.providers.aws.parsing import ParserFactory
from ogc_async.providers.aws.replies import Reply, find_fault
from ogc_async.providers.dates import ReplyDates
from ogc_async.settings import Settings

CONNECT_TIMEOUT_S = 10.0
POOL_CONNECTIONS = 50
"""botocore's ten would queue calls that the limits let through."""

SETTLE_S = 30.0
"""How long a key pair or firewall made a moment ago may stay unknown to a call that names it."""

CLOSE_TIMEOUT_S = 5.0

_sessions: dict[str | None, AioSession] = {}
"""One a profile and process: a session costs 0.1 s and 30 MB, most of it the EC2 model, which its clients share."""


class AwsClient:
    """Calls one region's EC2, SSM and STS. Clients are opened on first use and kept until :meth:`aclose`.

    ``shared`` is where its request limits are counted together with other processes; without it, it counts alone.
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
        check_credentials(settings, region)
        self.region = region
        self.settings = settings
        self.clock = clock
        self._caller = Caller(profile_of(settings), region)
        self._limits = limits or Limits(place_of(settings, region), shared=shared, clock=clock, sleep=sleep)
        self.retry = Retrier(rng=rng, clock=clock, sleep=sleep)
        self.dates = ReplyDates()
        self._gate = anyio.CapacityLimiter(settings.ogc_max_api_calls)
        self._stack = AsyncExitStack()
        self._clients: SingleFlight[str, Any] = SingleFlight(keep_s=float("inf"))

    def __repr__(self) -> str:
        return f"AwsClient(region={self.region!r})"

    async def call(
        self,
        operation: str,
        *,
        service: str = "ec2",
        instances: int = 0,
        settles: bool = False,
        budget_s: float | None = None,
        doubts: list[ProviderError] | None = None,
        **parameters: Any,
    ) -> Reply:
        """One API call; its repeats carry the same parameters, and so the same idempotency token.

        ``instances`` is how many instances it launches or ends; ``settles`` says that it names what was made just
        now; ``budget_s`` replaces the settings' time for repeats; ``doubts`` collects the errors of attempts that may
        have been carried out. Raises :class:`~ogc_async.errors.ProviderError`; a reply that is not the operation's own
        is :class:`~ogc_async.errors.UnreadableReply`.
        """
        clock = TurnClock(self.clock)

        async def once() -> Reply:
            await clock.stand_still(self._limits.take(operation, instances))
            try:
                return await self._once(operation, service, instances, parameters)
            except ServiceUnavailable as error:
                if doubts is not None:
                    doubts.append(error)
                raise

        async def settled() -> Reply:
            return await self.retry(once, is_propagating, SETTLE_S)

        budget = self.settings.ogc_api_retry_s if budget_s is None else budget_s
        return await self.retry(settled if settles else once, is_retryable, budget, clock)

    async def pages(self, operation: str, key: str, **parameters: Any) -> AsyncIterator[list[Reply]]:
        """The ``key`` list of every page of a describing call."""
        while True:
            reply = await self.call(operation, **parameters)
            yield list(reply[key])
            following = reply.get("NextToken")
            if not following:
                return
            if following == parameters.get("NextToken"):
                raise unreadable(operation, "a page that names itself as the next one")
            parameters["NextToken"] = following

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones."""
        for service in ("ec2", "ssm", "sts"):
            self._clients.forget(service)
        stack, self._stack = self._stack, AsyncExitStack()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await stack.aclose()

    async def _once(self, operation: str, service: str, instances: int, parameters: Mapping[str, Any]) -> Reply:
        try:
            client = await self._clients.run(service, lambda: self._open(service))
            async with self._gate:
                with anyio.fail_after(self.settings.ogc_api_timeout_s):
                    reply: Reply = await getattr(client, xform_name(operation))(**parameters)
        except FOREIGN as error:
            self.dates.note(_date_of(getattr(error, "response", None)))
            mapped = map_error(error, operation, service=service, caller=self._caller)
            if isinstance(mapped, Throttled):
                await self._limits.slow_down(operation, instances, message=mapped.message)
            # The original stays out of tracebacks: it holds the signed request.
            raise mapped from None
        self.dates.note(_date_of(reply))
        if fault := find_fault(operation, reply):
            raise unreadable(operation, fault)
        return reply

    async def _open(self, service: str) -> Any:
        """A client, whose credentials are looked for here: what botocore raises of them is left to the call."""
        hide_user_data()
        try:
            session = open_session(self.settings)
            return await self._stack.enter_async_context(
                session.create_client(
                    service,
                    region_name=self.region,
                    endpoint_url=self.settings.aws_endpoint_url,
                    config=client_config(self.settings),
                    **key_arguments(self.settings),
                )
            )
        except ProfileNotFound:
            profile = self.settings.aws_profile
            raise SettingsError(f"aws: AWS_PROFILE names {profile!r}, which is not in ~/.aws; write it there") from None
        except InvalidRegionError:
            raise SettingsError(f"aws: {self.region!r} is not a region's name; write one like us-east-2") from None
        except (ConfigParseError, ValueError) as error:
            raise SettingsError(f"aws: no {service} client: {error}; check AWS_ENDPOINT_URL and ~/.aws") from None


def _date_of(reply: object) -> object:
    """The header of a reply, or of a refusal, as botocore hands both on."""
    for key in ("ResponseMetadata", "HTTPHeaders", "date"):
        reply = reply.get(key) if isinstance(reply, Mapping) else None
    return reply


def check_credentials(settings: Settings, region: str) -> None:
    """Raise :class:`~ogc_async.errors.MissingCredentials` for the first variable that is missing; no network."""
    if not region:
        raise MissingCredentials(PROVIDER, "AWS_REGION")
    if settings.aws_access_key_id is None and settings.aws_secret_access_key is None and settings.aws_profile:
        return
    if not settings.aws_access_key_id:
        raise MissingCredentials(PROVIDER, "AWS_ACCESS_KEY_ID", "A profile of ~/.aws in AWS_PROFILE does too.")
    if settings.aws_secret_access_key is None:
        raise MissingCredentials(PROVIDER, "AWS_SECRET_ACCESS_KEY")


def client_config(settings: Settings) -> AioConfig:
    """botocore's part of the work: one attempt, since its own retries repeat a lack of capacity in place."""
    timeout_s = settings.ogc_api_timeout_s
    return AioConfig(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=max(POOL_CONNECTIONS, settings.ogc_max_api_calls),
        connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
        read_timeout=timeout_s,
        http_session_cls=DirectToLoopback,
    )


def key_arguments(settings: Settings) -> dict[str, str | None]:
    """The access key as ``create_client`` takes it; nothing where a profile is to be used."""
    if settings.aws_access_key_id is None or settings.aws_secret_access_key is None:
        return {}
    token = settings.aws_session_token
    return {
        "aws_access_key_id": settings.aws_access_key_id,
        "aws_secret_access_key": settings.aws_secret_access_key.get_secret_value(),
        "aws_session_token": token.get_secret_value() if token else None,
    }


def profile_of(settings: Settings) -> str | None:
    """The profile that names the credentials; none where an access key does."""
    return None if settings.aws_access_key_id else settings.aws_profile


def open_session(settings: Settings) -> AioSession:
    """The process's session of that profile. It never asks a metadata service who it is."""
    profile = profile_of(settings)
    if profile not in _sessions:
        # Settings are the one reader of the environment: AWS_PROFILE is taken from there, or not at all.
        session = AioSession(session_vars={"profile": (None, None, None, None)})
        session.register_component("response_parser_factory", ParserFactory())
        # For the clients that botocore makes by itself, such as one that takes on a profile's role.
        session.set_default_client_config(AioConfig(http_session_cls=DirectToLoopback))
        if profile is not None:
            session.set_config_variable("profile", profile)
            resolver = session.get_component("credential_provider")
            for metadata_service in ("container-role", "iam-role"):
                resolver.remove(metadata_service)
        _sessions[profile] = session
    return _sessions[profile]
