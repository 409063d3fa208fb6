"""Instances that somebody stops, starts, suspends or resets, and what is left of them: with Google's own client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from tests.cloud import running_sandbox
from tests.integration.sandbox.google import DEBIAN, ZONE, Google, errors, instance, properties
from tests.timing import patiently

pytestmark = pytest.mark.usefixtures("google_judge")


@pytest.fixture(scope="module")
def quick() -> Iterator[Google]:
    """A cloud whose machines boot and stop at once."""
    with running_sandbox("--boot", "0.1", "--no-limits") as cloud:
        yield Google(cloud)


def where(google: Google, **more: str) -> dict[str, str]:
    return {"project": google.project, "zone": ZONE, **more}


def launch(google: Google, name: str, **values: Any) -> Any:
    body = instance(name, "word", **values)
    assert not errors(google.done(google.instances.insert_unary(instance_resource=body, **where(google))))
    return google.instances.get(instance=name, **where(google))


def change(google: Google, name: str, verb: str) -> Any:
    """Stop, start, … the instance; its operation once it is over."""
    return google.done(getattr(google.instances, f"{verb}_unary")(instance=name, **where(google)))


def status(google: Google, name: str) -> str:
    seen: str = google.instances.get(instance=name, **where(google)).status
    return seen


def address(seen: Any) -> str:
    found: str = seen.network_interfaces[0].access_configs[0].nat_i_p
    return found


def spot(**values: Any) -> dict[str, Any]:
    return {"provisioning_model": "SPOT", "automatic_restart": False, "on_host_maintenance": "TERMINATE", **values}


@pytest.mark.parametrize(
    ("down", "up", "between", "then"),
    [("stop", "start", "STOPPING", "TERMINATED"), ("suspend", "resume", "SUSPENDING", "SUSPENDED")],
)
def test_what_is_stopped_gives_up_its_address_and_starts_on_another(
    quick: Google, name: str, down: str, up: str, between: str, then: str
) -> None:
    before = launch(quick, name)
    operation = getattr(quick.instances, f"{down}_unary")(instance=name, **where(quick))
    assert status(quick, name) in (between, then)
    operation = quick.done(operation)
    assert (operation.operation_type, errors(operation)) == (down, [])
    halted = quick.instances.get(instance=name, **where(quick))
    assert halted.status == then
    assert address(halted) == ""
    assert halted.network_interfaces[0].network_i_p == before.network_interfaces[0].network_i_p
    assert [each.name for each in quick.listed(f'name = "{name}"')] == [name]

    operation = change(quick, name, up)
    assert (operation.operation_type, errors(operation)) == (up, [])
    after = quick.instances.get(instance=name, **where(quick))
    assert (after.status, after.id) == ("RUNNING", before.id)
    assert address(after) not in ("", address(before))
    change(quick, name, "delete")


@pytest.mark.parametrize(
    ("first", "then", "is_taken"),
    [
        ("stop", "stop", True),
        ("stop", "delete", True),
        ("suspend", "stop", True),
        ("suspend", "delete", True),
        ("reset", "start", True),
        ("stop", "reset", False),
        ("stop", "suspend", False),
        ("stop", "resume", False),
        ("suspend", "start", False),
        ("reset", "resume", False),
    ],
)
def test_what_can_be_done_to_an_instance_depends_on_its_status(
    quick: Google, name: str, first: str, then: str, is_taken: bool
) -> None:
    launch(quick, name)
    assert not errors(change(quick, name, first))
    if is_taken:
        assert not errors(change(quick, name, then))
    else:
        with pytest.raises(exceptions.BadRequest, match="is not ready"):
            change(quick, name, then)
    if then != "delete":
        change(quick, name, "delete")
    assert quick.listed(f'name = "{name}"') == []


async def test_the_host_goes_away_and_comes_back_with_its_home_and_its_key(tmp_path: Path, name: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys = {"items": [{"key": "ssh-keys", "value": f"adam:{key.export_public_key().decode()}"}]}
    with running_sandbox("--boot", "0.1") as cloud:
        google = Google(cloud)
        port = int(cloud.environment["OGC_SSH_PORT"])

        def open_machine() -> dict[str, Any]:
            for _ in patiently("SSH that listens"):
                [seen] = cloud.state()["instances"]["google"]
                if seen["is_ssh_open"]:
                    return seen
            raise AssertionError

        async def run(command: str, known_hosts: Any = None) -> str:
            address = open_machine()["public_ip"]
            options = {"username": "adam", "client_keys": [key], "known_hosts": known_hosts, "config": None}
            async with asyncssh.connect(address, port, **options) as connection:
                said = connection.get_server_host_key()
                assert said is not None
                host_keys.add(said.export_public_key())
                done = await connection.run(command, check=True)
                return str(done.stdout)

        host_keys: set[bytes] = set()
        launch(google, name, metadata=keys)
        first = open_machine()["public_ip"]
        await run("echo kept > file")
        for verb in ("reset", "stop", "start"):
            change(google, name, verb)
            if verb == "reset":
                assert await run("cat file") == "kept\n"
                assert open_machine()["public_ip"] == first
            if verb == "stop":
                with pytest.raises(OSError, match="Connect"):
                    await asyncssh.connect(
                        first, port, username="adam", client_keys=[key], known_hosts=None, config=None
                    )
                assert cloud.state()["homes"] == 1
        assert await run("cat file") == "kept\n"
        assert len(host_keys) == 1
        change(google, name, "delete")
        assert cloud.state()["homes"] == 0


def test_a_start_where_there_is_no_room_left_fails_and_leaves_it_stopped(name: str) -> None:
    with running_sandbox("--boot", "0.1", "--capacity", f"{ZONE}=1") as cloud:
        google = Google(cloud)
        launch(google, name)
        change(google, name, "stop")
        launch(google, f"{name}-2")
        assert errors(change(google, name, "start")) == ["ZONE_RESOURCE_POOL_EXHAUSTED"]
        assert status(google, name) == "TERMINATED"


def test_a_stopped_instance_counts_against_the_quota(name: str) -> None:
    with running_sandbox("--boot", "0.1", "--quota", "1") as cloud:
        google = Google(cloud)
        launch(google, name)
        change(google, name, "stop")
        more = google.instances.insert_unary(instance_resource=instance(f"{name}-2", "word"), **where(google))
        assert errors(google.done(more)) == ["QUOTA_EXCEEDED"]


def test_a_machine_whose_time_is_over_is_stopped_if_that_is_what_it_says(name: str) -> None:
    with running_sandbox("--boot", "0.1", "--time-scale", "100") as cloud:
        google = Google(cloud)
        launch(google, name, scheduling=spot(instance_termination_action="STOP", max_run_duration={"seconds": 60}))
        for _ in patiently("its end"):
            if status(google, name) == "TERMINATED":
                break
        change(google, name, "start")
        for _ in patiently("its second end"):
            if status(google, name) == "TERMINATED":
                break


@pytest.mark.parametrize("fault", ["INTERNAL_ERROR", "CONDITION_NOT_MET", "RESOURCE_NOT_READY"])
@pytest.mark.parametrize("verb", ["delete", "stop"])
def test_a_change_that_was_accepted_may_fail_and_have_no_effect(
    quick: Google, name: str, verb: str, fault: str
) -> None:
    launch(quick, name)
    quick.cloud.plan(f"instances.{verb}={fault}")
    failed = change(quick, name, verb)
    assert errors(failed) == [fault]
    assert failed.http_error_status_code >= 400
    assert status(quick, name) == "RUNNING"
    assert not errors(change(quick, name, "delete"))


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("INTERNAL_ERROR", 503, "Internal error"),
        ("CONDITION_NOT_MET", 412, r"Constraint constraints/compute\.vmExternalIpAccess violated for project \d+"),
        ("QUOTA_EXCEEDED", 403, "Quota 'CPUS_ALL_REGIONS' exceeded"),
    ],
)
def test_an_insert_that_was_accepted_fails_in_the_words_of_the_service(
    quick: Google, name: str, fault: str, code: int, message: str
) -> None:
    quick.cloud.plan(f"instances.insert={fault}")
    insert = quick.instances.insert_unary(instance_resource=instance(name, "word"), **where(quick))
    failed = quick.done(insert)
    assert (errors(failed), failed.http_error_status_code) == ([fault], code)
    assert re.match(message, failed.error.errors[0].message)
    assert quick.listed(f'name = "{name}"') == []


def bulk(google: Google, word: str) -> Any:
    names = {f"vm-{word}-{index}": {} for index in (1, 2)}
    return google.done(google.bulk(count=2, per_instance_properties=names, instance_properties=properties(word)))


def test_the_machines_of_a_bulk_fail_each_with_the_planned_code(quick: Google, word: str) -> None:
    quick.cloud.plan("instances.bulkInsert=INTERNAL_ERROR")
    failed = bulk(quick, word)
    assert errors(failed) == ["VM_MIN_COUNT_NOT_REACHED"]
    assert [errors(each) for each in quick.children(failed)] == [["INTERNAL_ERROR"]] * 2


@pytest.mark.parametrize(
    "codes", ["VM_MIN_COUNT_NOT_REACHED", "VM_MIN_COUNT_NOT_REACHED+QUOTA_EXCEEDED", "INTERNAL_ERROR+QUOTA_EXCEEDED"]
)
def test_a_bulk_may_tell_its_reasons_itself_and_try_no_machine(quick: Google, word: str, codes: str) -> None:
    quick.cloud.plan(f"instances.bulkInsert={codes}")
    failed = bulk(quick, word)
    assert errors(failed) == codes.split("+")
    assert quick.children(failed) == []
    assert quick.listed(f'labels.word = "{word}"') == []


def test_a_machine_without_access_config_has_no_address_outside(quick: Google, name: str) -> None:
    seen = launch(quick, name, network_interfaces=[{"network": "global/networks/default"}])
    assert list(seen.network_interfaces[0].access_configs) == []
    assert quick.cloud.state()["instances"]["google"][-1]["public_ip"] is None
    change(quick, name, "delete")


def kept_disk() -> list[dict[str, Any]]:
    return [{"boot": True, "auto_delete": False, "initialize_params": {"source_image": DEBIAN}}]


def test_a_disk_that_is_not_deleted_with_its_machine_is_left_behind_and_holds_its_name(
    quick: Google, name: str
) -> None:
    disks = quick.client(compute_v1.DisksClient)
    launch(quick, name, disks=kept_disk())
    with pytest.raises(exceptions.BadRequest, match="already being used by"):
        disks.delete_unary(disk=name, **where(quick))
    change(quick, name, "delete")
    left = disks.get(disk=name, **where(quick))
    assert (left.status, list(left.users)) == ("READY", [])
    assert name in [each.name for each in disks.list(**where(quick))]
    assert name in quick.cloud.state()["disks"]
    with pytest.raises(exceptions.Conflict, match=f"disks/{name}' already exists"):
        launch(quick, name)
    assert not errors(quick.done(disks.delete_unary(disk=name, **where(quick))))
    with pytest.raises(exceptions.NotFound):
        disks.get(disk=name, **where(quick))
    assert name not in quick.cloud.state()["disks"]
    launch(quick, name)
    change(quick, name, "delete")


def test_whether_a_disk_is_left_behind_can_be_changed_while_its_machine_lives(quick: Google, name: str) -> None:
    disks = quick.client(compute_v1.DisksClient)
    launch(quick, name, disks=kept_disk())
    [attached] = quick.instances.get(instance=name, **where(quick)).disks
    assert not attached.auto_delete
    request = compute_v1.SetDiskAutoDeleteInstanceRequest(
        instance=name, auto_delete=True, device_name=attached.device_name, **where(quick)
    )
    assert not errors(quick.done(quick.instances.set_disk_auto_delete_unary(request=request)))
    change(quick, name, "delete")
    with pytest.raises(exceptions.NotFound):
        disks.get(disk=name, **where(quick))


@pytest.mark.parametrize("action", ["STOP", "DELETE"])
def test_a_spot_machine_that_is_taken_back_is_stopped_or_deleted_as_it_says(
    quick: Google, name: str, action: str
) -> None:
    seen = launch(quick, name, scheduling=spot(instance_termination_action=action))
    quick.cloud.plan(f"spot-reclaim={seen.id}")
    for _ in patiently("its end"):
        left = [each.status for each in quick.listed(f'name = "{name}"')]
        assert left in ([], ["STOPPING"], ["TERMINATED"])
        if left == (["TERMINATED"] if action == "STOP" else []):
            break
    request = compute_v1.ListZoneOperationsRequest(filter=f"targetId={seen.id}", **where(quick))
    operations = list(quick.client(compute_v1.ZoneOperationsClient).list(request=request))
    [preempted] = [each for each in operations if each.operation_type == "compute.instances.preempted"]
    assert (preempted.user, preempted.status_message) == ("system", "Instance was preempted.")
    if action == "STOP":
        assert not errors(change(quick, name, "start"))
        assert status(quick, name) == "RUNNING"
        change(quick, name, "delete")


def test_only_spot_machines_are_taken_back(quick: Google, name: str) -> None:
    launch(quick, name)
    launch(quick, f"{name}-spot", scheduling=spot(instance_termination_action="DELETE"))
    quick.cloud.plan("spot-reclaim=*")
    for _ in patiently("the end of the spot machine"):
        if quick.listed(f'name = "{name}-spot"') == []:
            break
    assert status(quick, name) == "RUNNING"
    change(quick, name, "delete")


def test_a_machine_that_shuts_down_from_inside_is_stopped(quick: Google, name: str) -> None:
    seen = launch(quick, name)
    quick.cloud.plan(f"shutdown={seen.id}")
    for _ in patiently("its end"):
        if status(quick, name) == "TERMINATED":
            break
    change(quick, name, "delete")


def test_an_address_outside_that_comes_late_is_not_told_before(name: str) -> None:
    with running_sandbox("--boot", "0.1", "--late-addresses", "3600", "--no-ssh") as cloud:
        google = Google(cloud)
        seen = launch(google, name)
        [access] = seen.network_interfaces[0].access_configs
        assert (seen.status, access.name, access.nat_i_p) == ("RUNNING", "External NAT", "")
    with running_sandbox("--boot", "0.1", "--late-addresses", "0.1", "--no-ssh") as cloud:
        google = Google(cloud)
        launch(google, name)
        for _ in patiently("the address"):
            if address(google.instances.get(instance=name, **where(google))):
                break


@pytest.mark.parametrize(
    ("end", "code"),
    [("internal-error", "INTERNAL_ERROR"), ("no-capacity", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS")],
)
def test_a_boot_that_ends_badly_is_told_by_the_machine_s_operation(
    quick: Google, word: str, name: str, end: str, code: str
) -> None:
    quick.cloud.plan(f"boot={end}")
    failed = quick.done(quick.instances.insert_unary(instance_resource=instance(name, word), **where(quick)))
    assert errors(failed) == [code]
    assert quick.listed(f'name = "{name}"') == []
    quick.cloud.plan(f"boot={end}", f"boot={end}")
    failed = bulk(quick, word)
    assert errors(failed) == ["VM_MIN_COUNT_NOT_REACHED"]
    assert [errors(each) for each in quick.children(failed)] == [[code]] * 2


def test_a_machine_that_is_stopped_while_it_boots_is_there_and_can_be_started(quick: Google, name: str) -> None:
    quick.cloud.plan("boot=stop")
    quick.done(quick.instances.insert_unary(instance_resource=instance(name, "word"), **where(quick)))
    for _ in patiently("its stop"):
        if status(quick, name) == "TERMINATED":
            break
    assert not errors(change(quick, name, "start"))
    assert status(quick, name) == "RUNNING"
    change(quick, name, "delete")


def limited(action: str, seconds: int) -> dict[str, Any]:
    return {"instance_termination_action": action, "max_run_duration": {"seconds": seconds}}


def set_scheduling(google: Google, name: str, **values: Any) -> Any:
    options = compute_v1.Scheduling(**values)
    return google.done(
        google.instances.set_scheduling_unary(instance=name, scheduling_resource=options, **where(google))
    )


def ends_at(seen: Any) -> str:
    moment: str = seen.resource_status.scheduling.termination_timestamp
    return moment


def test_the_time_limit_of_a_machine_that_runs_cannot_be_changed(quick: Google, name: str) -> None:
    before = launch(quick, name, scheduling=limited("DELETE", 3600))
    with pytest.raises(exceptions.BadRequest, match="Max run duration cannot be changed while the instance is running"):
        set_scheduling(quick, name, **limited("DELETE", 7200))
    with pytest.raises(exceptions.BadRequest, match="cannot be changed while the instance is running"):
        set_scheduling(quick, name, automatic_restart=False)
    after = quick.instances.get(instance=name, **where(quick))
    assert (after.scheduling, ends_at(after)) == (before.scheduling, ends_at(before))
    change(quick, name, "delete")


def test_a_limit_is_changed_while_a_machine_is_stopped_and_counts_from_its_next_start(quick: Google, name: str) -> None:
    before = launch(quick, name, scheduling=limited("STOP", 3600))
    assert datetime.fromisoformat(ends_at(before)) - started(before) == pytest.approx(timedelta(hours=1), abs=SOON)
    change(quick, name, "stop")
    assert ends_at(quick.instances.get(instance=name, **where(quick))) == ""
    assert not errors(set_scheduling(quick, name, max_run_duration={"seconds": 7200}))
    with pytest.raises(exceptions.BadRequest, match="30 to"):
        set_scheduling(quick, name, max_run_duration={"seconds": 7})
    change(quick, name, "start")
    after = quick.instances.get(instance=name, **where(quick))
    assert after.scheduling.instance_termination_action == "STOP"
    assert datetime.fromisoformat(ends_at(after)) - started(after) == pytest.approx(timedelta(hours=2), abs=SOON)
    change(quick, name, "delete")


SOON = timedelta(seconds=1)


def started(seen: Any) -> datetime:
    return datetime.fromisoformat(seen.last_start_timestamp)


def test_a_machine_that_powers_itself_off_stands_and_its_time_no_longer_runs(quick: Google, name: str) -> None:
    seen = launch(quick, name, scheduling=limited("DELETE", 3600))
    quick.cloud.plan(f"shutdown={seen.id}")
    for _ in patiently("the end of its run"):
        if status(quick, name) == "TERMINATED":
            break
    assert ends_at(quick.instances.get(instance=name, **where(quick))) == ""
    change(quick, name, "delete")
