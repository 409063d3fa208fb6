"""Machines that outside clients stop, start and reboot, and the volumes that they leave: as EC2 has it, by boto3."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncssh
import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.conftest import client_of
from tests.integration.sandbox.judge import Judge
from tests.integration.sandbox.test_boto3 import QUICK, by_word, described, ids, refusal, run
from tests.machine import DEADLINE_S, Machine, running_machine

USER_INITIATED = re.compile(r"User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)")
SPOT: dict[str, Any] = {"MarketType": "spot"}
PERSISTENT: dict[str, Any] = SPOT | {
    "SpotOptions": {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
}


def launched(ec2: Any, image: str, word: str, **values: Any) -> str:
    """A machine that runs; its id."""
    [machine] = ids(run(ec2, image, word, **values))
    ec2.get_waiter("instance_running").wait(InstanceIds=[machine], WaiterConfig=QUICK)
    return machine


def own_image(ec2: Any, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "name", "Values": [f"golden-{kind}-x86_64"]}]
    )["Images"][0]
    return found


def changes(reply: dict[str, Any]) -> list[tuple[str, str]]:
    [states] = [reply[name] for name in reply if name.endswith("Instances")]
    return [(each["PreviousState"]["Name"], each["CurrentState"]["Name"]) for each in states]


def refused(call: Any, **values: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**values)
    return refusal(caught)


def test_a_machine_stops_and_starts_under_another_address(ec2: Any, image: str, word: str) -> None:
    wanted = {"InstanceIds": [launched(ec2, image, word)]}
    [before] = described(ec2, **wanted)
    assert changes(ec2.stop_instances(**wanted)) == [("running", "stopping")]
    ec2.get_waiter("instance_stopped").wait(**wanted, WaiterConfig=QUICK)
    [stopped] = described(ec2, **wanted)
    assert (stopped["State"], "PublicIpAddress" in stopped) == ({"Code": 80, "Name": "stopped"}, False)
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert USER_INITIATED.fullmatch(stopped["StateTransitionReason"])
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert stopped["BlockDeviceMappings"] == before["BlockDeviceMappings"]
    assert changes(ec2.stop_instances(**wanted)) == [("stopped", "stopped")]
    assert ids(described(ec2, Filters=[*by_word(word), {"Name": "instance-state-name", "Values": ["stopped"]}]))

    assert changes(ec2.start_instances(**wanted)) == [("stopped", "pending")]
    ec2.get_waiter("instance_running").wait(**wanted, WaiterConfig=QUICK)
    [again] = described(ec2, **wanted)
    assert again["PublicIpAddress"] != before["PublicIpAddress"]
    assert again["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert "StateReason" not in again
    assert changes(ec2.start_instances(**wanted)) == [("running", "running")]
    ec2.terminate_instances(**wanted)


def test_a_stopped_machine_is_terminated_like_any(ec2: Any, image: str, word: str) -> None:
    wanted = {"InstanceIds": [launched(ec2, image, word)]}
    ec2.stop_instances(**wanted)
    ec2.get_waiter("instance_stopped").wait(**wanted, WaiterConfig=QUICK)
    assert changes(ec2.terminate_instances(**wanted)) == [("stopped", "shutting-down")]
    ec2.get_waiter("instance_terminated").wait(**wanted, WaiterConfig=QUICK)
    for call in (ec2.stop_instances, ec2.start_instances, ec2.reboot_instances):
        assert refused(call, **wanted) == ("IncorrectInstanceState", 400)


def test_what_may_not_be_stopped_is_not_and_neither_are_the_others(ec2: Any, image: str, word: str) -> None:
    plain = launched(ec2, image, word)
    once = launched(ec2, image, word, InstanceMarketOptions=SPOT)
    protected = launched(ec2, image, word, DisableApiStop=True)
    for other, code in ((once, "UnsupportedOperation"), (protected, "OperationNotPermitted")):
        assert refused(ec2.stop_instances, InstanceIds=[plain, other]) == (code, 400)
    assert refused(ec2.stop_instances, InstanceIds=[plain, "i-00000000000000000"]) == (
        "InvalidInstanceID.NotFound",
        400,
    )
    assert refused(ec2.stop_instances, InstanceIds=[plain], Hibernate=True) == (
        "UnsupportedHibernationConfiguration",
        400,
    )
    seen = described(ec2, InstanceIds=[plain, once, protected])
    assert {each["State"]["Name"] for each in seen} == {"running"}
    ec2.modify_instance_attribute(InstanceId=protected, DisableApiStop={"Value": False})
    persistent = launched(ec2, image, word, InstanceMarketOptions=PERSISTENT)
    assert changes(ec2.stop_instances(InstanceIds=[protected, persistent])) == [("running", "stopping")] * 2
    ec2.terminate_instances(InstanceIds=[plain, once, protected, persistent])


def test_a_hibernated_machine_says_so(ec2: Any, image: str, word: str) -> None:
    wanted = {"InstanceIds": [launched(ec2, image, word, HibernationOptions={"Configured": True})]}
    ec2.stop_instances(**wanted, Hibernate=True)
    ec2.get_waiter("instance_stopped").wait(**wanted, WaiterConfig=QUICK)
    assert described(ec2, **wanted)[0]["StateReason"]["Code"] == "Client.UserInitiatedHibernate"
    ec2.terminate_instances(**wanted)


def test_an_image_leaves_the_volumes_that_its_mapping_keeps(ec2: Any, word: str) -> None:
    for kind, left in (("two-disks", ["/dev/sdf"]), ("keeps-disks", ["/dev/sda1", "/dev/sdf"])):
        image = own_image(ec2, kind)
        kept = [each["DeviceName"] for each in image["BlockDeviceMappings"] if not each["Ebs"]["DeleteOnTermination"]]
        assert kept == left
        machine = launched(ec2, image["ImageId"], f"{word}-{kind}")
        wanted = {"InstanceIds": [machine]}
        by_machine = [{"Name": "attachment.instance-id", "Values": [machine]}]
        volumes = ec2.describe_volumes(Filters=by_machine)["Volumes"]
        assert [each["Attachments"][0]["Device"] for each in volumes] == ["/dev/sda1", "/dev/sdf"]
        assert {each["State"] for each in volumes} == {"in-use"}
        assert refused(ec2.delete_volume, VolumeId=volumes[0]["VolumeId"]) == ("VolumeInUse", 400)
        ec2.terminate_instances(**wanted)
        ec2.get_waiter("instance_terminated").wait(**wanted, WaiterConfig=QUICK)
        unused = [{"Name": "status", "Values": ["available"]}, *by_word(f"{word}-{kind}")]
        orphans = ec2.describe_volumes(Filters=unused)["Volumes"]
        assert (len(orphans), [each["Attachments"] for each in orphans]) == (len(left), [[]] * len(left))
        for each in orphans:
            ec2.delete_volume(VolumeId=each["VolumeId"])
            assert refused(ec2.delete_volume, VolumeId=each["VolumeId"]) == ("InvalidVolume.NotFound", 400)
        assert ec2.describe_volumes(Filters=by_word(f"{word}-{kind}"))["Volumes"] == []


def test_a_launch_changes_the_images_mapping(ec2: Any, word: str) -> None:
    image = own_image(ec2, "keeps-disks")["ImageId"]
    mappings = [
        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20, "DeleteOnTermination": True}},
        {"DeviceName": "/dev/sdf", "NoDevice": ""},
        {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1}},
    ]
    wanted = {"InstanceIds": [launched(ec2, image, word, BlockDeviceMappings=mappings)]}
    volumes = ec2.describe_volumes(Filters=by_word(word))["Volumes"]
    assert [(each["Attachments"][0]["Device"], each["Size"]) for each in volumes] == [
        ("/dev/sda1", 20),
        ("/dev/sdg", 1),
    ]
    ec2.terminate_instances(**wanted)
    ec2.get_waiter("instance_terminated").wait(**wanted, WaiterConfig=QUICK)
    assert ec2.describe_volumes(Filters=by_word(word))["Volumes"] == []
    small = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 4}}]
    assert refused(
        ec2.run_instances, ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, BlockDeviceMappings=small
    ) == ("InvalidBlockDeviceMapping", 400)


async def host_key_of(machine: Machine) -> str:
    async with machine.connect() as connection:
        key = connection.get_server_host_key()
        assert key is not None
        return key.get_fingerprint()


async def said(machine: Machine, command: str) -> str:
    async with machine.connect() as connection:
        return str((await connection.run(command, check=True)).stdout).strip()


async def until(machine: Machine, **wanted: object) -> None:
    """The admin page shows the machine so."""
    async with asyncio.timeout(DEADLINE_S):
        while not wanted.items() <= machine.seen().items():
            await asyncio.sleep(0.01)


async def test_a_stopped_machines_host_goes_and_comes_back_with_its_home() -> None:
    async with running_machine() as machine:
        ec2 = await asyncio.to_thread(client_of, machine.cloud)
        judge = Judge(ec2)
        key, old = await host_key_of(machine), machine.address
        await said(machine, "echo kept > note")
        async with machine.connect() as cut:
            await asyncio.to_thread(ec2.stop_instances, InstanceIds=[machine.id])
            await cut.wait_closed()
        await until(machine, state="stopped", public_ip=None)
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await host_key_of(machine)
        await asyncio.to_thread(ec2.start_instances, InstanceIds=[machine.id])
        await until(machine, state="running", is_ssh_open=True)
        machine.address = machine.seen()["public_ip"]
        assert machine.address != old
        assert await said(machine, "cat note") == "kept"
        assert await host_key_of(machine) == key
        assert judge.faults == []


async def test_a_reboot_cuts_connections_and_keeps_all_else() -> None:
    async with running_machine() as machine:
        ec2 = await asyncio.to_thread(client_of, machine.cloud)
        await said(machine, "echo kept > note")
        async with machine.connect() as cut:
            await asyncio.to_thread(ec2.reboot_instances, InstanceIds=[machine.id])
            await cut.wait_closed()
        await until(machine, state="running", is_ssh_open=True, public_ip=machine.address)
        assert await said(machine, "cat note") == "kept"


async def test_a_shutdown_from_inside_stops_or_ends_a_machine_as_its_launch_says() -> None:
    async with running_machine() as machine:
        ec2 = await asyncio.to_thread(client_of, machine.cloud)
        machine.sandbox.add_faults(f"shutdown={machine.id}")
        await until(machine, state="stopped", reason="Client.InstanceInitiatedShutdown")
        await asyncio.to_thread(ec2.start_instances, InstanceIds=[machine.id])
        await until(machine, state="running")
        await asyncio.to_thread(
            ec2.modify_instance_attribute,
            InstanceId=machine.id,
            InstanceInitiatedShutdownBehavior={"Value": "terminate"},
        )
        machine.sandbox.add_faults("shutdown=*")
        await until(machine, state="terminated", reason="Client.InstanceInitiatedShutdown")


async def test_a_connection_to_nobody_is_refused_at_once() -> None:
    """What the tests above take for a host that is gone."""
    async with running_machine() as machine:
        await machine.terminate()
        with pytest.raises((OSError, asyncssh.Error)):
            await host_key_of(machine)
