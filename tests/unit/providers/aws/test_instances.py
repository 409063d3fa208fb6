from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from ruamel.yaml import YAML

from ogc_async.errors import InvalidRequest, NoCapacity, ServiceUnavailable, Unauthorized
from ogc_async.providers.aws.instances import read_instance, run_parameters, searches
from ogc_async.providers.aws.userdata import user_data
from ogc_async.providers.base import InjectsHostKeys
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure
from tests.unit.providers.aws.conftest import Open
from tests.unit.providers.aws.script import (
    PREPARED,
    Script,
    Time,
    check_parameters,
    described,
    launch_request,
    refusal,
)


def tags_of(parameters: dict[str, Any], kind: str) -> dict[str, str]:
    specifications = {each["ResourceType"]: each["Tags"] for each in parameters["TagSpecifications"]}
    return {tag["Key"]: tag["Value"] for tag in specifications[kind]}


def test_a_launch_says_all_that_the_layout_asks_for() -> None:
    request = launch_request(
        zone="us-east-2b",
        spot=True,
        ttl=timedelta(hours=2),
        disk_size_gib=50,
        tags=("blue", "canary"),
        labels={"team": "x", "ogc:owner": "somebody else"},
    )
    parameters = run_parameters(request, PREPARED)
    check_parameters("ec2", "RunInstances", parameters)
    assert (parameters["MinCount"], parameters["MaxCount"]) == (1, 3)
    assert parameters["ClientToken"] == "token-1"
    assert parameters["Placement"] == {"AvailabilityZone": "us-east-2b"}
    assert parameters["InstanceMarketOptions"]["MarketType"] == "spot"
    assert parameters["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert parameters["MetadataOptions"]["HttpTokens"] == "required"
    assert parameters["BlockDeviceMappings"][0]["DeviceName"] == "/dev/sda1"
    assert parameters["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 50
    assert "shutdown -h +120" in parameters["UserData"]
    expected = {
        "Name": "ogc-web",
        "team": "x",
        "ogc:tags": "blue,canary",
        "ogc:owner": "adam",
        "ogc:scope": "0123456789abcdef",
        "ogc:layout": "web",
        "ogc:batch": "token-1",
    }
    assert tags_of(parameters, "instance") == tags_of(parameters, "volume") == expected


def test_tags_that_one_value_does_not_hold_are_launched_with_in_several() -> None:
    words = tuple(f"component-{number:02}" for number in range(30))
    parameters = run_parameters(launch_request(tags=words), PREPARED)
    check_parameters("ec2", "RunInstances", parameters)
    written = tags_of(parameters, "instance")
    assert all(len(value) <= 256 for value in written.values())
    assert f"{written['ogc:tags']},{written['ogc:tags-2']}".split(",") == list(words)


def test_a_plain_launch_says_nothing_that_nobody_asked_for() -> None:
    parameters = run_parameters(launch_request(), PREPARED)
    check_parameters("ec2", "RunInstances", parameters)
    assert not {"Placement", "InstanceMarketOptions", "UserData", "BlockDeviceMappings"} & set(parameters)


def test_equal_requests_make_equal_calls() -> None:
    assert run_parameters(launch_request(ttl=timedelta(minutes=5)), PREPARED) == run_parameters(
        launch_request(ttl=timedelta(minutes=5)), PREPARED
    )


@pytest.mark.parametrize(
    ("ttl", "minutes"), [(timedelta(seconds=1), 1), (timedelta(seconds=61), 2), (timedelta(days=1), 1440)]
)
def test_a_time_to_live_is_minutes_rounded_up(ttl: timedelta, minutes: int) -> None:
    assert f"shutdown -h +{minutes}\n" in user_data(ttl, None)


def test_all_that_a_machine_is_told_is_one_document_as_cloud_init_reads_it() -> None:
    key = new_host_key()
    told = user_data(timedelta(hours=1), key)
    assert told.startswith("#cloud-config\n")
    assert len(told.encode()) < 16_384
    config = YAML(typ="safe").load(told)
    assert config["ssh_keys"] == {"ed25519_public": key.public, "ed25519_private": key.private}
    (script,) = config["write_files"]
    assert "shutdown -h +60\n" in script["content"]
    assert YAML(typ="safe").load(user_data(None, key)) == {"ssh_keys": config["ssh_keys"]}
    assert user_data(None, None) == ""


async def test_a_repeat_carries_the_very_same_bytes(open_with: Open, time: Time) -> None:
    script = Script(RunInstances=[refusal("InternalError", status=500), {"Instances": [described(0)]}])
    request = launch_request(names=("a",), ttl=timedelta(hours=1), host_key=new_host_key())
    provider = open_with(script)
    await provider.launch(request, PREPARED)
    await provider.launch(request, PREPARED)
    first, *repeats = script.of("RunInstances")
    assert "ed25519_private" in first["UserData"]
    assert repeats == [first, first]


async def test_no_text_about_a_request_or_its_failure_shows_the_private_half(
    open_with: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = new_host_key()
    request = launch_request(host_key=key)
    with pytest.raises(InvalidRequest) as caught:
        await open_with(Script(RunInstances=refusal("InvalidParameterValue"))).launch(request, PREPARED)
    shown = "".join((repr(request), repr(key), str(key), repr(caught.value), str(caught.value), caplog.text))
    assert key.public in shown
    for line in key.private.splitlines():
        assert line not in shown


@pytest.mark.parametrize(
    ("runs_on", "has"),
    [("ubuntu-2404", True), ("Debian-12", True), ("windows-2025", False), ("ami-12345678", False), ("nothing", False)],
)
def test_an_image_is_known_to_have_cloud_init_by_its_name_alone(open_with: Open, runs_on: str, has: bool) -> None:
    provider = open_with(Script())
    assert isinstance(provider, InjectsHostKeys)
    assert provider.has_cloud_init(runs_on) is has


async def test_names_get_their_instances_by_launch_index_whatever_the_order(open_with: Open) -> None:
    script = Script(RunInstances={"Instances": [described(2), described(0), described(1)]})
    answers = await open_with(script).launch(launch_request(), PREPARED)
    assert [each.launch_index for each in answers if isinstance(each, Instance)] == [0, 1, 2]


async def test_names_beyond_the_room_there_was_are_told_so(open_with: Open) -> None:
    script = Script(RunInstances={"Instances": [described(0), described(1)]})
    *landed, last = await open_with(script).launch(launch_request(zone="us-east-2c"), PREPARED)
    assert all(isinstance(each, Instance) for each in landed)
    assert isinstance(last, LaunchFailure)
    assert last.name == "web-3"
    assert isinstance(last.error, NoCapacity)
    assert "2 of 3 t3.small in us-east-2c" in str(last.error)


async def test_credentials_that_may_not_tag_volumes_launch_without_under_a_token_of_their_own(open_with: Open) -> None:
    tokens = []
    for _ in range(2):
        script = Script(RunInstances=[refusal("UnauthorizedOperation", status=403), {"Instances": [described(0)]}])
        await open_with(script).launch(launch_request(names=("a",)), PREPARED)
        first, second = script.of("RunInstances")
        assert [each["ResourceType"] for each in second["TagSpecifications"]] == ["instance"]
        assert tags_of(second, "instance")["ogc:batch"] == "token-1"
        assert second["ClientToken"] != first["ClientToken"]
        assert len(second["ClientToken"]) <= 64
        tokens.append(second["ClientToken"])
    assert tokens[0] == tokens[1]


async def test_credentials_that_may_not_launch_are_told_so(open_with: Open) -> None:
    script = Script(RunInstances=refusal("UnauthorizedOperation", "You may not.", status=403))
    with pytest.raises(Unauthorized, match="ec2:RunInstances"):
        await open_with(script).launch(launch_request(), PREPARED)
    script = Script(RunInstances=refusal("AuthFailure", status=401))
    with pytest.raises(Unauthorized, match="AWS_SECRET_ACCESS_KEY"):
        await open_with(script).launch(launch_request(), PREPARED)
    assert len(script.calls) == 1


async def test_more_machines_than_one_call_takes_are_refused_unasked(open_with: Open) -> None:
    provider = open_with(Script())
    request = launch_request(names=tuple(map(str, range(provider.max_batch + 1))))
    with pytest.raises(InvalidRequest, match="at most 100"):
        await provider.launch(request, PREPARED)


async def test_a_description_asks_by_filter_with_at_most_200_values(open_with: Open) -> None:
    script = Script(DescribeInstances={"Reservations": []})
    ids = tuple(f"i-{each}" for each in range(450))
    request = DescribeRequest(owner="adam", scope="s", tokens=("t-1", "t-2"), instance_ids=ids)
    assert await open_with(script).describe(request) == {}
    asked = [{each["Name"]: each["Values"] for each in call["Filters"]} for call in script.of("DescribeInstances")]
    assert all(each["tag:ogc:scope"] == ["s"] and each["tag:ogc:owner"] == ["adam"] for each in asked)
    assert [each["tag:ogc:batch"] for each in asked if "tag:ogc:batch" in each] == [["t-1", "t-2"]]
    assert sorted(len(each["instance-id"]) for each in asked if "instance-id" in each) == [50, 200, 200]
    assert all(call["MaxResults"] == 1000 for call in script.of("DescribeInstances"))


def test_many_ids_are_asked_for_by_their_batches_and_few_by_themselves() -> None:
    def names(count: int) -> list[list[str]]:
        ids = tuple(f"i-{each}" for each in range(count))
        request = DescribeRequest(owner="adam", scope="s", instance_ids=ids, id_tokens=("t-1", "t-2"))
        return [[each["Name"] for each in search] for search in searches(request)]

    assert names(201) == [["tag:ogc:batch", "tag:ogc:owner", "tag:ogc:scope"]]
    assert names(200) == [["instance-id", "tag:ogc:owner", "tag:ogc:scope"]]


def test_a_patient_caller_does_not_hear_of_machines_that_still_boot() -> None:
    request = DescribeRequest(owner="adam", scope="s", instance_ids=("i-1",), is_patient=True)
    [search] = searches(request)
    [states] = [each["Values"] for each in search if each["Name"] == "instance-state-name"]
    assert sorted(states) == ["running", "shutting-down", "stopped", "stopping", "terminated"]


async def test_what_was_not_asked_for_is_not_answered_though_its_batch_was_looked_through(open_with: Open) -> None:
    reservation = {"Instances": [described(each) for each in range(300)]}
    script = Script(DescribeInstances={"Reservations": [reservation]})
    ids = tuple(described(each)["InstanceId"] for each in range(250))
    request = DescribeRequest(owner="adam", scope="s", instance_ids=ids, id_tokens=("token-1",))
    assert set(await open_with(script).describe(request)) == set(ids)
    assert len(script.of("DescribeInstances")) == 1


def test_an_instance_is_read_whole() -> None:
    launched_at = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=1)))
    read = read_instance(
        described(
            4,
            state="terminated",
            PublicIpAddress="203.0.113.1",
            PrivateIpAddress="",
            StateReason={"Code": "Server.InsufficientInstanceCapacity", "Message": "There is not enough capacity"},
            Tags=[{"Key": "ogc:batch", "Value": "token-1"}, {"Key": "Name", "Value": "ogc-web"}],
            LaunchTime=launched_at,
        )
    )
    assert read == Instance(
        id="i-00000000000000004",
        state=InstanceState.TERMINATED,
        token="token-1",
        launch_index=4,
        zone="us-east-2a",
        name="ogc-web",
        public_ip="203.0.113.1",
        private_ip=None,
        reason="Server.InsufficientInstanceCapacity: There is not enough capacity",
        tags={"ogc:batch": "token-1", "Name": "ogc-web"},
        launched_at=datetime(2026, 1, 2, 2, 4, tzinfo=UTC),
    )


def test_a_healthy_instance_gives_no_reason() -> None:
    assert read_instance(described(0, StateReason={"Code": "pending", "Message": "pending"})).reason == ""


class Fleet:
    """Instances to terminate: one bad id fails the whole call, as on EC2."""

    def __init__(self, *, names_the_bad: bool = True, **bad: str) -> None:
        self.bad = bad
        self.ended: set[str] = set()
        self._names_the_bad = names_the_bad

    def __call__(self, parameters: dict[str, Any]) -> dict[str, Any]:
        for each in parameters["InstanceIds"]:
            code = self.bad.get(each.replace("-", "_"))
            if code:
                raise refusal(code, f"The instance ID '{each}' is bad" if self._names_the_bad else "no")
        self.ended.update(parameters["InstanceIds"])
        endings = [
            {"InstanceId": each, "CurrentState": {"Name": "shutting-down"}} for each in parameters["InstanceIds"]
        ]
        return {"TerminatingInstances": endings}


@pytest.mark.parametrize("names_the_bad", [True, False])
async def test_bad_ids_cost_the_others_nothing(open_with: Open, names_the_bad: bool) -> None:
    fleet = Fleet(
        names_the_bad=names_the_bad,
        i_3="InvalidInstanceID.NotFound",
        i_7="OperationNotPermitted",
        i_8="InvalidInstanceID.Malformed",
    )
    script = Script(TerminateInstances=fleet)
    ids = [f"i-{each}" for each in range(40)]
    answers = await open_with(script).terminate(ids)
    assert list(answers) == ids
    assert fleet.ended == set(ids) - {"i-3", "i-7", "i-8"}
    gone = answers["i-3"]
    assert isinstance(gone, Instance)
    assert gone.state is InstanceState.TERMINATED
    assert isinstance(answers["i-7"], InvalidRequest)
    assert isinstance(answers["i-8"], InvalidRequest)


async def test_many_are_terminated_in_few_calls(open_with: Open) -> None:
    script = Script(TerminateInstances=Fleet())
    answers = await open_with(script).terminate([f"i-{each}" for each in range(1200)])
    assert len(answers) == 1200
    assert sorted(len(call["InstanceIds"]) for call in script.of("TerminateInstances")) == [200, 500, 500]


async def test_a_refused_termination_is_each_ones_answer(open_with: Open) -> None:
    script = Script(TerminateInstances=refusal("UnauthorizedOperation", status=403))
    answers = await open_with(script).terminate(["i-1", "i-2"])
    assert all(isinstance(each, Unauthorized) for each in answers.values())
    assert len(script.calls) == 1


async def test_an_instance_launched_just_now_is_never_taken_for_gone(open_with: Open, time: Time) -> None:
    unknown = refusal("InvalidInstanceID.NotFound", "The instance ID 'i-00000000000000000' does not exist")
    ending = {"TerminatingInstances": [{"InstanceId": "i-0", "CurrentState": {"Name": "shutting-down"}}]}
    launched = {"Instances": [described(0)]}
    young = "i-00000000000000000"

    provider = open_with(Script(RunInstances=launched, TerminateInstances=[unknown, unknown, ending]))
    await provider.launch(launch_request(names=("a",)), PREPARED)
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, Instance)
    assert answer.state is InstanceState.TERMINATING

    provider = open_with(Script(RunInstances=launched, TerminateInstances=unknown))
    await provider.launch(launch_request(names=("a",)), PREPARED)
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, ServiceUnavailable)
    assert answer.retryable
    time.now += 3600
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, Instance)
    assert answer.state is InstanceState.TERMINATED
