"""What is said of a machine only once Compute Engine has said so of that machine: that it is gone, or never was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ogc_async import errors
from ogc_async.providers.google.images import check_machine_type
from ogc_async.providers.google.methods import LAUNCH
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchFailure
from tests.unit.providers.google.request import PREPARED, TOKEN, request
from tests.unit.providers.google.stub import (
    PROJECT,
    ZONE,
    Said,
    Says,
    StubbedClient,
    instance,
    missing,
    no,
    operation,
    page,
)

ONE, TWO = request().names
IDS = [f"{ZONE}/{name}" for name in (ONE, TWO)]
NONE: Said = (200, page("instance"))
BOTH: Said = (200, page("instance", instance(ONE), instance(TWO)))
TAKEN_UP: Said = (200, operation(status="RUNNING", operationGroupId="group-1"))
DONE: Said = (200, operation(operationGroupId="group-1"))
NO_CHILDREN: Said = (200, page("operation"))

REFUSALS: dict[str, Said] = {
    "403": no(403, "forbidden", "Required 'compute.instances.list' permission"),
    "401": no(401, "authError"),
    "404 of the project": missing("zones/us-central1-a"),
    "400": no(400, "invalid"),
    "rate": no(403, "rateLimitExceeded"),
    "503": no(503, "backendError"),
    "login page": (200, b"<html>"),
    "another kind": (200, {"kind": "compute#diskList"}),
}


async def launch(client: StubbedClient, **values: Any) -> list[Instance | LaunchFailure]:
    return await client.instances().launch(request(**values), PREPARED)


def ids(answers: list[Instance | LaunchFailure]) -> list[str]:
    return [each.id if isinstance(each, Instance) else type(each.error).__name__ for each in answers]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("refused", ["instances.list", "zoneOperations.get", "zoneOperations.list", "all"])
async def test_once_a_launch_is_taken_no_other_calls_refusal_is_its_own(
    refused: str, refusal: str, tmp_path: Path
) -> None:
    says: dict[str, Says] = {
        LAUNCH: TAKEN_UP,
        "instances.list": (200, page("instance", instance(ONE))),
        "zoneOperations.get": [TAKEN_UP, DONE],
        "zoneOperations.list": NO_CHILDREN,
    }
    for each in says if refused == "all" else [refused]:
        says[each] = REFUSALS[refusal] if each != LAUNCH else says[each]
    answers = await launch(StubbedClient(tmp_path, says))
    assert ids(answers) == IDS
    second = answers[1]
    assert isinstance(second, Instance)
    assert (second.state, second.name, second.token, second.account) == (
        InstanceState.PENDING,
        TWO,
        TOKEN,
        PROJECT,
    )


async def test_an_account_that_may_not_label_disks_launches_without(tmp_path: Path) -> None:
    refused = no(403, "forbidden", f"Required 'compute.disks.setLabels' permission for 'projects/{PROJECT}/x'")
    client = StubbedClient(tmp_path, {LAUNCH: [refused, DONE], "instances.list": BOTH})
    assert ids(await launch(client)) == IDS
    labelled, bare = client.bodies[LAUNCH]
    assert "ogc-layout" in str(labelled["instanceProperties"]["disks"])
    assert "labels" not in str(bare["instanceProperties"]["disks"])
    client = StubbedClient(tmp_path, {LAUNCH: no(403, "forbidden")})
    with pytest.raises(errors.Unauthorized):
        await launch(client)
    assert client.calls[LAUNCH] == 1


POLICY = "Constraint constraints/compute.vmExternalIpAccess violated for project projects/our-project."
ENDS = {
    "INTERNAL_ERROR": ("Internal error.", 503, errors.NoCapacity),
    "CONDITION_NOT_MET": (POLICY, 412, errors.Unauthorized),
    "QUOTA_EXCEEDED": ("Quota 'CPUS' exceeded.", 403, errors.QuotaExceeded),
    "ZONE_RESOURCE_POOL_EXHAUSTED": ("no room", 503, errors.NoCapacity),
}


@pytest.mark.parametrize("code", ENDS)
async def test_an_operation_that_ended_with_an_error_is_evidence_for_what_a_list_does_not_show(
    code: str, tmp_path: Path
) -> None:
    message, http, kind = ENDS[code]
    failed = (200, operation((code, message), http=http))
    listed = (200, page("instance", instance(ONE)))
    answers = await launch(StubbedClient(tmp_path, {LAUNCH: failed, "instances.list": listed}))
    assert ids(answers) == [IDS[0], kind.__name__]
    [failure] = [each for each in answers if isinstance(each, LaunchFailure)]
    assert (failure.name, failure.error.code, failure.error.retryable) == (TWO, code, False)


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("code", ENDS)
async def test_it_is_none_while_no_list_can_be_seen(code: str, refusal: str, tmp_path: Path) -> None:
    message, http, _ = ENDS[code]
    failed = (200, operation((code, message), http=http))
    assert ids(await launch(StubbedClient(tmp_path, {LAUNCH: failed, "instances.list": REFUSALS[refusal]}))) == IDS


async def test_each_machines_own_operation_says_why_it_is_not_there(tmp_path: Path) -> None:
    child = operation(("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded."), targetLink=f"x/instances/{TWO}")
    summary = operation(("VM_MIN_COUNT_NOT_REACHED", "too few"), operationGroupId="group-1")
    says: dict[str, Says] = {
        LAUNCH: (200, summary),
        "instances.list": NONE,
        "zoneOperations.list": (200, page("operation", child)),
    }
    assert ids(await launch(StubbedClient(tmp_path, says))) == ["QuotaExceeded", "QuotaExceeded"]
    says["instances.list"] = REFUSALS["403"]
    assert ids(await launch(StubbedClient(tmp_path, says))) == [IDS[0], "QuotaExceeded"]


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        ((200, instance(TWO)), IDS[1]),
        ((200, instance(TWO, token="another")), "InvalidRequest"),
        (missing(f"zones/{ZONE}/instances/{TWO}"), "NoCapacity"),
        (missing(f"zones/{ZONE}"), "OutcomeUnknown"),
        (no(403, "forbidden"), "OutcomeUnknown"),
        ((200, b"<html>"), "OutcomeUnknown"),
    ],
)
@pytest.mark.parametrize("is_told_by_the_operation", [False, True])
async def test_a_name_that_is_taken_is_looked_at(
    seen: Said, outcome: str, is_told_by_the_operation: bool, tmp_path: Path
) -> None:
    ended = (200, operation(("RESOURCE_ALREADY_EXISTS", "exists")))
    says: dict[str, Says] = {
        LAUNCH: ended if is_told_by_the_operation else no(409, "alreadyExists"),
        "instances.list": (200, page("instance", instance(ONE))),
        "instances.get": seen,
    }
    if is_told_by_the_operation and outcome == "NoCapacity":
        # One name is taken, and only the other one was asked about: somebody must have it.
        outcome = "OutcomeUnknown"
    assert ids(await launch(StubbedClient(tmp_path, says))) == [IDS[0], outcome]


LOOKUPS: dict[str, tuple[Said, InstanceState | type[errors.ProviderError]]] = {
    "there": ((200, instance(ONE)), InstanceState.RUNNING),
    "stopped": ((200, instance(ONE, status="TERMINATED")), InstanceState.STOPPED),
    "gone": (missing(f"zones/{ZONE}/instances/{ONE}"), InstanceState.TERMINATED),
    "no such zone": (missing(f"zones/{ZONE}"), errors.NotFound),
    "no such project": (no(404, "notFound", f"The resource 'projects/{PROJECT}' was not found"), errors.NotFound),
    "another one is gone": (missing(f"zones/{ZONE}/instances/{ONE}-b"), errors.NotFound),
    "another reason": (no(404, "unheardOf", f"'projects/x/zones/{ZONE}/instances/{ONE}'"), errors.NotFound),
    "another machine": ((200, instance(TWO)), errors.UnreadableReply),
    "404 without an error": ((404, b"Not Found"), errors.UnreadableReply),
    "forbidden": (no(403, "forbidden"), errors.Unauthorized),
    "login page": ((200, b"<html>"), errors.UnreadableReply),
}


@pytest.mark.parametrize("case", LOOKUPS)
async def test_a_machine_is_gone_by_compute_engines_word_on_that_machine_only(case: str, tmp_path: Path) -> None:
    said, outcome = LOOKUPS[case]
    answers = await StubbedClient(tmp_path, {"instances.get": said}).instances().look_up([IDS[0], "no-id"])
    answer = answers[IDS[0]]
    if isinstance(answer, Instance):
        assert answer.state is outcome
    else:
        assert type(answer) is outcome
    assert isinstance(answers["no-id"], errors.InvalidRequest)


GONE = missing(f"zones/{ZONE}/instances/{ONE}")
LAGGING: Said = (200, page("instance", instance(ONE, status="STOPPING")))
DELETIONS: dict[str, tuple[Said, Said, InstanceState | type[errors.ProviderError]]] = {
    "begun": ((200, operation(status="RUNNING")), NONE, InstanceState.TERMINATING),
    "gone": (GONE, NONE, InstanceState.TERMINATED),
    "gone, and on its way in a list that lags": (GONE, LAGGING, InstanceState.TERMINATING),
    "gone, and listed": (GONE, BOTH, errors.ServiceUnavailable),
    "gone, and no list to be had": (GONE, no(403, "forbidden"), errors.Unauthorized),
    "gone, and a login page": (GONE, (200, b"<html>"), errors.UnreadableReply),
    "no such project": (missing(f"zones/{ZONE}"), NONE, errors.NotFound),
    "a proxy's 404": ((404, b"Not Found"), NONE, errors.UnreadableReply),
    "forbidden": (no(403, "forbidden"), NONE, errors.Unauthorized),
}


@pytest.mark.parametrize("case", DELETIONS)
async def test_a_deletion_that_finds_nothing_counts_once_the_zones_list_agrees(case: str, tmp_path: Path) -> None:
    deleted, listed, outcome = DELETIONS[case]
    client = StubbedClient(tmp_path, {"instances.delete": deleted, "instances.list": listed})
    answer = (await client.instances().terminate([IDS[0]]))[IDS[0]]
    assert (answer.state if isinstance(answer, Instance) else type(answer)) == outcome


async def test_all_that_deletions_did_not_find_is_looked_for_in_one_list_a_zone(tmp_path: Path) -> None:
    many = [f"{zone}/web-{n}" for n in range(50) for zone in (ZONE, "us-central1-b")]
    client = StubbedClient(tmp_path, {"instances.list": NONE})
    client.says["instances.delete"] = [missing(f"zones/{each.replace('/', '/instances/')}") for each in many]
    answers = await client.instances().terminate(many)
    assert {type(each) for each in answers.values()} == {Instance}
    assert client.calls["instances.list"] == 2


async def test_a_machine_that_was_just_asked_for_and_never_seen_is_not_gone_yet(tmp_path: Path) -> None:
    says: dict[str, Says] = {
        LAUNCH: TAKEN_UP,
        "zoneOperations.get": no(403, "forbidden"),
        "zoneOperations.list": no(403, "forbidden"),
        "instances.list": NONE,
        "instances.delete": GONE,
    }
    client = StubbedClient(tmp_path, says)
    instances = client.instances()
    assert ids(await instances.launch(request(), PREPARED)) == IDS
    assert isinstance((await instances.terminate([IDS[0]]))[IDS[0]], errors.ServiceUnavailable)
    await client.sleep(client.settings.ogc_settle_s)
    later = (await instances.terminate([IDS[0]]))[IDS[0]]
    assert isinstance(later, Instance)
    assert later.state is InstanceState.TERMINATED


def asked(*instance_ids: str) -> DescribeRequest:
    return DescribeRequest(owner="adam", scope="0123456789abcdef", instance_ids=instance_ids)


async def test_a_deletion_that_fails_afterwards_is_told(tmp_path: Path) -> None:
    said: list[Said] = [(200, operation(status="RUNNING")), (200, operation(("INTERNAL_ERROR", "trouble"), http=503))]
    says: dict[str, Says] = {"instances.delete": said[0], "instances.list": BOTH, "zoneOperations.get": said}
    client = StubbedClient(tmp_path, says)
    instances = client.instances()
    await instances.terminate([IDS[0]])
    for _ in range(2):
        assert (await instances.describe(asked(*IDS)))[IDS[0]].state is InstanceState.TERMINATING
        assert client.calls["zoneOperations.get"] <= 1
        await client.sleep(11)
    seen = await instances.describe(asked(*IDS))
    assert seen[IDS[0]].state is InstanceState.RUNNING
    assert isinstance(seen[IDS[0]].error, errors.ServiceUnavailable)
    assert seen[IDS[1]].error is None


async def test_a_machine_that_left_the_list_and_cannot_be_looked_at_is_not_shown_and_not_gone(tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"instances.list": [BOTH, NONE], "instances.get": no(403, "forbidden")})
    instances = client.instances()
    assert set(await instances.describe(asked(*IDS))) == set(IDS)
    assert await instances.describe(asked(*IDS)) == {}
    client.says["instances.get"] = lambda _: GONE
    client.says["instances.list"] = (200, page("instance", instance(TWO)))
    seen = await instances.describe(asked(*IDS))
    assert {each.state for each in seen.values()} == {InstanceState.TERMINATED, InstanceState.RUNNING}


async def test_a_machines_project_is_the_one_in_its_own_description(tmp_path: Path) -> None:
    elsewhere = {**instance(ONE), "selfLink": "https://x/compute/v1/projects/theirs/zones/us-central1-a/instances/x"}
    silent = {**instance(TWO), "zone": f"zones/{ZONE}"}
    del silent["selfLink"]
    says: dict[str, Says] = {"instances.list": (200, page("instance", elsewhere, silent))}
    seen = await StubbedClient(tmp_path, says).instances().describe(asked(*IDS))
    assert [seen[each].account for each in IDS] == ["theirs", PROJECT]


async def test_a_project_given_by_its_number_is_known_by_its_id(tmp_path: Path, monkeypatch: Any) -> None:
    client = StubbedClient(tmp_path, {"projects.get": no(403, "forbidden")}, project="1234567890")
    provider = GoogleProvider(client.settings, "us-central1")
    monkeypatch.setattr(provider, "_client", client)
    assert await provider.account() is None
    client.says["projects.get"] = (200, {"kind": "compute#project", "name": PROJECT})
    assert await provider.account() == PROJECT
    assert await provider.account() == PROJECT
    assert client.calls["projects.get"] == 2


async def test_a_machine_type_that_a_zone_does_not_offer_is_a_lack_of_room_there(tmp_path: Path) -> None:
    says: dict[str, Says] = {
        "machineTypes.get": missing(f"zones/{ZONE}/machineTypes/e2-small"),
        "zones.get": (200, {"kind": "compute#zone", "name": ZONE}),
    }
    client = StubbedClient(tmp_path, says)
    with pytest.raises(errors.NoCapacity, match="e2-small") as caught:
        await check_machine_type(client, request(), ZONE)
    assert caught.value.code == "notOffered"
    client.says["zones.get"] = missing(f"zones/{ZONE}")
    with pytest.raises(errors.NotFound, match="GOOGLE_DATACENTER"):
        await check_machine_type(client, request(), ZONE)
