"""EC2's published request limits, as data, and the token buckets that keep one process within them.

Source: "Request throttling for the Amazon EC2 API". They hold for one account and region, whoever calls; an account
with raised limits, or one shared with other tools, is corrected by what EC2 answers.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio

from ogc_async.aio.limiter import TokenBucket


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket's size, and how many tokens it gains a second."""

    capacity: int
    refill_per_s: float


DESCRIBE = Rate(100, 20)
MUTATE = Rate(50, 5)

REQUESTS: Mapping[str, Rate] = {
    "RunInstances": Rate(5, 2),
    "TerminateInstances": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "DescribeInstances": DESCRIBE,
    "DescribeImages": DESCRIBE,
    "DescribeKeyPairs": DESCRIBE,
    "DescribeSecurityGroups": DESCRIBE,
    "ImportKeyPair": MUTATE,
    "DeleteKeyPair": MUTATE,
    "CreateSecurityGroup": MUTATE,
    "DeleteSecurityGroup": MUTATE,
    "AuthorizeSecurityGroupIngress": MUTATE,
}
"""A token a call. Operations that are not listed publish no bucket and wait for none."""

RESOURCES: Mapping[str, Rate] = {
    "RunInstances": Rate(1000, 2),
    "TerminateInstances": Rate(1000, 20),
}
"""A token an instance named in the call, beside the one for the call."""


class Limits:
    """The buckets of one account and region, each made on first use."""

    def __init__(
        self,
        *,
        requests: Mapping[str, Rate] = REQUESTS,
        resources: Mapping[str, Rate] = RESOURCES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._rates = {"request": requests, "resource": resources}
        self._clock = clock
        self._sleep = sleep
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    async def take(self, operation: str, instances: int = 0) -> None:
        """Wait until EC2 would let this call through, and count it."""
        # Instances first: one of the few tokens for calls is not held while waiting for many of the others.
        if instances and (bucket := self._bucket("resource", operation)):
            await bucket.acquire(instances)
        if bucket := self._bucket("request", operation):
            await bucket.acquire()

    def slow_down(self, operation: str) -> None:
        """EC2 said no: somebody else used the tokens that our own count still holds."""
        # The reply does not tell which bucket was empty. Calls refill in seconds; a wrong guess at the instances'
        # bucket would stop launches for minutes, where the caller's backoff finds out by trying.
        if bucket := self._bucket("request", operation):
            bucket.drain()

    def level(self, operation: str) -> float | None:
        """Calls that could be made at once, or ``None`` where none are counted."""
        bucket = self._bucket("request", operation)
        return bucket.level if bucket else None

    def _bucket(self, kind: str, operation: str) -> TokenBucket | None:
        rate = self._rates[kind].get(operation)
        if rate is None:
            return None
        if (kind, operation) not in self._buckets:
            made = TokenBucket(rate.capacity, rate.refill_per_s, clock=self._clock, sleep=self._sleep)
            self._buckets[kind, operation] = made
        return self._buckets[kind, operation]
