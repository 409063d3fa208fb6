"""EC2's token buckets, as published for an account, a region and an API each.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/throttling.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a bucket holds at most, and tokens it gains a second."""

    capacity: float
    refill_per_s: float


DESCRIBE = Rate(100, 20)
UNFILTERED = Rate(50, 10)
MUTATING = Rate(50, 5)
RUN_INSTANCES = Rate(5, 2)
TAGGING = Rate(100, 10)
TERMINATE_INSTANCES = Rate(100, 5)

REQUESTS = {
    "RunInstances": RUN_INSTANCES,
    "StartInstances": RUN_INSTANCES,
    "TerminateInstances": TERMINATE_INSTANCES,
    "CreateTags": TAGGING,
    "DeleteTags": TAGGING,
}

RESOURCES = {
    "RunInstances": Rate(1000, 2),
    "StartInstances": Rate(1000, 2),
    "StopInstances": Rate(1000, 20),
    "TerminateInstances": Rate(1000, 20),
}

FILTERABLE = {"DescribeInstances", "DescribeInstanceStatus", "DescribeSecurityGroups", "DescribeVolumes"}


class Bucket:
    """Tokens that come back with time."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = rate.capacity
        self._at = clock()

    def take(self, count: float = 1) -> bool:
        """Take that many tokens, or none."""
        now = self._clock()
        self._tokens = min(self._rate.capacity, self._tokens + (now - self._at) * self._rate.refill_per_s)
        self._at = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class Buckets:
    """One region's buckets, made as they are needed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take_request(self, operation: str, *, is_filtered: bool) -> bool:
        """Take a token for one call."""
        if operation in FILTERABLE and not is_filtered:
            return self._bucket("unfiltered", operation, UNFILTERED).take()
        is_reading = operation.startswith(("Describe", "Get"))
        rate = REQUESTS.get(operation, DESCRIBE if is_reading else MUTATING)
        return self._bucket("request", operation, rate).take()

    def take_resources(self, operation: str, count: int) -> bool:
        """Take a token for each machine that a call is about."""
        rate = RESOURCES.get(operation)
        return rate is None or self._bucket("resource", operation, rate).take(count)

    def _bucket(self, kind: str, operation: str, rate: Rate) -> Bucket:
        return self._buckets.setdefault((kind, operation), Bucket(rate, self._clock))
