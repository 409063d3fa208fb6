"""Token buckets by a clock that stands where the test puts it."""

from __future__ import annotations

import pytest

from ogc_async.sandbox.ec2.buckets import Buckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(buckets: Buckets, operation: str, *, is_filtered: bool = False) -> int:
    """How many calls go through at once."""
    count = 0
    while buckets.take_request(operation, is_filtered=is_filtered):
        count += 1
    return count


@pytest.mark.parametrize(
    ("operation", "is_filtered", "size", "per_second"),
    [
        ("RunInstances", False, 5, 2),
        ("TerminateInstances", False, 100, 5),
        ("DescribeInstances", True, 100, 20),
        ("DescribeInstances", False, 50, 10),
        ("DescribeImages", False, 100, 20),
        ("CreateTags", False, 100, 10),
        ("ImportKeyPair", False, 50, 5),
        ("AuthorizeSecurityGroupIngress", False, 50, 5),
    ],
)
def test_each_operation_has_its_published_bucket(
    clock: Clock, operation: str, is_filtered: bool, size: int, per_second: int
) -> None:
    buckets = Buckets(clock)
    assert taken(buckets, operation, is_filtered=is_filtered) == size
    clock.now += 2
    assert taken(buckets, operation, is_filtered=is_filtered) == 2 * per_second
    clock.now += 1e6
    assert taken(buckets, operation, is_filtered=is_filtered) == size


def test_machines_have_a_bucket_of_their_own(clock: Clock) -> None:
    buckets = Buckets(clock)
    assert buckets.take_resources("RunInstances", 1000)
    assert not buckets.take_resources("RunInstances", 1)
    clock.now += 5
    assert not buckets.take_resources("RunInstances", 11)
    assert buckets.take_resources("RunInstances", 10)
    assert buckets.take_resources("CreateTags", 10**6)
