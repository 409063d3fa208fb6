from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from ruamel.yaml import YAML

from ogc_async.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    ServiceUnavailable,
    Unauthorized,
    UnreadableReply,
)
from ogc_async.providers.aws.instances import read_instance, run_parameters, searches
from ogc_async.providers.aws.userdata import user_data
from ogc_async.providers.base import InjectsHostKeys
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import DescribeRequest, Disk, Instance, InstanceState, LaunchFailure, Market, Prepared, Then
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
        ends_at=datetime.fromtimestamp(1_795_000_000.25, UTC),
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
    assert "life=7200 " in parameters["UserData"]
    expected = {
        "Name": "ogc-web",
        "team": "x",
        "ogc:tags": "blue,canary",
        "ogc:owner": "adam",
        "ogc:scope": "0123456789abcdef",
        "ogc:layout": "web",
        "ogc:batch": "token-1",
        "ogc:ends": "1795000001",
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


@pytest.mark.parametrize(("stops", "behavior", "then"), [(False, "terminate", "end"), (True, "stop", "stop")])
def test_a_machine_that_is_to_stop_at_its_end_is_told_so_and_so_is_ec2(stops: bool, behavior: str, then: str) -> None:
    parameters = run_parameters(launch_request(ttl=timedelta(hours=1), stops_at_end=stops), PREPARED)
    assert parameters["InstanceInitiatedShutdownBehavior"] == behavior
    assert f"\n    then={then} " in parameters["UserData"]


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(timedelta(seconds=0.5), 1), (timedelta(seconds=61), 61), (timedelta(days=1), 86400)]
)
def test_a_time_to_live_is_whole_seconds(ttl: timedelta, seconds: int) -> None:
    assert f"life={seconds} " in user_data(ttl, None)


def test_all_that_a_machine_is_told_is_one_document_as_cloud_init_reads_it() -> None:
    key = new_host_key()
    told = user_data(timedelta(hours=1), key)
    assert told.startswith("#cloud-config\n")
    assert len(told.encode()) < 16_384
    config = YAML(typ="safe").load(told)
    assert config["ssh_keys"] == {"ed25519_public": key.public, "ed25519_private": key.private}
    assert "life=3600 " in config["write_files"][0]["content"]
    assert YAML(typ="safe").load(user_data(None, key)) == {"ssh_keys": config["ssh_keys"]}
    assert user_data(None, None) == ""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, None),
        ({"then": Then.STOP}, None),
        ({"is_spot": True, "then": Then.REPLACE}, None),
        ({"platform": "windows", "runs_on": "ami-1"}, "no switch of ours runs there"),
        ({"runs_on": "Windows-2022"}, "no switch of ours runs there"),
        ({"has_cloud_init": False, "runs_on": "ami-1"}, "say `ready: cloud-init` if it has"),
        ({"is_spot": True, "then": Then.STOP}, "cannot stop a spot machine"),
    ],
)
def test_an_end_that_no_machine_would_keep_is_known_before_it_is_launched(
    open_with: Open, asked: dict[str, Any], told: str | None
) -> None:
    layout = {"runs_on": "ubuntu-2404", "platform": "linux", "has_cloud_init": True, "is_spot": False, "then": Then.END}
    said = open_with(Script()).why_no_end(**(layout | asked))
    assert (said is None) if told is None else (said is not None and told in said and "\n" not in said)


async def test_a_moved_end_is_written_on_the_machine_and_put_to_it_in_one_line(open_with: Open) -> None:
    script = Script(CreateTags={})
    provider = open_with(script)
    await provider.move_end("i-1", datetime.fromtimestamp(1_795_000_000, UTC))
    assert script.of("CreateTags") == [
        {"Resources": ["i-1"], "Tags": [{"Key": "ogc:ends", "Value": "1795000000"}]},
    ]
    command = provider.end_command(7200)
    assert "\n" not in command
    assert "else sudo -n sh /usr/local/sbin/ogc-end extend 7200;" in command


async def test_the_regions_are_those_of_the_account(open_with: Open) -> None:
    script = Script(DescribeRegions={"Regions": [{"RegionName": "us-east-2"}, {"RegionName": "eu-west-1"}]})
    assert await open_with(script).regions("adam") == ["eu-west-1", "us-east-2"]
    # Those that the account has not enabled are left out where nothing is said of them.
    assert script.of("DescribeRegions") == [{}]


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
            StateTransitionReason="Server.InsufficientInstanceCapacity (2026-01-02 02:05:06 GMT)",
            InstanceType="m5.large",
            InstanceLifecycle="spot",
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
        size="m5.large",
        market=Market.SPOT,
        ended_at=datetime(2026, 1, 2, 2, 5, 6, tzinfo=UTC),
    )


def test_a_healthy_instance_gives_no_reason() -> None:
    assert read_instance(described(0, StateReason={"Code": "pending", "Message": "pending"})).reason == ""


@pytest.mark.parametrize(
    ("state", "told", "at"),
    [
        ("stopped", "User initiated (2026-11-27 09:12:45 GMT)", datetime(2026, 11, 27, 9, 12, 45, tzinfo=UTC)),
        ("shutting-down", "User initiated (2026-11-27 09:12:45 GMT)", datetime(2026, 11, 27, 9, 12, 45, tzinfo=UTC)),
        ("running", "User initiated (2026-11-27 09:12:45 GMT)", None),
        ("stopped", "User initiated", None),
        ("terminated", "User initiated (2026-13-27 09:12:45 GMT)", None),
        ("terminated", "", None),
    ],
)
def test_an_end_is_when_ec2_says_that_it_was(state: str, told: str, at: datetime | None) -> None:
    read = read_instance(described(0, state=state, StateTransitionReason=told))
    assert (read.ended_at, read.market) == (at, Market.ON_DEMAND)


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
    script = Script(TerminateInstances=fleet, DescribeInstances={"Reservations": []})
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
    ending = {
        "TerminatingInstances": [{"InstanceId": "i-00000000000000000", "CurrentState": {"Name": "shutting-down"}}]
    }
    launched = {"Instances": [described(0)]}
    young = "i-00000000000000000"

    provider = open_with(Script(RunInstances=launched, TerminateInstances=[unknown, unknown, ending]))
    await provider.launch(launch_request(names=("a",)), PREPARED)
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, Instance)
    assert answer.state is InstanceState.TERMINATING

    provider = open_with(
        Script(RunInstances=launched, TerminateInstances=unknown, DescribeInstances={"Reservations": []})
    )
    await provider.launch(launch_request(names=("a",)), PREPARED)
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, ServiceUnavailable)
    assert answer.retryable
    time.now += 3600
    answer = (await provider.terminate([young]))[young]
    assert isinstance(answer, Instance)
    assert answer.state is InstanceState.TERMINATED


def shown(*instances: dict[str, Any], owner: str = "210987654321") -> dict[str, Any]:
    return {"Reservations": [{"OwnerId": owner, "Instances": [each]} for each in instances]}


def unknown(*ids: str) -> Exception:
    return refusal("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(ids)}' do not exist")


async def test_a_launch_that_may_have_worked_is_not_undone_by_its_repeats_refusal(open_with: Open) -> None:
    for code in ("RequestExpired", "UnauthorizedOperation", "AuthFailure"):
        script = Script(RunInstances=[refusal("InternalError", status=500), refusal(code, status=403)])
        with pytest.raises(OutcomeUnknown) as caught:
            await open_with(script).launch(launch_request(), PREPARED)
        assert caught.value.code == code
    script = Script(RunInstances=[refusal("InternalError", status=500), refusal("InsufficientInstanceCapacity")])
    with pytest.raises(NoCapacity):
        await open_with(script).launch(launch_request(), PREPARED)


@pytest.mark.parametrize("reply", [{}, {"Instances": []}, {"Instances": [{"InstanceId": "i-1"}]}])
async def test_a_launch_whose_reply_names_no_machine_is_unknown_and_no_lack_of_capacity(
    open_with: Open, reply: dict[str, Any]
) -> None:
    script = Script(RunInstances=reply)
    with pytest.raises(UnreadableReply) as caught:
        await open_with(script).launch(launch_request(), PREPARED)
    assert caught.value.retryable
    assert len(script.calls) > 1
    script = Script(RunInstances=[reply, {"Instances": [described(each) for each in range(3)]}])
    assert len(await open_with(script).launch(launch_request(), PREPARED)) == 3


async def test_a_machine_is_of_the_account_that_owns_its_reservation(open_with: Open) -> None:
    script = Script(RunInstances={"OwnerId": "210987654321", "Instances": [described(0)]})
    provider = open_with(script)
    [launched] = await provider.launch(launch_request(names=("a",)), PREPARED)
    assert isinstance(launched, Instance)
    assert launched.account == await provider.account() == "210987654321"
    assert script.operations() == ["RunInstances"]


@pytest.mark.parametrize(
    ("owners", "told"),
    [
        (["210987654321"], "210987654321"),
        (["210987654321"] * 2, "210987654321"),
        (["1" * 12, "2" * 12], None),
        ([], None),
    ],
)
async def test_where_sts_is_silent_the_owner_of_the_default_groups_tells_the_account(
    open_with: Open, owners: list[str], told: str | None
) -> None:
    groups = [{"GroupId": f"sg-{owner}", "GroupName": "default", "OwnerId": owner} for owner in owners]
    denied = refusal("AccessDenied", status=403, operation="GetCallerIdentity")
    script = Script(GetCallerIdentity=denied, DescribeSecurityGroups={"SecurityGroups": groups})
    assert await open_with(script).account() == told


async def test_an_account_that_cannot_be_learned_is_asked_for_again_after_a_minute(open_with: Open, time: Time) -> None:
    denied = refusal("AccessDenied", status=403, operation="GetCallerIdentity")
    silent = refusal("UnauthorizedOperation", status=403, operation="DescribeSecurityGroups")
    script = Script(GetCallerIdentity=[denied, {"Account": "210987654321"}], DescribeSecurityGroups=silent)
    provider = open_with(script)
    for _ in range(3):
        assert await provider.account() is None
    assert script.operations() == ["GetCallerIdentity", "DescribeSecurityGroups"]
    time.now += 61
    assert await provider.account() == "210987654321"


async def test_before_a_launch_the_account_is_asked_for_with_the_patience_of_any_call(open_with: Open) -> None:
    silent = refusal("ServiceUnavailable", status=503, operation="DescribeSecurityGroups")
    groups = {"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "default", "OwnerId": "210987654321"}]}
    unheard = refusal("ServiceUnavailable", status=503, operation="GetCallerIdentity")
    script = Script(GetCallerIdentity=unheard, DescribeSecurityGroups=[silent, silent, silent, groups])
    provider = open_with(script)
    assert await provider.account() is None
    assert await provider.account(patiently=True) == "210987654321"


async def test_an_account_that_no_call_may_ask_for_keeps_no_launch_waiting(open_with: Open, time: Time) -> None:
    denied = refusal("AccessDenied", status=403, operation="GetCallerIdentity")
    refused = refusal("UnauthorizedOperation", status=403, operation="DescribeSecurityGroups")
    script = Script(GetCallerIdentity=denied, DescribeSecurityGroups=refused)
    before = time.now
    assert await open_with(script).account(patiently=True) is None
    assert time.now == before


async def test_machines_are_looked_up_together_and_those_unknown_are_set_aside(open_with: Open) -> None:
    there = {f"i-{each:017x}": described(each, state="running") for each in range(150)}
    gone = [f"i-{each:017x}" for each in range(1000, 1050)]

    def answer(parameters: dict[str, Any]) -> dict[str, Any]:
        if missing := [each for each in parameters["InstanceIds"] if each not in there]:
            raise unknown(*missing)
        return shown(*(there[each] for each in parameters["InstanceIds"]))

    script = Script(DescribeInstances=answer, DescribeInstanceStatus=nobody_knows)
    ids = [*gone, *there]
    answers = await open_with(script).look_up(ids)
    assert list(answers) == ids
    states = {key: each.state for key, each in answers.items() if isinstance(each, Instance)}
    assert {states[each] for each in gone} == {InstanceState.TERMINATED}
    assert {states[each] for each in there} == {InstanceState.RUNNING}
    assert len(script.calls) == 4


def nobody_knows(parameters: dict[str, Any]) -> dict[str, Any]:
    raise unknown(*parameters["InstanceIds"])


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        ({"InstanceStatuses": [{"InstanceId": "i-1", "InstanceState": {"Name": "running"}}]}, UnreadableReply),
        ({"InstanceStatuses": []}, UnreadableReply),
        ({"something": "else"}, UnreadableReply),
        (refusal("RequestExpired"), Unauthorized),
        (refusal("UnauthorizedOperation", status=403), Instance),
        (unknown("i-1"), Instance),
    ],
)
async def test_a_machine_that_is_looked_up_is_gone_only_if_two_operations_agree(
    open_with: Open, second: Any, kind: type
) -> None:
    """Credentials that may not ask for statuses have the first operation's word alone."""
    script = Script(DescribeInstances=unknown("i-1"), DescribeInstanceStatus=second)
    assert isinstance((await open_with(script).look_up(["i-1"]))["i-1"], kind)


async def test_what_keeps_a_machine_from_being_shown_is_no_end_of_it(open_with: Open) -> None:
    ids = ["i-1", "i-2"]
    for trouble in (refusal("UnauthorizedOperation", status=403), refusal("RequestExpired"), {"Reservations": []}):
        answers = await open_with(Script(DescribeInstances=trouble)).look_up(ids)
        assert list(answers) == ids
        assert all(isinstance(each, ProviderError) for each in answers.values())
    malformed = refusal("InvalidInstanceID.Malformed", 'Invalid id: "i-1"')
    script = Script(DescribeInstances=[malformed, unknown("i-2")], DescribeInstanceStatus=nobody_knows)
    answers = await open_with(script).look_up(ids)
    assert isinstance(answers["i-1"], InvalidRequest)
    assert isinstance(answers["i-2"], Instance)


async def test_a_machine_launched_just_now_that_cannot_be_looked_up_yet_is_not_gone(open_with: Open) -> None:
    young = described(0)["InstanceId"]
    script = Script(RunInstances={"Instances": [described(0)]}, DescribeInstances=unknown(young))
    provider = open_with(script)
    await provider.launch(launch_request(names=("a",)), PREPARED)
    assert isinstance((await provider.look_up([young]))[young], ServiceUnavailable)


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        ({"Reservations": []}, Instance),
        (shown(described(7, state="terminated")), Instance),
        (shown(described(7, state="running")), ServiceUnavailable),
        (refusal("UnauthorizedOperation", status=403), Unauthorized),
        ({"something": "else"}, UnreadableReply),
    ],
)
async def test_a_machine_is_gone_only_if_two_operations_agree(open_with: Open, second: Any, kind: type) -> None:
    machine = described(7)["InstanceId"]
    script = Script(TerminateInstances=unknown(machine), DescribeInstances=second)
    answer = (await open_with(script).terminate([machine]))[machine]
    assert isinstance(answer, kind)
    if isinstance(answer, Instance):
        assert answer.state is InstanceState.TERMINATED
    asked = script.of("DescribeInstances")[0]
    assert asked["Filters"] == [{"Name": "instance-id", "Values": [machine]}]


async def test_many_that_are_gone_are_asked_after_together(open_with: Open) -> None:
    ids = [f"i-{each:017x}" for each in range(40)]
    script = Script(TerminateInstances=unknown(*ids), DescribeInstances={"Reservations": []})
    assert all(isinstance(each, Instance) for each in (await open_with(script).terminate(ids)).values())
    assert script.operations() == ["TerminateInstances", "DescribeInstances"]


def test_a_state_of_no_name_that_is_known_counts_as_not_ready_and_says_so() -> None:
    read = read_instance(described(0, state="hibernating"))
    assert (read.state, read.reason) == (InstanceState.PENDING, "EC2 calls it 'hibernating'")


def test_a_boot_that_failed_on_the_clouds_side_says_so() -> None:
    code = "Server.InternalError"
    reason = {"Code": code, "Message": f"{code}: Internal error on launch"}
    assert read_instance(described(0, state="terminated", StateReason=reason)).reason.startswith(f"{code}:")


def test_every_volume_goes_with_its_machine_whatever_the_image_says() -> None:
    data = Disk("/dev/sdb", (("SnapshotId", "snap-1"), ("VolumeSize", 100)))
    prepared = Prepared("ami-1", "u", "k", "sg-1", "/dev/sda1", (Disk("/dev/sda1", (("VolumeSize", 8),)), data))
    for size, root_gib in ((None, 8), (50, 50)):
        parameters = run_parameters(launch_request(disk_size_gib=size), prepared)
        check_parameters("ec2", "RunInstances", parameters)
        assert parameters["BlockDeviceMappings"] == [
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": root_gib, "DeleteOnTermination": True}},
            {
                "DeviceName": "/dev/sdb",
                "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 100, "DeleteOnTermination": True},
            },
        ]


def test_a_public_address_is_asked_for_in_one_place_with_the_firewall() -> None:
    parameters = run_parameters(launch_request(wants_public_ip=True), PREPARED)
    check_parameters("ec2", "RunInstances", parameters)
    [interface] = parameters["NetworkInterfaces"]
    assert interface == {"DeviceIndex": 0, "AssociatePublicIpAddress": True, "Groups": ["sg-1"]}
    assert "SecurityGroupIds" not in parameters
    assert run_parameters(launch_request(), PREPARED)["SecurityGroupIds"] == ["sg-1"]
