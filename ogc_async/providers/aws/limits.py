"""EC2's published request limits, as data, and what keeps all processes that share a database within them.

Source: "Request throttling for the Amazon EC2 API". They hold for one account and region, whoever calls; an account
with raised limits, or one shared with other tools, is corrected by what EC2 answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping

import anyio

from ogc_async.aio.buckets import Level, TokenBucket
from ogc_async.aio.limiter import Levels, Limiter, Place, Want
from ogc_async.settings import Settings

DESCRIBE = TokenBucket(100, 20)
MUTATE = TokenBucket(50, 5)

REQUESTS: Mapping[str, TokenBucket] = {
    "RunInstances": TokenBucket(5, 2),
    "TerminateInstances": TokenBucket(100, 5),
    "CreateTags": TokenBucket(100, 10),
    "DescribeInstances": DESCRIBE,
    "DescribeInstanceStatus": DESCRIBE,
    "DescribeImages": DESCRIBE,
    "DescribeKeyPairs": DESCRIBE,
    "DescribeSecurityGroups": DESCRIBE,
    "DescribeVolumes": DESCRIBE,
    "DescribeRegions": DESCRIBE,
    "ImportKeyPair": MUTATE,
    "DeleteKeyPair": MUTATE,
    "CreateSecurityGroup": MUTATE,
    "DeleteSecurityGroup": MUTATE,
    "AuthorizeSecurityGroupIngress": MUTATE,
    "DeleteVolume": MUTATE,
}
"""A token a call. Operations that are not listed publish no bucket and wait for none."""

RESOURCES: Mapping[str, TokenBucket] = {
    "RunInstances": TokenBucket(1000, 2),
    "TerminateInstances": TokenBucket(1000, 20),
}
"""A token an instance named in the call, beside the one for the call."""

OF_CALLS = "its request rate limit"
"""What EC2's message says where the tokens for calls were used up; older ones name no bucket."""

NOWHERE = Place("aws", "", "")


class Limits:
    """The buckets of one account and region: ``shared`` with other processes, or else counted for this one alone."""

    def __init__(
        self,
        place: Place = NOWHERE,
        *,
        shared: Levels | None = None,
        requests: Mapping[str, TokenBucket] = REQUESTS,
        resources: Mapping[str, TokenBucket] = RESOURCES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._requests = requests
        self._resources = resources
        self._limiter = Limiter(place, shared=shared, clock=clock, sleep=sleep)

    async def take(self, operation: str, instances: int = 0) -> None:
        """Wait until EC2 would let this call through, and count it."""
        # Instances first: one of the few tokens for calls is not held while waiting for many of the others.
        wants = [*self._of_instances(operation, instances), *self._of_calls(operation)]
        if wants:
            await self._limiter.acquire(*wants)

    async def slow_down(self, operation: str, instances: int = 0, *, message: str = "") -> None:
        """EC2 refused this call: somebody else used the tokens that the count still holds. It costs no instances."""
        was_slow = False
        for want in self._of_calls(operation):
            was_slow = await self._limiter.refused(want.bucket, self._requests[operation])
        # The code does not tell which bucket was empty. Calls refill in seconds, so theirs is suspected first; if a
        # slower pace has not helped, there were fewer tokens than instances: half as many, on average.
        is_short = was_slow and OF_CALLS not in message
        for want in self._of_instances(operation, instances):
            await self._return(want, self._resources[operation], at_most=instances / 2 if is_short else None)

    def level(self, operation: str) -> float | None:
        """Calls that could be made at once, for all that this process knows; ``None`` where none are counted."""
        bucket = self._requests.get(operation)
        return bucket.tokens(*self._limiter.own(operation)) if bucket else None

    async def _return(self, want: Want, bucket: TokenBucket, at_most: float | None) -> None:
        def decide(levels: Mapping[str, Level], now: float) -> tuple[Mapping[str, Level], None]:
            level = bucket.put_back(levels.get(want.bucket), now, want.count)
            return {want.bucket: level if at_most is None else bucket.shorten(level, now, at_most)}, None

        await self._limiter.change([want.bucket], decide)

    def _of_calls(self, operation: str) -> list[Want]:
        return [Want(operation, self._requests[operation])] if operation in self._requests else []

    def _of_instances(self, operation: str, instances: int) -> list[Want]:
        if not instances or operation not in self._resources:
            return []
        return [Want(f"{operation} instances", self._resources[operation], instances)]


def place_of(settings: Settings, region: str) -> Place:
    """Whose limits calls with these settings count against."""
    who = account_of(settings.aws_access_key_id) if settings.aws_access_key_id else f"profile {settings.aws_profile}"
    where = settings.aws_endpoint_url or "aws"
    return Place("aws", hashlib.sha256(f"{where} {who}".encode()).hexdigest()[:32], region)


def account_of(access_key_id: str) -> str:
    """The account that an access key belongs to, so far as it tells; else the key itself.

    Keys made since 2019 carry it, those of a session as well, which are others every hour. Source: Tal Be'ery, "A
    short note on AWS key ID".
    """
    body = access_key_id[4:]
    if not access_key_id.startswith(("AKIA", "ASIA")) or len(body) != 16 or body[0] < "Q":
        return access_key_id
    try:
        number = int.from_bytes(base64.b32decode(body)[:6], "big")
    except binascii.Error:
        return access_key_id
    return f"{(number & 0x7FFFFFFFFF80) >> 7:012d}"
