"""EC2's buckets: what a refusal says of which, and whose they are."""

from __future__ import annotations

import pytest

from ogc_async.aio.buckets import SAME_MOMENT_S
from ogc_async.providers.aws.limits import REQUESTS, RESOURCES, Limits, account_of, place_of
from ogc_async.sandbox.ec2 import buckets as published
from tests.unit.providers.aws.script import Time, settings

LAUNCH = "RunInstances"


@pytest.fixture
def limits(time: Time) -> Limits:
    time.now = 1000.0
    return Limits(clock=time.clock, sleep=time.sleep)


async def seconds_of(limits: Limits, time: Time, instances: int) -> float:
    """How long a launch of so many machines waits now."""
    before = time.now
    await limits.take(LAUNCH, instances)
    return time.now - before


def test_the_figures_are_those_that_the_sandbox_has_from_the_same_page() -> None:
    for operation, rate in published.RESOURCES.items():
        if operation in RESOURCES:
            assert (RESOURCES[operation].capacity, RESOURCES[operation].refill_per_s) == (
                rate.capacity,
                rate.refill_per_s,
            )
    for operation in (LAUNCH, "TerminateInstances", "CreateTags"):
        bucket, rate = REQUESTS[operation], published.REQUESTS[operation]
        assert (bucket.capacity, bucket.refill_per_s) == (rate.capacity, rate.refill_per_s)


async def test_a_refused_call_costs_no_instances(limits: Limits, time: Time) -> None:
    await limits.take(LAUNCH, 1000)
    await limits.slow_down(LAUNCH, 1000)
    assert await seconds_of(limits, time, 1000) < 2


async def test_a_refusal_in_spite_of_a_slower_pace_speaks_of_the_instances(limits: Limits, time: Time) -> None:
    await limits.take(LAUNCH, 100)
    await limits.slow_down(LAUNCH, 100)
    assert await seconds_of(limits, time, 100) < 2
    time.now += SAME_MOMENT_S
    await limits.slow_down(LAUNCH, 100)
    # Half of them are believed to be there, and two come back a second.
    assert 20 < await seconds_of(limits, time, 100) < 30


async def test_a_refusal_that_names_the_calls_never_does(limits: Limits, time: Time) -> None:
    said = "Request limit exceeded. Account 1 has been throttled on ec2:X because it exceeded its request rate limit."
    for _ in range(3):
        await limits.take(LAUNCH, 100)
        time.now += SAME_MOMENT_S
        await limits.slow_down(LAUNCH, 100, message=said)
    assert await seconds_of(limits, time, 100) < 10


async def test_the_published_pace_comes_back_a_minute_after_the_last_refusal(limits: Limits, time: Time) -> None:
    await limits.slow_down(LAUNCH)
    await limits.take(LAUNCH)
    assert await seconds_of(limits, time, 0) == pytest.approx(1, abs=0.1)
    time.now += 60
    for _ in range(5):
        await limits.take(LAUNCH)
    assert await seconds_of(limits, time, 0) == pytest.approx(0.7, abs=0.01)


def test_an_access_key_tells_its_account_where_it_carries_it() -> None:
    assert account_of("ASIAQNZGKIQY56JQ7WML") == "029608264753"
    for untold in ("AKIAIOSFODNN7EXAMPLE", "SANDBOXACCESSKEY01", "ASIAQNZGKIQY56JQ7WM1", "key"):
        assert account_of(untold) == untold


def test_whose_limits_they_are_depends_on_account_endpoint_and_region_and_tells_no_key() -> None:
    mine = place_of(settings(aws_access_key_id="ASIAQNZGKIQY56JQ7WML"), "us-east-2")
    assert mine == place_of(settings(aws_access_key_id="ASIAQNZGKIQY56JQ7WML"), "us-east-2")
    others = [
        place_of(settings(aws_access_key_id="other"), "us-east-2"),
        place_of(settings(aws_access_key_id=None, aws_profile="work"), "us-east-2"),
        place_of(settings(aws_access_key_id="ASIAQNZGKIQY56JQ7WML"), "eu-west-1"),
        place_of(settings(aws_access_key_id="ASIAQNZGKIQY56JQ7WML", aws_endpoint_url="http://127.0.0.1"), "us-east-2"),
    ]
    assert len({mine, *others}) == 5
    assert not any("ASIA" in part or "0296" in part for part in mine)
