"""A newcomer's session with boto3: what works on EC2 works here, and answers alike."""

from __future__ import annotations

import base64
import json
from typing import Any

import asyncssh
import pytest
from botocore.exceptions import ClientError

from tests.cloud import Cloud
from tests.integration.sandbox.conftest import client_of

QUICK = {"Delay": 0.1, "MaxAttempts": 300}
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home"


def run(ec2: Any, image: str, word: str, count: int = 1, **values: Any) -> list[dict[str, Any]]:
    tags = [{"Key": "word", "Value": word}, {"Key": "Name", "Value": f"name-{word}"}]
    reply = ec2.run_instances(
        ImageId=image,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        **values,
    )
    launched: list[dict[str, Any]] = reply["Instances"]
    return launched


def by_word(word: str) -> list[dict[str, Any]]:
    return [{"Name": "tag:word", "Values": [word]}]


def ids(instances: list[dict[str, Any]]) -> list[str]:
    return [each["InstanceId"] for each in instances]


def described(ec2: Any, **values: Any) -> list[dict[str, Any]]:
    reservations = ec2.describe_instances(**values)["Reservations"]
    return [each for reservation in reservations for each in reservation["Instances"]]


def refusal(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_machines_whole_life(ec2: Any, image: str, word: str) -> None:
    ec2.import_key_pair(KeyName=word, PublicKeyMaterial=PUBLIC_KEY)
    group = ec2.create_security_group(GroupName=word, Description="for a test")["GroupId"]
    launched = run(ec2, image, word, 3, KeyName=word, SecurityGroupIds=[group], UserData="#!/bin/sh\ntrue\n")
    assert [each["State"]["Name"] for each in launched] == ["pending"] * 3
    assert [each["AmiLaunchIndex"] for each in launched] == [0, 1, 2]
    assert all("PublicIpAddress" not in each for each in launched)

    ec2.get_waiter("instance_running").wait(InstanceIds=ids(launched), WaiterConfig=QUICK)
    running = described(ec2, Filters=by_word(word))
    assert {each["InstanceId"] for each in running} == set(ids(launched))
    assert len({each["PublicIpAddress"] for each in running}) == 3
    assert {each["KeyName"] for each in running} == {word}
    assert {each["SecurityGroups"][0]["GroupName"] for each in running} == {word}
    statuses = ec2.describe_instance_status(InstanceIds=ids(launched))["InstanceStatuses"]
    assert {each["InstanceStatus"]["Status"] for each in statuses} == {"ok"}
    attribute = ec2.describe_instance_attribute(InstanceId=ids(launched)[0], Attribute="userData")
    assert base64.b64decode(attribute["UserData"]["Value"]) == b"#!/bin/sh\ntrue\n"
    volumes = ec2.describe_volumes(Filters=by_word(word))["Volumes"]
    assert {each["Attachments"][0]["InstanceId"] for each in volumes} == set(ids(launched))

    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId=group)
    assert refusal(caught) == ("DependencyViolation", 400)
    changes = ec2.terminate_instances(InstanceIds=ids(launched))["TerminatingInstances"]
    assert {each["CurrentState"]["Name"] for each in changes} == {"shutting-down"}
    assert {each["PreviousState"]["Name"] for each in changes} == {"running"}
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids(launched), WaiterConfig=QUICK)
    again = ec2.terminate_instances(InstanceIds=ids(launched))["TerminatingInstances"]
    assert {each["CurrentState"]["Name"] for each in again} == {"terminated"}
    assert {each["StateReason"]["Code"] for each in described(ec2, Filters=by_word(word))} == {
        "Client.UserInitiatedShutdown"
    }
    ec2.delete_security_group(GroupId=group)
    ec2.delete_key_pair(KeyName=word)


def test_descriptions_come_in_pages_and_each_machine_once(ec2: Any, image: str, word: str) -> None:
    launched = run(ec2, image, word, 12) + run(ec2, image, word, 1)
    paginator = ec2.get_paginator("describe_instances")
    pages = list(paginator.paginate(Filters=by_word(word), PaginationConfig={"PageSize": 5}))
    sizes = [sum(len(each["Instances"]) for each in page["Reservations"]) for page in pages]
    assert sizes == [5, 5, 3]
    seen = [each["InstanceId"] for page in pages for group in page["Reservations"] for each in group["Instances"]]
    assert sorted(seen) == sorted(ids(launched))
    ec2.terminate_instances(InstanceIds=ids(launched))


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("instance-state-name", ["pending", "running"], 3),
        ("instance-state-name", ["terminated"], 0),
        ("tag:Name", ["name-*"], 3),
        ("tag:Name", ["name-?"], 0),
        ("tag:Name", ["name-\\*"], 0),
        ("tag-key", ["word"], 3),
        ("instance-type", ["t3.*"], 3),
        ("availability-zone", ["us-east-2b"], 3),
        ("availability-zone", ["us-east-2a", "us-east-2c"], 0),
        ("architecture", ["arm64"], 0),
    ],
)
def test_filters_choose(ec2: Any, image: str, word: str, name: str, values: list[str], count: int) -> None:
    launched = run(ec2, image, word, 3, Placement={"AvailabilityZone": "us-east-2b"})
    chosen = described(ec2, Filters=[*by_word(word), {"Name": name, "Values": values}])
    assert len(chosen) == count
    ec2.terminate_instances(InstanceIds=ids(launched))


def test_a_client_token_launches_once_and_keeps_to_its_parameters(ec2: Any, image: str, word: str) -> None:
    zoned = {"Placement": {"AvailabilityZone": "us-east-2a"}, "ClientToken": word}
    first = run(ec2, image, word, 2, **zoned)
    assert ids(run(ec2, image, word, 2, **zoned)) == ids(first)
    assert {each["InstanceId"] for each in described(ec2, Filters=[{"Name": "client-token", "Values": [word]}])} == set(
        ids(first)
    )
    with pytest.raises(ClientError) as caught:
        run(ec2, image, word, 3, **zoned)
    assert refusal(caught) == ("IdempotentParameterMismatch", 400)
    # In another zone the same token is another launch.
    elsewhere = run(ec2, image, word, 2, ClientToken=word, Placement={"AvailabilityZone": "us-east-2b"})
    assert set(ids(elsewhere)).isdisjoint(ids(first))
    ec2.terminate_instances(InstanceIds=ids(first) + ids(elsewhere))
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids(first), WaiterConfig=QUICK)
    with pytest.raises(ClientError) as caught:
        run(ec2, image, word, 2, **zoned)
    assert refusal(caught) == ("IdempotentInstanceTerminated", 400)


def test_one_bad_id_and_no_machine_ends(ec2: Any, image: str, word: str) -> None:
    launched = run(ec2, image, word, 2)
    for bad, code in (
        ("i-00000000000000000", "InvalidInstanceID.NotFound"),
        ("i-nonsense", "InvalidInstanceID.Malformed"),
    ):
        with pytest.raises(ClientError) as caught:
            ec2.terminate_instances(InstanceIds=[*ids(launched), bad])
        assert refusal(caught) == (code, 400)
    ec2.modify_instance_attribute(InstanceId=ids(launched)[0], DisableApiTermination={"Value": True})
    with pytest.raises(ClientError) as caught:
        ec2.terminate_instances(InstanceIds=ids(launched))
    assert refusal(caught) == ("OperationNotPermitted", 400)
    assert {each["State"]["Name"] for each in described(ec2, Filters=by_word(word))} <= {"pending", "running"}
    ec2.modify_instance_attribute(InstanceId=ids(launched)[0], DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=ids(launched))


def test_key_pairs_are_told_apart_by_name_and_keep_their_key(ec2: Any, word: str) -> None:
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "word", "Value": word}]}]
    made = ec2.import_key_pair(KeyName=word, PublicKeyMaterial=PUBLIC_KEY, TagSpecifications=tags)
    assert made["KeyPairId"].startswith("key-")
    with pytest.raises(ClientError) as caught:
        ec2.import_key_pair(KeyName=word, PublicKeyMaterial=PUBLIC_KEY)
    assert refusal(caught) == ("InvalidKeyPair.Duplicate", 400)
    with pytest.raises(ClientError) as caught:
        ec2.import_key_pair(KeyName=f"{word}-2", PublicKeyMaterial="not a key")
    assert refusal(caught) == ("InvalidKey.Format", 400)
    [pair] = ec2.describe_key_pairs(Filters=by_word(word), IncludePublicKey=True)["KeyPairs"]
    assert (pair["KeyType"], pair["PublicKey"].split()[1]) == ("ed25519", PUBLIC_KEY.split()[1])
    ec2.delete_key_pair(KeyName=word)
    ec2.delete_key_pair(KeyName=word)
    with pytest.raises(ClientError) as caught:
        ec2.describe_key_pairs(KeyNames=[word])
    assert refusal(caught) == ("InvalidKeyPair.NotFound", 400)


def test_a_pair_made_here_hands_out_its_private_key(ec2: Any, word: str) -> None:
    for kind in ("rsa", "ed25519"):
        made = ec2.create_key_pair(KeyName=f"{word}-{kind}", KeyType=kind)
        assert "PRIVATE KEY" in made["KeyMaterial"]
        ec2.delete_key_pair(KeyPairId=made["KeyPairId"])


def test_security_groups_hold_rules_of_both_families(ec2: Any, word: str) -> None:
    group = ec2.create_security_group(GroupName=word, Description="rules")["GroupId"]
    with pytest.raises(ClientError) as caught:
        ec2.create_security_group(GroupName=word.upper(), Description="same but for capitals")
    assert refusal(caught) == ("InvalidGroup.Duplicate", 400)
    rules = [
        {
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}],
            "Ipv6Ranges": [{"CidrIpv6": "fd00::/8"}],
        },
        {"IpProtocol": "udp", "FromPort": 53, "ToPort": 60, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    ]
    added = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)["SecurityGroupRules"]
    assert len(added) == 3
    with pytest.raises(ClientError) as caught:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules[1:])
    assert refusal(caught) == ("InvalidPermission.Duplicate", 400)
    [seen] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [(each["IpProtocol"], each["FromPort"], each["ToPort"]) for each in seen["IpPermissions"]] == [
        ("tcp", 22, 22),
        ("udp", 53, 60),
    ]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules[:1])
    [seen] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [word]}])["SecurityGroups"]
    assert len(seen["IpPermissions"]) == 1
    ec2.delete_security_group(GroupId=group)
    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId=group)
    assert refusal(caught) == ("InvalidGroup.NotFound", 400)


def test_tags_are_added_found_and_taken_away(ec2: Any, image: str, word: str) -> None:
    [launched] = run(ec2, image, word)
    instance_id = launched["InstanceId"]
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "colour", "Value": f'<blue> & "{word}"'}])
    found = described(ec2, Filters=[{"Name": "tag:colour", "Values": [f'*"{word}"']}])
    assert ids(found) == [instance_id]
    tags = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance_id]}])["Tags"]
    assert {each["Key"] for each in tags} == {"Name", "colour", "word"}
    ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "colour"}])
    assert described(ec2, Filters=[{"Name": "tag:colour", "Values": ["*"]}, *by_word(word)]) == []
    with pytest.raises(ClientError) as caught:
        ec2.create_tags(Resources=["i-00000000000000000"], Tags=[{"Key": "a", "Value": "b"}])
    assert refusal(caught) == ("InvalidInstanceID.NotFound", 400)
    ec2.terminate_instances(InstanceIds=[instance_id])


def test_a_tag_has_so_many_characters_of_any_kind(ec2: Any, image: str, word: str) -> None:
    [launched] = run(ec2, image, word)
    named = {"Resources": [launched["InstanceId"]]}
    longest = {"Key": "ß" * 128, "Value": "%" * 256}
    ec2.create_tags(**named, Tags=[longest])
    [found] = described(ec2, Filters=by_word(word))
    assert longest in found["Tags"]
    for longer in ({"Key": "ß" * 129, "Value": ""}, {"Key": "k", "Value": "%" * 257}):
        with pytest.raises(ClientError, match="exceeds the maximum length") as caught:
            ec2.create_tags(**named, Tags=[longer])
        assert refusal(caught) == ("InvalidParameterValue", 400)
    ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])


def test_the_newest_image_is_found_by_parameter_and_by_name(ec2: Any, ssm: Any) -> None:
    path = "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"
    answer = ssm.get_parameters(Names=[path, "/no/such/parameter"])
    assert answer["InvalidParameters"] == ["/no/such/parameter"]
    [parameter] = answer["Parameters"]
    images = ec2.describe_images(
        Owners=["099720109477"],
        Filters=[
            {"Name": "name", "Values": ["ubuntu/images/*/ubuntu-noble-24.04-arm64-server-20*"]},
            {"Name": "architecture", "Values": ["arm64"]},
        ],
    )["Images"]
    newest = max(images, key=lambda each: each["CreationDate"])
    assert newest["ImageId"] == parameter["Value"]
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/no/such/parameter")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "ami-nonsense"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t3.enormous"}, "InvalidParameterValue"),
        ({"InstanceType": "t4g.micro"}, "InvalidParameterValue"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"Placement": {"AvailabilityZone": "us-east-2q"}}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"CpuOptions": {"CoreCount": 1}}, "UnknownParameter"),
    ],
)
def test_a_launch_that_can_not_be_is_refused(ec2: Any, image: str, change: dict[str, Any], code: str) -> None:
    asked = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1} | change
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(**asked)
    assert refusal(caught) == (code, 400)
    assert ec2.describe_regions()["Regions"]


def test_a_dry_run_changes_nothing(ec2: Any, image: str, word: str) -> None:
    with pytest.raises(ClientError) as caught:
        run(ec2, image, word, DryRun=True)
    assert refusal(caught) == ("DryRunOperation", 412)
    assert described(ec2, Filters=by_word(word)) == []


def test_ids_and_pages_do_not_go_together(ec2: Any, image: str, word: str) -> None:
    launched = run(ec2, image, word)
    with pytest.raises(ClientError) as caught:
        ec2.describe_instances(InstanceIds=ids(launched), MaxResults=5)
    assert refusal(caught) == ("InvalidParameterCombination", 400)
    for size in (4, 1001):
        with pytest.raises(ClientError) as caught:
            ec2.describe_instances(MaxResults=size)
        assert refusal(caught) == ("InvalidParameterValue", 400)
    with pytest.raises(ClientError) as caught:
        ec2.describe_instances(Filters=[{"Name": "no-such-filter", "Values": ["x"]}])
    assert refusal(caught) == ("InvalidParameterValue", 400)
    ec2.terminate_instances(InstanceIds=ids(launched))


def test_places_are_described(ec2: Any) -> None:
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [each["AvailabilityZone"] for each in subnets] == [each["ZoneName"] for each in zones]
    assert "us-east-2" in {each["RegionName"] for each in ec2.describe_regions()["Regions"]}


def console_of(ec2: Any, instance_ids: list[str]) -> list[str]:
    """The line with the host key on each console, once the machine is up."""
    ec2.get_waiter("instance_running").wait(InstanceIds=instance_ids, WaiterConfig=QUICK)
    shown: list[str] = []
    for each in instance_ids:
        output = ec2.get_console_output(InstanceId=each)["Output"].split("\r\n")
        shown.append(output[output.index("-----BEGIN SSH HOST KEY KEYS-----") + 1])
    return shown


def test_the_console_shows_the_host_key_once_the_machine_is_up(ec2: Any, image: str, word: str) -> None:
    launched = ids(run(ec2, image, word, 2))
    one, other = console_of(ec2, launched)
    assert one.startswith("ssh-ed25519 ")
    assert one != other
    ec2.terminate_instances(InstanceIds=launched)


def test_a_cloud_config_s_host_key_is_that_of_every_machine_of_the_call(ec2: Any, image: str, word: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    private = json.dumps(key.export_private_key().decode())
    config = f"#cloud-config\nruncmd: [ls]\nssh_keys: {{ed25519_private: {private}}}\n"
    launched = ids(run(ec2, image, word, 2, UserData=config))
    assert console_of(ec2, launched) == [key.export_public_key().decode().strip()] * 2
    ec2.terminate_instances(InstanceIds=launched)


def test_an_account_uses_the_regions_that_it_has_opted_in_to(outside: Cloud, ec2: Any) -> None:
    enabled = {each["RegionName"]: each["OptInStatus"] for each in ec2.describe_regions()["Regions"]}
    assert set(enabled.values()) == {"opt-in-not-required", "opted-in"}
    rest = {each["RegionName"] for each in ec2.describe_regions(AllRegions=True)["Regions"]} - set(enabled)
    by_status = [{"Name": "opt-in-status", "Values": ["not-opted-in"]}]
    asked = ec2.describe_regions(AllRegions=True, Filters=by_status)["Regions"]
    assert {each["RegionName"] for each in asked} == rest != set()
    for name in enabled:
        found = client_of(outside, region_name=name).describe_availability_zones()["AvailabilityZones"]
        assert {each["RegionName"] for each in found} == {name}
    for name in rest:
        with pytest.raises(ClientError) as caught:
            client_of(outside, region_name=name).describe_instances()
        assert refusal(caught) == ("AuthFailure", 401)
    with pytest.raises(ClientError) as caught:
        ec2.describe_regions(RegionNames=["mars-north-1"])
    assert refusal(caught) == ("InvalidParameterValue", 400)


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([], "MissingParameter"),
        ([{"Key": "aws:x", "Value": "y"}], "InvalidParameterValue"),
        ([{"Key": "x", "Value": "y"}, {"Key": "x", "Value": "z"}], "InvalidParameterValue"),
        ([{"Key": f"x{each}", "Value": ""} for each in range(51)], "TagLimitExceeded"),
    ],
)
def test_tags_that_ec2_does_not_take_change_nothing(
    ec2: Any, image: str, word: str, tags: list[dict[str, str]], code: str
) -> None:
    [machine] = run(ec2, image, word)
    with pytest.raises(ClientError) as caught:
        ec2.create_tags(Resources=[machine["InstanceId"]], Tags=tags)
    assert refusal(caught) == (code, 400)
    assert len(described(ec2, InstanceIds=[machine["InstanceId"]])[0]["Tags"]) == 2
    ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
