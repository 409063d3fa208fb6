"""One conversation with the sandbox and with moto, which others wrote: both answer alike, by boto3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cloud import Cloud
from tests.integration.aws.moto_server import running_moto
from tests.integration.sandbox.conftest import client_of
from tests.integration.sandbox.test_boto3 import QUICK

Outcome = dict[str, Any]


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-2"}
    with running_moto() as url:
        yield lambda service: boto3.client(service, endpoint_url=url, **keys)


def code(call: Any, **values: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**values)
    return str(caught.value.response["Error"]["Code"])


def states(reply: dict[str, Any]) -> list[tuple[str, int]]:
    """Names and codes of the states before; moto is through with the change when it answers."""
    [found] = [reply[name] for name in reply if name.endswith("Instances")]
    return [(each["PreviousState"]["Name"], each["PreviousState"]["Code"]) for each in found]


def is_kept(ec2: Any, wanted: dict[str, Any], device: str) -> bool:
    """That disk outlives the machine. moto shows no other one beside it."""
    [machine] = ec2.describe_instances(**wanted)["Reservations"][0]["Instances"]
    disks = {each["DeviceName"]: each["Ebs"] for each in machine["BlockDeviceMappings"]}
    return not disks[device]["DeleteOnTermination"]


def conversation(ec2: Any) -> Outcome:
    """A machine's stops and starts, its volumes, and questions about what is not there."""
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]["ImageId"]
    data = [{"DeviceName": "/dev/sdh", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": False}}]
    asked = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "BlockDeviceMappings": data}
    [machine] = ec2.run_instances(**asked)["Instances"]
    wanted = {"InstanceIds": [machine["InstanceId"]]}
    ec2.get_waiter("instance_running").wait(**wanted, WaiterConfig=QUICK)
    mine = [{"Name": "attachment.instance-id", "Values": wanted["InstanceIds"]}]
    volume = next(each for each in ec2.describe_volumes(Filters=mine)["Volumes"] if each["Size"] == 3)
    outcome: Outcome = {
        "volume": (volume["State"], volume["Attachments"][0]["Device"], volume["Attachments"][0]["State"]),
        "kept": is_kept(ec2, wanted, "/dev/sdh"),
        "delete in use": code(ec2.delete_volume, VolumeId=volume["VolumeId"]),
        "stop": states(ec2.stop_instances(**wanted)),
    }
    ec2.get_waiter("instance_stopped").wait(**wanted, WaiterConfig=QUICK)
    [stopped] = ec2.describe_instances(**wanted)["Reservations"][0]["Instances"]
    outcome["stopped"] = (stopped["State"], stopped["StateReason"]["Code"], "PublicIpAddress" in stopped)
    outcome["start"] = states(ec2.start_instances(**wanted))
    ec2.get_waiter("instance_running").wait(**wanted, WaiterConfig=QUICK)
    outcome["reboot"] = ec2.reboot_instances(**wanted)["ResponseMetadata"]["HTTPStatusCode"]
    ec2.terminate_instances(**wanted)
    ec2.get_waiter("instance_terminated").wait(**wanted, WaiterConfig=QUICK)
    nobody, nothing = "i-00000000000000000", "vol-00000000000000000"
    outcome["unknown"] = [code(call, InstanceIds=[nobody]) for call in (ec2.stop_instances, ec2.start_instances)]
    outcome["unknown volume"] = [
        code(ec2.delete_volume, VolumeId=nothing),
        code(ec2.describe_volumes, VolumeIds=[nothing]),
    ]
    return outcome


def test_stops_starts_and_volumes_are_alike(outside: Cloud, moto: Any) -> None:
    assert conversation(client_of(outside)) == conversation(moto("ec2"))


def test_a_callers_identity_has_the_same_members(outside: Cloud, moto: Any) -> None:
    here, there = (sts.get_caller_identity() for sts in (client_of(outside, "sts"), moto("sts")))
    assert here.keys() == there.keys()
    assert len(here["Account"]) == len(there["Account"]) == 12
    # moto's user is one of STS; the API reference's example is one of IAM.
    assert here["Arn"].split(":")[4] == here["Account"]


def test_an_images_mapping_has_the_same_members(outside: Cloud, moto: Any) -> None:
    def members(ec2: Any) -> set[str]:
        image = ec2.describe_images(Filters=[{"Name": "root-device-type", "Values": ["ebs"]}])["Images"][0]
        [root, *_] = image["BlockDeviceMappings"]
        return {"DeviceName", "Ebs"} & set(root) | set(root["Ebs"])

    assert members(client_of(outside)) <= members(moto("ec2")) | {"Encrypted"}
