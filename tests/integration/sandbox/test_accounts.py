"""Several accounts of one pretend EC2: nothing of the one is seen, changed or ended with the keys of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.conftest import client_of
from tests.integration.sandbox.test_boto3 import refusal


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_sandbox("--boot", "0", "--no-ssh", "--no-limits", "--accounts", "3") as cloud:
        yield cloud


def client(cloud: Cloud, account: int, service: str = "ec2", **values: Any) -> Any:
    prefix = "" if account == 1 else f"SANDBOX_{account}_"
    keys = {
        "aws_access_key_id": cloud.environment[f"{prefix}AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": cloud.environment[f"{prefix}AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": cloud.environment.get(f"{prefix}AWS_SESSION_TOKEN"),
    }
    return client_of(cloud, service, **(keys | values))


def refused(call: Any, **values: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**values)
    return refusal(caught)


def launch(ec2: Any) -> dict[str, Any]:
    images = ec2.describe_images(Filters=[{"Name": "name", "Values": ["al2023-ami-2*x86_64"]}])["Images"]
    reply: dict[str, Any] = ec2.run_instances(
        ImageId=images[0]["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1
    )
    return reply


def test_sts_tells_whose_keys_these_are(cloud: Cloud) -> None:
    told = [client(cloud, place, "sts").get_caller_identity() for place in (1, 2, 3)]
    numbers = [each["Account"] for each in told]
    assert numbers == ["000000000000", "000000000002", "000000000003"]
    assert [each["Arn"] for each in told] == [f"arn:aws:iam::{number}:user/sandbox" for number in numbers]
    assert len({each["UserId"] for each in told}) == 3
    assert all(each["ResponseMetadata"]["RequestId"] for each in told)
    wrong = client(cloud, 1, "sts", aws_access_key_id="SOMEBODYELSE")
    assert refused(wrong.get_caller_identity) == ("InvalidClientTokenId", 403)
    assert refused(client(cloud, 1, "sts").get_session_token) == ("InvalidAction", 400)


def test_an_accounts_things_are_its_own(cloud: Cloud) -> None:
    first, second = client(cloud, 1), client(cloud, 2)
    launched = launch(first)
    wanted = {"InstanceIds": [launched["Instances"][0]["InstanceId"]]}
    assert launched["OwnerId"] == "000000000000"
    assert launch(second)["OwnerId"] == "000000000002"
    for call in (second.describe_instances, second.terminate_instances, second.stop_instances):
        assert refused(call, **wanted) == ("InvalidInstanceID.NotFound", 400)
    assert first.describe_instances(**wanted)["Reservations"]

    made = first.create_key_pair(KeyName="same")
    group = first.create_security_group(GroupName="same", Description="x")["GroupId"]
    assert second.create_key_pair(KeyName="same")["KeyPairId"] != made["KeyPairId"]
    assert second.create_security_group(GroupName="same", Description="x")["GroupId"] != group
    assert refused(second.delete_security_group, GroupId=group) == ("InvalidGroup.NotFound", 400)
    mine = first.describe_images(Owners=["self"])["Images"]
    assert {each["OwnerId"] for each in mine} == {"000000000000"}
    assert refused(second.describe_images, ImageIds=[mine[0]["ImageId"]]) == ("InvalidAMIID.NotFound", 400)
    assert {each["account"] for each in cloud.instances()} == {"000000000000", "000000000002"}
    volume = first.describe_volumes()["Volumes"][0]["VolumeId"]
    assert refused(second.describe_volumes, VolumeIds=[volume]) == ("InvalidVolume.NotFound", 400)


def test_keys_of_one_account_do_not_go_with_another_ones_secret(cloud: Cloud) -> None:
    mixed = client(cloud, 1, aws_secret_access_key=cloud.environment["SANDBOX_2_AWS_SECRET_ACCESS_KEY"])
    assert refused(mixed.describe_regions) == ("SignatureDoesNotMatch", 403)


def test_permissions_are_taken_from_all_or_from_one_account_while_it_runs(cloud: Cloud) -> None:
    first, second = client(cloud, 1), client(cloud, 2)
    cloud.plan("DescribeInstances@2=denied:lasting")
    assert refused(second.describe_instances) == ("UnauthorizedOperation", 403)
    assert first.describe_instances()["ResponseMetadata"]["HTTPStatusCode"] == 200
    cloud.plan("DescribeInstances@2=well", "DescribeInstances=denied:lasting")
    for each in (first, second):
        assert refused(each.describe_instances) == ("UnauthorizedOperation", 403)
    cloud.plan("*=well")
    assert second.describe_instances()["Reservations"]


def test_the_first_accounts_keys_may_be_over_and_be_renewed(cloud: Cloud) -> None:
    cloud.plan("expire=0")
    for service, code, status in (("ec2", "RequestExpired", 400), ("sts", "ExpiredToken", 403)):
        one = client(cloud, 1, service)
        call = one.describe_regions if service == "ec2" else one.get_caller_identity
        assert refused(call) == (code, status)
    ssm = client(cloud, 1, "ssm")
    assert refused(ssm.get_parameters, Names=["/a"]) == ("ExpiredTokenException", 400)
    assert client(cloud, 2).describe_regions()["Regions"]
    cloud.plan("expire=never")
    assert client(cloud, 1).describe_regions()["Regions"]


def test_another_accounts_answer_knows_nothing_of_ours(cloud: Cloud) -> None:
    first = client(cloud, 1)
    wanted = {"InstanceIds": [launch(first)["Instances"][0]["InstanceId"]]}
    cloud.plan("*=other-account:lasting")
    assert client(cloud, 1, "sts").get_caller_identity()["Account"] == "999999999999"
    assert first.describe_instances()["Reservations"] == []
    assert refused(first.terminate_instances, **wanted) == ("InvalidInstanceID.NotFound", 400)
    cloud.plan("*=well")
    [machine] = first.describe_instances(**wanted)["Reservations"][0]["Instances"]
    assert machine["State"]["Name"] in ("pending", "running")


def test_temporary_keys_need_their_session_token() -> None:
    with running_sandbox("--session-tokens", "--accounts", "2", "--deny", "DescribeVpcs@2") as cloud:
        for place in (1, 2):
            assert client(cloud, place).describe_regions()["Regions"]
            without = client(cloud, place, aws_session_token=None)
            assert refused(without.describe_regions) == ("AuthFailure", 401)
        another = cloud.environment["SANDBOX_2_AWS_SESSION_TOKEN"]
        assert refused(client(cloud, 1, aws_session_token=another).describe_regions) == ("AuthFailure", 401)
        assert client(cloud, 1, "sts").get_caller_identity()["Arn"].startswith("arn:aws:sts::000000000000:assumed-role")
        assert client(cloud, 1).describe_vpcs()["Vpcs"]
        assert refused(client(cloud, 2).describe_vpcs) == ("UnauthorizedOperation", 403)


def test_what_leads_to_the_first_account_comes_first_and_the_ssh_port_last(cloud: Cloud) -> None:
    names = [name for name in cloud.environment if name.startswith(("AWS_", "SANDBOX_2", "SANDBOX_3", "OGC_"))]
    assert names.index("AWS_ACCESS_KEY_ID") < names.index("SANDBOX_2_AWS_ACCESS_KEY_ID")
    assert names[-1] == "OGC_SSH_PORT"
