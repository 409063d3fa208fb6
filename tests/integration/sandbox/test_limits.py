"""Where EC2 hurts, the sandbox does: rights, request limits, capacity, quotas, lag, late deaths, lost replies."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asyncssh import generate_private_key
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.conftest import client_of
from tests.timing import patiently

Start = Callable[..., Cloud]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts sandboxes of the test's own."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running_sandbox("--boot", "0.05", *options))


def run(cloud: Cloud, count: int = 1, **values: Any) -> list[dict[str, Any]]:
    path = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    image = client_of(cloud, "ssm").get_parameter(Name=path)["Parameter"]["Value"]
    asked = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": count} | values
    launched: list[dict[str, Any]] = client_of(cloud).run_instances(**asked)["Instances"]
    return launched


def refusal(call: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def zone(letter: str) -> dict[str, Any]:
    return {"Placement": {"AvailabilityZone": f"us-east-2{letter}"}}


def test_wrong_credentials_are_refused_and_change_nothing(shared_cloud: Cloud) -> None:
    wrong_id = client_of(shared_cloud, aws_access_key_id="SOMEBODYELSE")
    assert refusal(wrong_id.describe_regions) == ("AuthFailure", 401)
    wrong_secret = client_of(shared_cloud, aws_secret_access_key="guess")
    assert refusal(wrong_secret.describe_regions) == ("SignatureDoesNotMatch", 403)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{shared_cloud.endpoint}/?Action=DescribeRegions&Version=2016-11-15", timeout=30)


def test_an_operation_can_be_denied(start: Start) -> None:
    cloud = start("--deny", "RunInstances")
    assert refusal(lambda: run(cloud)) == ("UnauthorizedOperation", 403)
    assert cloud.instances() == []


def test_a_sixth_launch_at_once_is_throttled_and_a_seventh_machine_is_not(start: Start) -> None:
    # The clock stands nearly still, so that no token comes back while the test runs.
    cloud = start("--time-scale", "0.000001")
    for _ in range(5):
        run(cloud, 10)
    assert refusal(lambda: run(cloud)) == ("RequestLimitExceeded", 503)
    assert len(cloud.instances()) == 50
    assert cloud.state()["calls"]["aws"]["RunInstances"] == {"calls": 6, "refused": 1}


def test_a_thousand_machines_use_up_the_tokens_for_machines(start: Start) -> None:
    cloud = start("--time-scale", "0.000001")
    run(cloud, 990)
    assert refusal(lambda: run(cloud, 11)) == ("RequestLimitExceeded", 503)
    assert len(run(cloud, 10)) == 10


def test_descriptions_without_a_filter_have_a_smaller_bucket(start: Start) -> None:
    cloud = start("--time-scale", "0.000001")
    ec2 = client_of(cloud)
    for _ in range(50):
        ec2.describe_instances()
    assert refusal(ec2.describe_instances) == ("RequestLimitExceeded", 503)
    assert ec2.describe_instances(MaxResults=5)["Reservations"] == []


def test_a_zone_gives_what_it_has_and_then_nothing(start: Start) -> None:
    cloud = start("--capacity", "us-east-2a=3", "--capacity", "us-east-2b=0", "--capacity", "us-east-2c=0")
    assert len(run(cloud, 5, **zone("a"))) == 3
    assert refusal(lambda: run(cloud, 5, **zone("a"))) == ("InsufficientInstanceCapacity", 500)
    assert refusal(lambda: run(cloud, 2, MinCount=2)) == ("InsufficientInstanceCapacity", 500)


def test_a_token_is_bound_by_an_attempt_that_found_no_room(start: Start) -> None:
    cloud = start("--capacity", "us-east-2a=0")
    assert refusal(lambda: run(cloud, 2, ClientToken="t", **zone("a"))) == ("InsufficientInstanceCapacity", 500)
    assert refusal(lambda: run(cloud, 1, ClientToken="t", **zone("a"))) == ("IdempotentParameterMismatch", 400)


def test_the_quota_bounds_the_region(start: Start) -> None:
    cloud = start("--quota", "4")
    assert len(run(cloud, 10)) == 4
    assert refusal(lambda: run(cloud)) == ("InstanceLimitExceeded", 400)
    assert len(run_in(cloud, "eu-west-1")) == 1


def run_in(cloud: Cloud, region: str) -> list[dict[str, Any]]:
    ec2 = client_of(cloud, region_name=region)
    of_x86 = [{"Name": "architecture", "Values": ["x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=of_x86)["Images"][0]
    launched: list[dict[str, Any]] = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1
    )["Instances"]
    return launched


def test_a_young_machine_is_not_known_everywhere(start: Start) -> None:
    cloud = start("--lag", "1000000")
    [launched] = run(cloud)
    ec2 = client_of(cloud)
    wanted = {"InstanceIds": [launched["InstanceId"]]}
    assert refusal(lambda: ec2.describe_instances(**wanted)) == ("InvalidInstanceID.NotFound", 400)
    assert refusal(lambda: ec2.terminate_instances(**wanted)) == ("InvalidInstanceID.NotFound", 400)
    by_state = [{"Name": "instance-state-name", "Values": ["pending"]}]
    assert ec2.describe_instances(Filters=by_state)["Reservations"] == []
    assert len(cloud.instances()) == 1


def test_a_machine_may_die_while_it_boots(start: Start) -> None:
    cloud = start("--late-deaths", "1")
    [launched] = run(cloud)
    ec2 = client_of(cloud)
    ended = [{"Name": "instance-state-name", "Values": ["terminated"]}]
    for _ in patiently("a machine that has ended"):
        if found := ec2.describe_instances(Filters=ended)["Reservations"]:
            break
    [seen] = found[0]["Instances"]
    assert seen["InstanceId"] == launched["InstanceId"]
    assert seen["StateReason"]["Code"] == "Server.InsufficientInstanceCapacity"


def test_a_reply_may_be_lost_and_the_machine_be_there(start: Start) -> None:
    cloud = start("--fault", "RunInstances=lost-reply")
    with pytest.raises((ConnectionClosedError, EndpointConnectionError, HTTPClientError)):
        run(cloud, 2, ClientToken="once")
    first = {each["id"] for each in cloud.instances()}
    assert len(first) == 2
    assert {each["InstanceId"] for each in run(cloud, 2, ClientToken="once")} == first


def test_faults_are_planned_over_the_admin_page(start: Start) -> None:
    cloud = start()
    assert cloud.plan("RunInstances=VcpuLimitExceeded", "RunInstances=unavailable") == 2
    assert refusal(lambda: run(cloud)) == ("VcpuLimitExceeded", 400)
    assert refusal(lambda: run(cloud)) == ("Unavailable", 503)
    assert len(run(cloud)) == 1
    with pytest.raises(urllib.error.HTTPError, match="400"):
        cloud.plan("nonsense")
    for bad in ("nonsense", "{"):
        headers = {"X-Sandbox-Token": cloud.environment["SANDBOX_TOKEN"]}
        request = urllib.request.Request(f"{cloud.endpoint}/_sandbox/faults", bad.encode(), headers)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=30)


def test_an_outage_refuses_every_call_for_its_time(start: Start) -> None:
    cloud = start("--time-scale", "0.000001")
    plan(cloud, "outage=1")
    for call in (lambda: run(cloud), client_of(cloud).describe_instances, client_of(cloud).describe_key_pairs):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 503)
    assert cloud.state()["faults"]["aws"] == {"unavailable": 3}
    assert cloud.instances() == []


def test_an_outage_that_is_over_or_still_to_come_refuses_nothing(start: Start) -> None:
    cloud = start("--outage", "0:0", "--outage", "1000000:1", "--cut", "1000000:1")
    assert len(run(cloud)) == 1


def test_a_cut_breaks_every_connection_and_nothing_takes_effect(start: Start) -> None:
    cloud = start("--cut", "0:1000000")
    for call in (
        client_of(cloud).describe_instances,
        lambda: client_of(cloud).import_key_pair(KeyName="x", PublicKeyMaterial=b"x"),
    ):
        with pytest.raises((ConnectionClosedError, EndpointConnectionError, HTTPClientError)):
            call()
    assert cloud.state()["key_pairs"] == []


def test_a_call_that_is_carried_out_twice_launches_once_under_its_token(start: Start) -> None:
    cloud = start()
    plan(cloud, "RunInstances=twice", "TerminateInstances=twice")
    launched = run(cloud, 2, ClientToken="once")
    assert len(cloud.instances()) == len(launched) == 2
    client_of(cloud).terminate_instances(InstanceIds=[each["InstanceId"] for each in launched])
    plan(cloud, "ImportKeyPair=twice")
    assert refusal(lambda: import_key(cloud)) == ("InvalidKeyPair.Duplicate", 400)
    assert cloud.state()["key_pairs"] == ["twice"]


def test_all_calls_may_be_carried_out_twice_or_refused_for_their_rate(start: Start) -> None:
    cloud = start("--duplicates", "1")
    run(cloud, 2, ClientToken="once")
    assert len(cloud.instances()) == 2
    busy = client_of(start("--throttling", "DescribeInstances=1"))
    assert refusal(busy.describe_instances) == ("RequestLimitExceeded", 503)
    assert busy.describe_regions()["Regions"]


def test_young_tags_are_in_the_launchs_reply_and_in_no_description_yet(start: Start) -> None:
    cloud = start("--tag-lag", "1000000")
    tags = [{"Key": "colour", "Value": "red"}]
    [launched] = run(cloud, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    assert launched["Tags"] == tags
    client = client_of(cloud)
    [reservation] = client.describe_instances()["Reservations"]
    assert reservation["Instances"][0]["InstanceId"] == launched["InstanceId"]
    assert reservation["Instances"][0]["Tags"] == []
    assert client.describe_instances(Filters=[{"Name": "tag:colour", "Values": ["red"]}])["Reservations"] == []
    assert client.describe_tags()["Tags"] == []


def test_slow_calls_take_their_time_by_the_sandboxs_clock(start: Start) -> None:
    cloud = start("--slowness", "600:900", "--time-scale", "1000")
    before = cloud.state()["now"]
    client_of(cloud).describe_regions()
    assert cloud.state()["now"] - before >= 600


def import_key(cloud: Cloud) -> None:
    material = generate_private_key("ssh-ed25519").export_public_key()
    client_of(cloud).import_key_pair(KeyName="twice", PublicKeyMaterial=material)


def plan(cloud: Cloud, *faults: str) -> None:
    assert cloud.plan(*faults) == len(faults)


def test_the_same_seed_gives_the_same_world(start: Start) -> None:
    def world(seed: str) -> list[tuple[str, float]]:
        cloud = start("--seed", seed, "--boot", "0.1:0.9")
        run(cloud, 5)
        return [(each["id"], each["boot_seconds"]) for each in cloud.instances()]

    assert world("7") == world("7") != world("8")
