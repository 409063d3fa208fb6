"""Ends that are put off: what is sent for a machine that stands still, and why one that runs is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ogc_async.errors import InvalidRequest, NotFound, ProviderError, Unauthorized, UnreadableReply
from ogc_async.providers.google.ends import move_end
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.types import Then
from tests import discovery
from tests.unit.providers.google.stub import ZONE, Says, StubbedClient, instance, missing, no, operation

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
LABEL = str(int(LATER.timestamp()))
ID = f"{ZONE}/web-1"
SPOT = {"provisioningModel": "SPOT", "preemptible": True, "automaticRestart": False, "onHostMaintenance": "TERMINATE"}
LIMIT = {"maxRunDuration": {"seconds": "3600"}, "instanceTerminationAction": "DELETE"}
DONE = (200, operation())


def machine(status: str, *, label: str = "1777640400", **values: Any) -> dict[str, Any]:
    described = {**instance("web-1", status=status), "labelFingerprint": "abc=", "scheduling": LIMIT, **values}
    described["labels"] = {**described["labels"], "ogc-ends": label}
    return described


def stopped(tmp_path: Path, **says: Says) -> StubbedClient:
    given: dict[str, Says] = {
        "instances.get": (200, machine("TERMINATED")),
        "instances.setScheduling": DONE,
        "instances.setLabels": DONE,
    }
    return StubbedClient(tmp_path, given | {key.replace("__", "."): value for key, value in says.items()})


async def put_off(client: StubbedClient, ends_at: datetime = LATER, instance_id: str = ID) -> None:
    await move_end(client, instance_id, ends_at, now=NOW)


async def test_a_machine_that_stands_still_gets_what_is_left_and_says_so(tmp_path: Path) -> None:
    client = stopped(tmp_path)
    await put_off(client)
    [told] = client.bodies["instances.setScheduling"]
    assert told == {**LIMIT, "maxRunDuration": {"seconds": "7200"}}
    [labelled] = client.bodies["instances.setLabels"]
    assert labelled == {
        "labelFingerprint": "abc=",
        "labels": {**machine("TERMINATED")["labels"], "ogc-ends": LABEL},
    }
    assert discovery.faults("Scheduling", told) == []
    assert discovery.faults("InstancesSetLabelsRequest", labelled) == []


async def test_all_else_of_its_scheduling_stays_and_an_end_by_the_clock_goes(tmp_path: Path) -> None:
    scheduling = {**SPOT, "instanceTerminationAction": "STOP", "terminationTime": "2026-05-01T00:00:00Z"}
    client = stopped(tmp_path, instances__get=(200, machine("TERMINATED", scheduling=scheduling)))
    await put_off(client)
    [told] = client.bodies["instances.setScheduling"]
    assert told == {
        **SPOT,
        "instanceTerminationAction": "STOP",
        "maxRunDuration": {"seconds": "7200"},
        "terminationTime": None,
    }


async def test_one_that_says_so_already_is_not_labelled_again(tmp_path: Path) -> None:
    client = stopped(tmp_path, instances__get=(200, machine("TERMINATED", label=LABEL)))
    await put_off(client)
    assert client.calls["instances.setLabels"] == 0


@pytest.mark.parametrize("status", ["RUNNING", "STAGING", "STOPPING"])
async def test_one_that_does_not_stand_still_is_refused_with_what_to_do(status: str, tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"instances.get": (200, machine(status))})
    with pytest.raises(
        InvalidRequest, match=r"a stopped machine only, and us-central1-a/web-1 is .*: stop it"
    ) as caught:
        await put_off(client)
    assert (caught.value.retryable, caught.value.operation) == (False, "instances.setScheduling")
    assert set(client.calls) == {"instances.get"}


async def test_one_that_runs_and_ends_just_then_is_only_labelled(tmp_path: Path) -> None:
    status = {"scheduling": {"terminationTimestamp": LATER.isoformat()}}
    running = (200, machine("RUNNING", resourceStatus=status))
    client = StubbedClient(tmp_path, {"instances.get": running, "instances.setLabels": DONE})
    await put_off(client)
    assert client.calls["instances.setLabels"] == 1


@pytest.mark.parametrize("left", [timedelta(seconds=29), timedelta(days=-1), timedelta(days=120, seconds=1)])
async def test_a_life_that_the_cloud_does_not_keep_is_refused_before_it_is_asked(
    left: timedelta, tmp_path: Path
) -> None:
    client = stopped(tmp_path)
    with pytest.raises(InvalidRequest, match="30 seconds to 120 days"):
        await put_off(client, NOW + left)
    assert set(client.calls) == {"instances.get"}


async def test_labels_that_others_changed_meanwhile_are_read_again(tmp_path: Path) -> None:
    theirs = machine("TERMINATED") | {"labelFingerprint": "def="}
    theirs["labels"] = theirs["labels"] | {"team": "x"}
    overtaken = no(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed")
    client = stopped(
        tmp_path,
        instances__get=[(200, machine("TERMINATED")), (200, theirs)],
        instances__setLabels=[overtaken, DONE],
    )
    await put_off(client)
    sent = client.bodies["instances.setLabels"]
    assert [each["labelFingerprint"] for each in sent] == ["abc=", "def="]
    assert sent[-1]["labels"] == {**theirs["labels"], "ogc-ends": LABEL}


@pytest.mark.parametrize("operation_name", ["instances.setScheduling", "instances.setLabels"])
async def test_a_change_that_fails_afterwards_is_told(operation_name: str, tmp_path: Path) -> None:
    failed = (200, operation(("PERMISSIONS_ERROR", "no"), http=403))
    client = stopped(tmp_path, **{operation_name: (200, operation(status="RUNNING")), "zoneOperations.get": failed})
    with pytest.raises(Unauthorized) as caught:
        await put_off(client)
    assert caught.value.operation == operation_name


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (missing(f"zones/{ZONE}/instances/web-1"), NotFound),
        (no(403, "forbidden"), Unauthorized),
        ((200, instance("web-2")), UnreadableReply),
    ],
)
async def test_a_machine_that_is_not_shown_is_not_changed(said: Any, kind: type[ProviderError], tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"instances.get": said})
    with pytest.raises(kind):
        await put_off(client)
    with pytest.raises(InvalidRequest, match="zone/name"):
        await put_off(client, instance_id="web-1")
    assert set(client.calls) == {"instances.get"}


def test_every_end_is_kept_by_the_cloud_and_none_by_the_machine(tmp_path: Path) -> None:
    provider = GoogleProvider(StubbedClient(tmp_path, {}).settings, "us-central1")
    asked: dict[str, Any] = {"runs_on": "windows-2022", "platform": "windows", "has_cloud_init": False}
    assert all(provider.why_no_end(**asked, is_spot=spot, then=then) is None for spot in (True, False) for then in Then)
    assert provider.end_command(60) == ""
