"""What befalls EC2's machines by themselves: late addresses or none, boots that end badly, spot machines taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.conftest import client_of
from tests.integration.sandbox.test_limits import refusal, run
from tests.timing import patiently

Start = Callable[..., Cloud]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts sandboxes of the test's own."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running_sandbox("--boot", "0.05", "--no-ssh", *options))


def seen(cloud: Cloud, instance_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client_of(cloud).describe_instances(InstanceIds=[instance_id])["Reservations"][0][
        "Instances"
    ][0]
    return found


def settled(cloud: Cloud, instance_id: str, *states: str) -> dict[str, Any]:
    """The machine, once it is in one of these states."""
    for _ in patiently(f"{instance_id} {states}"):
        found = seen(cloud, instance_id)
        if found["State"]["Name"] in states:
            break
    return found


def launch(cloud: Cloud, **values: Any) -> str:
    instance_id: str = run(cloud, **values)[0]["InstanceId"]
    return instance_id


def test_a_public_address_comes_after_the_machine_runs(start: Start) -> None:
    never = start("--late-addresses", "1000000")
    machine = settled(never, launch(never), "running")
    assert "PublicIpAddress" not in machine
    assert machine["PrivateIpAddress"]
    soon = start("--late-addresses", "0.1")
    instance_id = launch(soon)
    for _ in patiently("a public address"):
        if "PublicIpAddress" in seen(soon, instance_id):
            break


def test_a_subnet_gives_no_public_address_unless_the_launch_asks_for_one(start: Start) -> None:
    cloud = start("--no-public-addresses")
    ec2 = client_of(cloud)
    assert {each["MapPublicIpOnLaunch"] for each in ec2.describe_subnets()["Subnets"]} == {False}
    shown = [{"Name": "map-public-ip-on-launch", "Values": ["true"]}]
    assert ec2.describe_subnets(Filters=shown)["Subnets"] == []
    assert "PublicIpAddress" not in settled(cloud, launch(cloud), "running")
    asked = [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}]
    assert settled(cloud, launch(cloud, NetworkInterfaces=asked), "running")["PublicIpAddress"]


def test_a_launch_may_do_without_a_public_address_and_names_groups_and_subnet_once(start: Start) -> None:
    cloud = start()
    ec2 = client_of(cloud)
    subnet = ec2.describe_subnets()["Subnets"][1]
    group = ec2.create_security_group(GroupName="g", Description="x")["GroupId"]
    described = {"DeviceIndex": 0, "AssociatePublicIpAddress": False, "SubnetId": subnet["SubnetId"], "Groups": [group]}
    machine = settled(cloud, launch(cloud, NetworkInterfaces=[described]), "running")
    assert "PublicIpAddress" not in machine
    assert machine["Placement"]["AvailabilityZone"] == subnet["AvailabilityZone"]
    assert [each["GroupId"] for each in machine["SecurityGroups"]] == [group]
    for twice in ({"SecurityGroupIds": [group]}, {"SubnetId": subnet["SubnetId"]}):
        refused = refusal(lambda twice=twice: launch(cloud, NetworkInterfaces=[described], **twice))  # type: ignore[misc]
        assert refused == ("InvalidParameterCombination", 400)


def test_a_boot_may_end_in_an_error_of_the_clouds_own(start: Start) -> None:
    cloud = start("--fault", "boot=internal-error")
    reason = settled(cloud, launch(cloud), "terminated", "running")["StateReason"]
    assert reason == {"Code": "Server.InternalError", "Message": "Server.InternalError: Internal error on launch"}
    assert settled(cloud, launch(cloud), "terminated", "running")["State"]["Name"] == "running"
    always = start("--boot-errors", "1")
    assert settled(always, launch(always), "terminated", "running")["State"]["Name"] == "terminated"


def test_a_boot_may_end_in_a_stop_and_the_machine_start_again(start: Start) -> None:
    cloud = start()
    cloud.plan("boot=stop:lasting")
    instance_id = launch(cloud)
    assert settled(cloud, instance_id, "stopped", "running")["StateReason"]["Code"] == "Server.ScheduledStop"
    cloud.plan("boot=well")
    client_of(cloud).start_instances(InstanceIds=[instance_id])
    assert settled(cloud, instance_id, "running")["PublicIpAddress"]


def test_spot_machines_are_taken_back_and_no_other(start: Start) -> None:
    cloud = start()
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    one, other, plain = launch(cloud, **spot), launch(cloud, **spot), launch(cloud)
    cloud.plan(f"spot-reclaim={one}", f"spot-reclaim={plain}")
    assert settled(cloud, one, "terminated")["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert {seen(cloud, each)["State"]["Name"] for each in (other, plain)} <= {"pending", "running"}
    cloud.plan("spot-reclaim=*")
    settled(cloud, other, "terminated")
    assert seen(cloud, plain)["State"]["Name"] in ("pending", "running")
    always = start("--reclaims", "1", "--time-scale", "100")
    reason = settled(always, launch(always, **spot), "terminated")["StateReason"]
    assert reason["Code"] == "Server.SpotInstanceTermination"


def test_a_stopped_machine_takes_no_room_until_it_starts(start: Start) -> None:
    cloud = start("--quota", "1")
    ec2 = client_of(cloud)
    first = launch(cloud)
    settled(cloud, first, "running")
    ec2.stop_instances(InstanceIds=[first])
    settled(cloud, first, "stopped")
    second = launch(cloud)
    settled(cloud, second, "running")
    assert refusal(lambda: ec2.start_instances(InstanceIds=[first])) == ("InstanceLimitExceeded", 400)
    ec2.terminate_instances(InstanceIds=[second])
    ec2.start_instances(InstanceIds=[first])
    settled(cloud, first, "running")
