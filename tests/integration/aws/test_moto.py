"""What our calls amount to, as moto understood them and as another client sees it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest

from ogc_async.errors import NotFound
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.settings import Settings
from ogc_async.types import Instance, LaunchRequest, Port
from tests.integration.aws.moto_server import reset, running_moto

REGION = "us-east-2"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def moto(server: str) -> str:
    reset(server)
    return server


@pytest.fixture
async def provider(moto: str) -> AsyncIterator[AwsProvider]:
    settings = Settings(
        _env_file=None,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        aws_endpoint_url=moto,
        ogc_api_retry_s=5,
    )
    opened = AwsProvider(settings, REGION)
    yield opened
    await opened.aclose()


@pytest.fixture
def ec2(moto: str) -> Any:
    return boto3.client(
        "ec2", region_name=REGION, endpoint_url=moto, aws_access_key_id="key", aws_secret_access_key="secret"
    )


def request(**values: Any) -> LaunchRequest:
    given: dict[str, Any] = {
        "owner": "adam",
        "scope": "0123456789abcdef",
        "layout": "web",
        "names": ("web-1",),
        "token": "token-1",
        "runs_on": "amazon-linux-2023",
        "instance_size": "t3.micro",
        "public_key": PUBLIC_KEY,
    }
    return LaunchRequest(**(given | values))


async def launch(provider: AwsProvider, asked: LaunchRequest) -> Instance:
    [launched] = await provider.launch(asked, await provider.prepare(asked))
    assert isinstance(launched, Instance)
    return launched


async def test_a_machine_is_what_the_layout_asked_for(provider: AwsProvider, ec2: Any) -> None:
    asked = request(zone="us-east-2b", spot=True, ttl=timedelta(hours=1), disk_size_gib=40)
    launched = await launch(provider, asked)
    [seen] = ec2.describe_instances(InstanceIds=[launched.id])["Reservations"][0]["Instances"]
    assert seen["InstanceType"] == "t3.micro"
    assert seen["Placement"]["AvailabilityZone"] == "us-east-2b"
    assert seen["InstanceLifecycle"] == "spot"
    assert seen["KeyName"].startswith("ogc-adam-01234567-web-")
    assert [group["GroupName"] for group in seen["SecurityGroups"]] == ["ogc-adam-01234567-web"]
    assert seen["MetadataOptions"]["HttpTokens"] == "required"
    [disk] = seen["BlockDeviceMappings"]
    volume = ec2.describe_volumes(VolumeIds=[disk["Ebs"]["VolumeId"]])["Volumes"][0]
    assert volume["Size"] == 40
    assert {"Key": "ogc:batch", "Value": "token-1"} in volume["Tags"]
    shutdown = ec2.describe_instance_attribute(InstanceId=launched.id, Attribute="instanceInitiatedShutdownBehavior")
    assert shutdown["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    user_data = ec2.describe_instance_attribute(InstanceId=launched.id, Attribute="userData")["UserData"]["Value"]
    assert b"life=3600 " in base64.b64decode(user_data)


async def test_the_firewall_lets_in_what_the_layout_names_and_grows_with_it(provider: AwsProvider, ec2: Any) -> None:
    await provider.prepare(request(ingress=("10.0.0.0/8", "fd00::/8"), ssh_port=2222))
    await provider.prepare(request(ingress=("10.0.0.0/8",), ports=(Port(80, 80), Port(53, 53, "udp")), ssh_port=2222))
    [group] = ec2.describe_security_groups(GroupNames=["ogc-adam-01234567-web"])["SecurityGroups"]
    rules = {
        (each["IpProtocol"], each["FromPort"], cidr)
        for each in group["IpPermissions"]
        for cidr in [
            *(network["CidrIp"] for network in each["IpRanges"]),
            *(network["CidrIpv6"] for network in each["Ipv6Ranges"]),
        ]
    }
    assert rules == {
        ("tcp", 2222, "10.0.0.0/8"),
        ("tcp", 2222, "fd00::/8"),
        ("tcp", 80, "10.0.0.0/8"),
        ("udp", 53, "10.0.0.0/8"),
    }


async def test_the_key_pair_holds_the_layouts_public_key(provider: AwsProvider, ec2: Any) -> None:
    prepared = await provider.prepare(request())
    [pair] = ec2.describe_key_pairs(KeyNames=[prepared.key_pair], IncludePublicKey=True)["KeyPairs"]
    assert pair["KeyType"] == "ed25519"
    assert pair["PublicKey"].split()[:2] == PUBLIC_KEY.split()[:2]


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
@pytest.mark.parametrize("runs_on", ["amazon-linux-2023", "amazon-linux-2"])
async def test_an_image_is_of_the_kind_and_architecture_asked_for(
    provider: AwsProvider, ec2: Any, runs_on: str, arch: str
) -> None:
    prepared = await provider.prepare(request(runs_on=runs_on, arch=arch, disk_size_gib=20))
    [image] = ec2.describe_images(ImageIds=[prepared.image])["Images"]
    assert image["Architecture"] == arch
    assert image["Name"].startswith(
        {"amazon-linux-2023": "al2023-ami-2023", "amazon-linux-2": "amzn2-ami-hvm"}[runs_on]
    )
    assert prepared.root_device == image["RootDeviceName"]


async def test_an_image_that_the_region_lacks_is_named(provider: AwsProvider) -> None:
    with pytest.raises(NotFound, match="'rocky-9' \\(x86_64\\) in us-east-2"):
        await provider.prepare(request(runs_on="rocky-9"))


async def test_a_machine_with_termination_protection_costs_the_others_nothing(provider: AwsProvider, ec2: Any) -> None:
    protected = await launch(provider, request())
    others = [await launch(provider, request(token=f"token-{each}")) for each in (2, 3)]
    ec2.modify_instance_attribute(InstanceId=protected.id, DisableApiTermination={"Value": True})
    answers = await provider.terminate([protected.id, *(each.id for each in others)])
    assert not isinstance(answers[protected.id], Instance)
    assert all(isinstance(answers[each.id], Instance) for each in others)
    assert {each.id for each in await provider.list_owned("adam")} >= {protected.id}
