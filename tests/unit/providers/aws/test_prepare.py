from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ogc_async.errors import InvalidRequest, NotFound, ResourceInUse, Unauthorized
from ogc_async.providers.aws.firewall import permissions, rules_of, wanted_rules
from ogc_async.providers.aws.images import disks_of, newest_image
from ogc_async.providers.aws.keypair import key_pair_name
from ogc_async.providers.base import FindsVolumes
from ogc_async.types import Disk, Port, Volume
from tests.unit.providers.aws.conftest import Open
from tests.unit.providers.aws.script import ED25519, Script, Time, launch_request, refusal

PARAMETER = {"Parameters": [{"Value": "ami-new"}]}
READY: dict[str, Any] = {
    "GetParameters": PARAMETER,
    "DescribeImages": {"Images": [{"ImageId": "ami-new", "RootDeviceName": "/dev/sda1"}]},
    "ImportKeyPair": {"KeyName": "imported"},
    "CreateSecurityGroup": {"GroupId": "sg-1"},
    "AuthorizeSecurityGroupIngress": {},
}
KEY_TAKEN = refusal("InvalidKeyPair.Duplicate")
GROUP_TAKEN = refusal("InvalidGroup.Duplicate")
NAME = "ogc-adam-01234567-web"


def image(name: str, created: str) -> dict[str, str]:
    return {"ImageId": f"ami-{name}", "Name": name, "CreationDate": created, "RootDeviceName": "/dev/xvda"}


def group(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"SecurityGroups": [{"GroupId": "sg-old", "GroupName": NAME, "IpPermissions": list(entries)}]}


def ingress(port: int, *cidrs: str) -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": each} for each in cidrs if ":" not in each],
        "Ipv6Ranges": [{"CidrIpv6": each} for each in cidrs if ":" in each],
    }


async def test_the_vendors_parameter_names_the_image(open_with: Open) -> None:
    script = Script(**READY)
    prepared = await open_with(script).prepare(launch_request())
    assert (prepared.image, prepared.username, prepared.root_device) == ("ami-new", "ubuntu", "/dev/sda1")
    assert prepared.firewall == "sg-1"
    assert script.of("DescribeImages") == [{"ImageIds": ["ami-new"]}]


@pytest.mark.parametrize("answer", [{"Parameters": []}, refusal("AccessDeniedException", status=400)])
async def test_without_a_parameter_the_newest_image_of_the_vendors_name_is_taken(open_with: Open, answer: Any) -> None:
    images = [image("old", "2026-01-01"), image("new", "2026-03-01"), image("middle", "2026-02-01")]
    script = Script(**READY | {"GetParameters": answer, "DescribeImages": {"Images": images}})
    prepared = await open_with(script).prepare(launch_request(arch="arm64"))
    assert (prepared.image, prepared.root_device) == ("ami-new", "/dev/xvda")
    [asked] = script.of("DescribeImages")
    filters = {each["Name"]: each["Values"][0] for each in asked["Filters"]}
    assert filters["architecture"] == "arm64"
    assert filters["name"] == "ubuntu/images/*/ubuntu-noble-24.04-arm64-server-20*"


def test_images_of_another_kind_are_not_the_newest() -> None:
    images = [image("RHEL-9.9_BETA", "2026-09-01"), image("RHEL-9.4", "2026-01-01")]
    newest = newest_image(images, ("BETA",))
    assert newest is not None
    assert newest["Name"] == "RHEL-9.4"
    assert newest_image([], ()) is None


async def test_an_image_is_looked_up_once_for_all_layouts(open_with: Open) -> None:
    script = Script(**READY)
    provider = open_with(script)
    await asyncio.gather(*(provider.prepare(launch_request(layout=f"l{each}")) for each in range(20)))
    assert script.operations().count("GetParameters") == 1
    assert script.operations().count("ImportKeyPair") == 20


async def test_a_layout_prepared_many_times_at_once_is_prepared_once(open_with: Open) -> None:
    script = Script(**READY)
    provider = open_with(script)
    requests = [launch_request(token=f"t{each}", names=(f"web-{each}",)) for each in range(20)]
    prepared = await asyncio.gather(*map(provider.prepare, requests))
    assert len(set(prepared)) == 1
    assert sorted(script.operations()) == sorted(READY)


async def test_an_image_id_is_checked_and_its_user_is_the_requests(open_with: Open) -> None:
    script = Script(**READY | {"DescribeImages": {"Images": [image("mine", "2026-01-01")]}})
    provider = open_with(script)
    request = launch_request(runs_on="ami-mine", username="core", disk_size_gib=20)
    prepared = await provider.prepare(request)
    assert (prepared.image, prepared.username, prepared.root_device) == ("ami-mine", "core", "/dev/xvda")
    assert (await provider.prepare(launch_request(runs_on="ami-mine"))).username == "ec2-user"


@pytest.mark.parametrize(
    "answer", [refusal("InvalidAMIID.NotFound"), refusal("InvalidAMIID.Malformed"), {"Images": []}]
)
async def test_an_image_that_is_not_there_is_named_with_its_region_and_nothing_is_made(
    open_with: Open, answer: Any
) -> None:
    script = Script(DescribeImages=answer)
    with pytest.raises(NotFound, match="'ami-gone' in us-east-2"):
        await open_with(script).prepare(launch_request(runs_on="ami-gone"))
    assert script.operations() == ["DescribeImages"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runs_on": "ubunto-2404"}, "did you mean ubuntu-2404"),
        ({"runs_on": "windows-2022", "arch": "arm64"}, "does not come for arm64"),
    ],
)
async def test_an_image_that_nobody_has_is_refused_unasked(
    open_with: Open, values: dict[str, str], message: str
) -> None:
    script = Script()
    with pytest.raises(InvalidRequest, match=message):
        await open_with(script).prepare(launch_request(**values))
    assert script.calls == []


def test_another_public_key_is_another_key_pair_and_another_comment_is_not() -> None:
    name = key_pair_name(launch_request())
    assert name.startswith(f"{NAME}-")
    assert key_pair_name(launch_request(public_key=f"{ED25519.rsplit(' ', 1)[0]} eve@work\n")) == name
    assert key_pair_name(launch_request(public_key=ED25519.replace("AAAAI", "AAAAJ"))) != name


@pytest.mark.parametrize("key", ["ecdsa-sha2-nistp256 AAAA x", "ssh-ed25519", ""])
def test_keys_that_ec2_does_not_take_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="EC2 takes ED25519 and RSA keys"):
        key_pair_name(launch_request(public_key=key))


async def test_a_key_pair_that_holds_the_same_key_is_taken(open_with: Open) -> None:
    there = {"KeyPairs": [{"KeyName": "k", "PublicKey": f"{ED25519} other-comment"}]}
    script = Script(**READY | {"ImportKeyPair": KEY_TAKEN}, DescribeKeyPairs=there)
    assert (await open_with(script).prepare(launch_request())).key_pair == key_pair_name(launch_request())


async def test_a_key_pair_that_holds_another_key_is_refused(open_with: Open) -> None:
    there = {"KeyPairs": [{"KeyName": "k", "PublicKey": "ssh-ed25519 AAAAother x"}]}
    script = Script(**READY | {"ImportKeyPair": KEY_TAKEN}, DescribeKeyPairs=there)
    with pytest.raises(InvalidRequest, match="holds another public key; delete it"):
        await open_with(script).prepare(launch_request())


def test_a_firewall_lets_in_ssh_and_the_layouts_ports_from_its_networks() -> None:
    request = launch_request(
        ssh_port=2222, ports=(Port(80, 80), Port(53, 53, "udp"), Port(2222, 2222)), ingress=("10.0.0.0/8", "fd00::/8")
    )
    entries = permissions(wanted_rules(request))
    both = {"IpRanges": [{"CidrIp": "10.0.0.0/8"}], "Ipv6Ranges": [{"CidrIpv6": "fd00::/8"}]}
    assert entries == [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80} | both,
        {"IpProtocol": "tcp", "FromPort": 2222, "ToPort": 2222} | both,
        {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53} | both,
    ]
    assert rules_of({"IpPermissions": entries}) == wanted_rules(request)


async def test_a_firewall_that_is_there_gets_only_what_it_lacks(open_with: Open) -> None:
    script = Script(
        **READY | {"CreateSecurityGroup": GROUP_TAKEN},
        DescribeSecurityGroups=group(ingress(22, "0.0.0.0/0"), ingress(9999, "0.0.0.0/0")),
    )
    prepared = await open_with(script).prepare(launch_request(ports=(Port(80, 80),)))
    assert prepared.firewall == "sg-old"
    [added] = script.of("AuthorizeSecurityGroupIngress")
    assert [each["FromPort"] for each in added["IpPermissions"]] == [80]


async def test_a_firewall_that_lacks_nothing_is_left_alone(open_with: Open) -> None:
    script = Script(
        **READY | {"CreateSecurityGroup": GROUP_TAKEN},
        DescribeSecurityGroups=group(ingress(22, "0.0.0.0/0")),
    )
    assert (await open_with(script).prepare(launch_request())).firewall == "sg-old"
    assert "AuthorizeSecurityGroupIngress" not in script.operations()


async def test_another_process_that_adds_the_same_rule_first_is_no_error(open_with: Open) -> None:
    script = Script(
        **READY | {"AuthorizeSecurityGroupIngress": refusal("InvalidPermission.Duplicate")},
        DescribeSecurityGroups=group(ingress(22, "0.0.0.0/0")),
    )
    assert (await open_with(script).prepare(launch_request())).firewall == "sg-old"


async def test_a_strangers_group_of_that_name_is_not_touched(open_with: Open) -> None:
    script = Script(**READY | {"CreateSecurityGroup": GROUP_TAKEN}, DescribeSecurityGroups={"SecurityGroups": []})
    with pytest.raises(NotFound, match="is not tagged as ours"):
        await open_with(script).prepare(launch_request())
    assert "AuthorizeSecurityGroupIngress" not in script.operations()


async def test_a_region_without_a_default_vpc_is_told_how_to_get_one(open_with: Open) -> None:
    script = Script(**READY | {"CreateSecurityGroup": refusal("VPCIdNotSpecified")})
    with pytest.raises(InvalidRequest, match="create-default-vpc"):
        await open_with(script).prepare(launch_request())


async def test_a_release_removes_the_group_and_every_key_pair_of_the_layout(open_with: Open) -> None:
    script = Script(
        DescribeSecurityGroups=group(),
        DeleteSecurityGroup={},
        DescribeKeyPairs={"KeyPairs": [{"KeyName": "a"}, {"KeyName": "b"}]},
        DeleteKeyPair={},
        DescribeVolumes={"Volumes": []},
    )
    await open_with(script).release("web", owner="adam", scope="s")
    assert [each["KeyName"] for each in script.of("DeleteKeyPair")] == ["a", "b"]
    assert script.of("DeleteSecurityGroup") == [{"GroupId": "sg-old"}]


async def test_a_release_while_a_machine_lives_removes_nothing(open_with: Open) -> None:
    script = Script(DescribeSecurityGroups=group(), DeleteSecurityGroup=refusal("DependencyViolation"))
    with pytest.raises(ResourceInUse):
        await open_with(script).release("web", owner="adam", scope="s")


async def test_releasing_what_is_gone_is_fine(open_with: Open) -> None:
    script = Script(
        DescribeSecurityGroups=group(),
        DeleteSecurityGroup=refusal("InvalidGroup.NotFound"),
        DescribeKeyPairs={"KeyPairs": []},
        DescribeVolumes={"Volumes": []},
    )
    await open_with(script).release("web", owner="adam", scope="s")


def test_volumes_that_an_image_would_leave_behind_are_named_whole_and_others_are_left_to_it() -> None:
    def mapping(device: str, **ebs: Any) -> dict[str, Any]:
        return {"DeviceName": device, "Ebs": ebs}

    kept = {"SnapshotId": "snap-1", "VolumeSize": 100, "VolumeType": "gp3", "Iops": 3000, "Throughput": 125}
    described = {
        "RootDeviceName": "/dev/sda1",
        "BlockDeviceMappings": [
            mapping("/dev/sda1", SnapshotId="snap-0", VolumeSize=8, VolumeType="gp3", DeleteOnTermination=False),
            mapping("/dev/sdb", **kept, Encrypted=True, DeleteOnTermination=False),
            mapping("/dev/sdc", VolumeSize=5, VolumeType="gp2", Iops=100, Encrypted=True),
            mapping("/dev/sdd", VolumeSize=5, DeleteOnTermination=True),
            {"DeviceName": "/dev/sde", "VirtualName": "ephemeral0"},
        ],
    }
    assert disks_of(described).all == (
        Disk("/dev/sda1", (("VolumeSize", 8),)),
        Disk("/dev/sdb", tuple(kept.items())),
        Disk("/dev/sdc", (("VolumeSize", 5), ("VolumeType", "gp2"), ("Encrypted", True))),
    )


async def test_credentials_that_may_not_describe_an_image_launch_it_as_it_is_unless_its_disk_must_be_known(
    open_with: Open,
) -> None:
    script = Script(**READY | {"DescribeImages": refusal("UnauthorizedOperation", status=403)})
    assert (await open_with(script).prepare(launch_request())).disks == ()
    with pytest.raises(Unauthorized, match="ec2:DescribeImages"):
        await open_with(script).prepare(launch_request(disk_size_gib=50))


@pytest.mark.parametrize("trouble", [refusal("InternalServerError", status=500), refusal("503", status=503)])
async def test_ssm_that_does_not_answer_costs_seconds_and_is_not_asked_again(
    open_with: Open, time: Time, trouble: Exception
) -> None:
    images = {"Images": [image("new", "2026-01-01")]}
    script = Script(**READY | {"GetParameters": trouble, "DescribeImages": images})
    assert (await open_with(script).prepare(launch_request())).image == "ami-new"
    assert time.now <= 5
    asked = len(script.of("GetParameters"))
    assert (await open_with(script).prepare(launch_request(arch="arm64"))).image == "ami-new"
    assert len(script.of("GetParameters")) == asked


def volume(name: str, state: str = "available") -> dict[str, Any]:
    return {"VolumeId": name, "State": state, "Size": 8, "Tags": [{"Key": "ogc:layout", "Value": "web"}]}


def released(**answers: Any) -> Script:
    gone: dict[str, Any] = {"DescribeSecurityGroups": {"SecurityGroups": []}, "DescribeKeyPairs": {"KeyPairs": []}}
    return Script(**gone | answers)


async def test_a_release_deletes_the_volumes_that_its_machines_left_and_no_other(open_with: Open) -> None:
    left = {"Volumes": [volume("vol-1"), volume("vol-2", "in-use"), volume("vol-3"), volume("vol-4", "deleting")]}
    script = released(DescribeVolumes=left, DeleteVolume=[{}, refusal("InvalidVolume.NotFound")])
    await open_with(script).release("web", owner="adam", scope="s")
    assert script.of("DeleteVolume") == [{"VolumeId": "vol-1"}, {"VolumeId": "vol-3"}]
    tags = {each["Name"]: each["Values"] for each in script.of("DescribeVolumes")[0]["Filters"]}
    assert tags == {"tag:ogc:owner": ["adam"], "tag:ogc:scope": ["s"], "tag:ogc:layout": ["web"]}


async def test_a_volume_that_cannot_be_deleted_is_named_and_costs_the_others_nothing(open_with: Open) -> None:
    left = {"Volumes": [volume(f"vol-{each}") for each in range(3)]}
    denied = refusal("UnauthorizedOperation", status=403, operation="DeleteVolume")
    script = released(DescribeVolumes=left, DeleteVolume=[denied, {}, {}])
    with pytest.raises(Unauthorized, match=r"volumes left: vol-0: .*ec2:DeleteVolume"):
        await open_with(script).release("web", owner="adam", scope="s")
    assert len(script.of("DeleteVolume")) == 3


async def test_credentials_that_may_not_look_for_volumes_release_all_the_same(open_with: Open) -> None:
    script = released(DescribeVolumes=refusal("UnauthorizedOperation", status=403))
    await open_with(script).release("web", owner="adam", scope="s")


async def test_volumes_that_no_machine_has_are_listed_with_their_layouts(open_with: Open) -> None:
    script = Script(DescribeVolumes={"Volumes": [volume("vol-1"), volume("vol-2", "in-use")]})
    provider = open_with(script)
    assert isinstance(provider, FindsVolumes)
    assert await provider.list_volumes("adam", "s") == [Volume("vol-1", "web", 8)]
