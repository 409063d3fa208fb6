from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from ogc_async.aio.buckets import LATE_S, TokenBucket
from ogc_async.errors import NoCapacity, NotFound, ServiceUnavailable, SettingsError, Throttled, Unauthorized
from ogc_async.providers.aws.client import AwsClient, client_config, open_session
from ogc_async.providers.aws.limits import Limits
from ogc_async.settings import Settings
from tests.unit.providers.aws.conftest import Open
from tests.unit.providers.aws.script import PREPARED, Script, Time, described, launch_request, refusal, settings

LOST = ReadTimeoutError(endpoint_url="https://ec2")
BUSY = refusal("RequestLimitExceeded", status=503)


async def test_a_repeat_after_a_lost_reply_is_the_same_call(open_with: Open) -> None:
    script = Script(RunInstances=[LOST, LOST, {"Instances": [described(each) for each in range(3)]}])
    answers = await open_with(script).launch(launch_request(), PREPARED)
    assert len(answers) == 3
    first, *repeats = script.of("RunInstances")
    assert repeats == [first, first]


async def test_a_lack_of_capacity_is_not_repeated_in_place(open_with: Open) -> None:
    script = Script(RunInstances=refusal("InsufficientInstanceCapacity", status=500))
    with pytest.raises(NoCapacity) as caught:
        await open_with(script).launch(launch_request(), PREPARED)
    assert len(script.calls) == 1
    assert not caught.value.retryable


async def test_throttling_is_outwaited_and_then_told(open_with: Open, time: Time) -> None:
    script = Script(RunInstances=[BUSY, BUSY, {"Instances": [described(0)]}])
    await open_with(script).launch(launch_request(names=("a",)), PREPARED)
    assert len(script.calls) == 3
    always = Script(DescribeInstances=BUSY)
    with pytest.raises(Throttled) as caught:
        await open_with(always).list_owned("adam")
    assert caught.value.retryable
    assert 30 < time.now < 200


async def test_a_throttled_reply_empties_the_bucket(time: Time) -> None:
    limits = Limits(requests={"DescribeInstances": TokenBucket(100, 20)}, clock=time.clock, sleep=time.sleep)
    assert limits.level("DescribeInstances") == 100
    await limits.slow_down("DescribeInstances")
    assert limits.level("DescribeInstances") == 0
    assert limits.level("DescribeSomethingElse") is None


async def test_launches_wait_for_a_token_a_call_and_one_an_instance(time: Time) -> None:
    limits = Limits(clock=time.clock, sleep=time.sleep)
    for _ in range(5):
        await limits.take("RunInstances", 100)
    assert time.now == 0
    await limits.take("RunInstances", 100)
    assert time.now == pytest.approx(LATE_S + 0.5)
    for _ in range(4):
        await limits.take("RunInstances", 100)
    await limits.take("RunInstances", 100)
    assert time.now > 45


async def test_a_key_pair_made_just_now_is_waited_for(open_with: Open) -> None:
    script = Script(RunInstances=[refusal("InvalidKeyPair.NotFound"), {"Instances": [described(0)]}])
    answers = await open_with(script).launch(launch_request(names=("a",)), PREPARED)
    assert len(answers) == 1


async def test_a_firewall_that_stays_unknown_is_an_error_soon(open_with: Open, time: Time) -> None:
    script = Script(RunInstances=refusal("InvalidGroup.NotFound"))
    with pytest.raises(NotFound) as caught:
        await open_with(script).launch(launch_request(), PREPARED)
    assert not caught.value.retryable
    assert time.now < 60


async def test_calls_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0

    class Slow:
        async def describe_vpcs(self) -> dict[str, object]:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return {}

    async def open_client(_client: AwsClient, _service: str) -> Slow:
        return Slow()

    monkeypatch.setattr(AwsClient, "_open", open_client)
    client = AwsClient(settings(ogc_max_api_calls=4), "us-east-2")
    await asyncio.gather(*(client.call("DescribeVpcs") for _ in range(50)))
    assert most == 4


async def test_a_call_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        async def describe_vpcs(self) -> None:
            await asyncio.Event().wait()

    async def open_client(_client: AwsClient, _service: str) -> Silent:
        return Silent()

    monkeypatch.setattr(AwsClient, "_open", open_client)
    client = AwsClient(settings(ogc_api_timeout_s=0.01, ogc_api_retry_s=0.001), "us-east-2", rng=lambda: 1.0)
    with pytest.raises(ServiceUnavailable):
        await client.call("DescribeVpcs")


async def test_pages_follow_their_token_to_the_end(open_with: Open) -> None:
    def page(number: int, token: str | None) -> dict[str, object]:
        reply: dict[str, object] = {"Reservations": [{"Instances": [described(number)]}]}
        return reply | ({"NextToken": token} if token else {})

    script = Script(DescribeInstances=[page(0, "a"), page(1, "b"), page(2, None)])
    assert len(await open_with(script).list_owned("adam")) == 3
    assert [call.get("NextToken") for call in script.of("DescribeInstances")] == [None, "a", "b"]


def test_botocore_makes_one_attempt_and_keeps_many_connections() -> None:
    config = client_config(settings(ogc_api_timeout_s=5))
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}
    assert config.max_pool_connections >= 50
    assert (config.connect_timeout, config.read_timeout) == (5, 5)


async def test_two_clients_of_one_process_share_a_session() -> None:
    assert open_session(settings()) is open_session(settings(aws_access_key_id="other"))


async def test_a_profile_that_is_nowhere_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_aws_at(monkeypatch, tmp_path, "")
    client = AwsClient(profile_settings("absent-profile"), "us-east-2")
    with pytest.raises(SettingsError, match="AWS_PROFILE names 'absent-profile'"):
        await client.call("DescribeVpcs")


async def test_a_profile_without_keys_is_not_completed_by_a_metadata_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_aws_at(monkeypatch, tmp_path, "[profile keyless]\nregion = us-east-2\n")
    chosen = profile_settings("keyless")
    methods = [provider.METHOD for provider in open_session(chosen).get_component("credential_provider").providers]
    assert not {"iam-role", "container-role"} & set(methods)
    client = AwsClient(chosen, "us-east-2")
    with pytest.raises(Unauthorized, match="no usable credentials"):
        await client.call("DescribeVpcs")
    await client.aclose()


async def test_nothing_secret_is_logged_or_shown(caplog: pytest.LogCaptureFixture, open_with: Open) -> None:
    caplog.set_level(logging.DEBUG, logger="ogc_async")
    script = Script(
        GetParameters=refusal("AccessDeniedException", status=400),
        DescribeImages={"Images": [{"ImageId": "ami-1", "Name": "x", "CreationDate": "2026"}]},
        ImportKeyPair={"KeyName": "k"},
        CreateSecurityGroup={"GroupId": "sg-1"},
        AuthorizeSecurityGroupIngress={},
    )
    provider = open_with(script)
    await provider.prepare(launch_request())
    request = launch_request()
    assert request.public_key not in caplog.text + repr(provider) + repr(request)


async def test_no_region_of_that_spelling_is_a_clear_error() -> None:
    client = AwsClient(settings(aws_endpoint_url="http://127.0.0.1:1"), "us east 2")
    with pytest.raises(SettingsError, match="'us east 2' is not a region's name"):
        await client.call("DescribeVpcs")


async def test_closing_twice_is_fine() -> None:
    client = AwsClient(settings(aws_endpoint_url="http://127.0.0.1:1", ogc_api_retry_s=0.001), "us-east-2")
    with pytest.raises(ServiceUnavailable):
        await client.call("DescribeVpcs")
    await client.aclose()
    await client.aclose()


def profile_settings(name: str) -> Settings:
    return settings(
        aws_access_key_id=None,
        aws_secret_access_key=None,
        aws_profile=name,
        aws_endpoint_url="http://127.0.0.1:1",
        ogc_api_retry_s=0.001,
    )


def point_aws_at(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
