"""Disks that machines left, and the regions where an owner has anything: found by whole lists only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ogc_async.errors import InvalidRequest, NotFound, ResourceInUse, Unauthorized, UnreadableReply
from ogc_async.providers.google.regions import find_regions
from ogc_async.providers.google.volumes import delete_volume, delete_volumes, list_volumes
from ogc_async.types import Volume
from tests.unit.providers.google.stub import PROJECT, ZONE, Said, StubbedClient, instance, missing, no, operation

LISTING = "disks.aggregatedList"
DONE: Said = (200, operation())
IN_USE = no(400, "resourceInUseByAnotherResource", "The disk resource is already being used by 'web-1'")


def disk(name: str, **values: Any) -> dict[str, Any]:
    labels = {"ogc-owner": "adam", "ogc-scope": "s", "ogc-layout": "web"}
    return {"kind": "compute#disk", "name": name, "status": "READY", "sizeGb": "10", "labels": labels, **values}


def disks(scopes: Mapping[str, list[dict[str, Any]]], **values: Any) -> Said:
    return 200, {
        "kind": "compute#diskAggregatedList",
        "items": {scope: {"disks": found} for scope, found in scopes.items()},
        **values,
    }


def machines(*zones: str, **values: Any) -> Said:
    items = {f"zones/{zone}": {"instances": [instance("web-1", zone=zone)]} for zone in zones}
    return 200, {"kind": "compute#instanceAggregatedList", "items": items, **values}


async def test_disks_of_this_region_that_no_machine_has_are_listed(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(query: Mapping[str, str]) -> Said:
        asked.append(query["filter"])
        ours = [
            disk("left"),
            disk("used", users=[f"projects/{PROJECT}/zones/{ZONE}/instances/used"]),
            disk("young", status="CREATING"),
            disk("going", status="DELETING"),
        ]
        elsewhere = {"zones/europe-west1-b": [disk("far")], "regions/us-central1": [disk("regional")]}
        return disks({f"zones/{ZONE}": ours, **elsewhere})

    client = StubbedClient(tmp_path, {LISTING: answer})
    assert await list_volumes(client, owner="adam", scope=None) == [Volume(f"{ZONE}/left", "web", 10, "s")]
    await list_volumes(client, owner="adam", scope="s")
    assert asked == ['(labels.ogc-owner = "adam")', '(labels.ogc-owner = "adam") AND (labels.ogc-scope = "s")']


async def test_a_list_of_disks_that_is_not_whole_is_none(tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {LISTING: disks({}, unreachables=[f"zones/{ZONE}"])})
    with pytest.raises(UnreadableReply, match="not whole"):
        await list_volumes(client, owner="adam", scope=None)


async def test_a_deletion_is_followed_to_its_end_and_one_that_is_gone_is_fine(tmp_path: Path) -> None:
    begun = (200, operation(status="RUNNING"))
    client = StubbedClient(tmp_path, {"disks.delete": begun, "zoneOperations.get": [begun, DONE]})
    await delete_volume(client, f"{ZONE}/left")
    assert client.calls["zoneOperations.get"] == 2
    await delete_volume(StubbedClient(tmp_path, {"disks.delete": missing(f"zones/{ZONE}/disks/left")}), f"{ZONE}/left")


async def test_a_disk_that_is_used_after_all_is_told_as_such_at_once_or_later(tmp_path: Path) -> None:
    later = (200, operation(("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", "used by web-1")))
    for said in (IN_USE, later):
        with pytest.raises(ResourceInUse):
            await delete_volume(StubbedClient(tmp_path, {"disks.delete": said}), f"{ZONE}/left")


async def test_that_a_zone_is_not_found_says_nothing_of_its_disks(tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"disks.delete": missing(f"zones/{ZONE}")})
    with pytest.raises(NotFound):
        await delete_volume(client, f"{ZONE}/left")
    with pytest.raises(InvalidRequest, match="no disk of Compute Engine"):
        await delete_volume(client, "left")


async def test_a_layouts_disks_all_go_before_what_is_left_is_told(tmp_path: Path) -> None:
    found = disks({f"zones/{ZONE}": [disk(f"web-{index}") for index in range(3)]})
    client = StubbedClient(tmp_path, {LISTING: found, "disks.delete": [IN_USE, DONE, DONE]})
    with pytest.raises(ResourceInUse, match=f"disks left: {ZONE}/web-0: "):
        await delete_volumes(client, "web", owner="adam", scope="s")
    assert client.calls["disks.delete"] == 3


async def test_an_account_that_may_not_list_disks_has_none_to_delete(tmp_path: Path) -> None:
    await delete_volumes(StubbedClient(tmp_path, {LISTING: no(403, "forbidden")}), "web", owner="adam", scope="s")
    with pytest.raises(Unauthorized):
        await list_volumes(StubbedClient(tmp_path, {LISTING: no(403, "forbidden")}), owner="adam", scope=None)


async def test_regions_are_those_with_machines_or_disks_of_the_owner(tmp_path: Path) -> None:
    found = disks({"zones/us-east1-b": [disk("left")], "zones/asia-east1-a": [], "regions/us-west1": [disk("both")]})
    says = {"instances.aggregatedList": machines("europe-west1-b", "us-east1-c", "europe-west1-d"), LISTING: found}
    assert await find_regions(StubbedClient(tmp_path, says), "adam") == ["europe-west1", "us-east1", "us-west1"]


@pytest.mark.parametrize("cut", ["instances.aggregatedList", LISTING])
async def test_regions_are_unknown_while_any_place_was_not_reached(cut: str, tmp_path: Path) -> None:
    lacks = {"unreachables": ["zones/europe-west1-b"]}
    says = {
        "instances.aggregatedList": machines(ZONE, **(lacks if cut != LISTING else {})),
        LISTING: disks({}, **(lacks if cut == LISTING else {})),
    }
    with pytest.raises(UnreadableReply, match="europe-west1-b"):
        await find_regions(StubbedClient(tmp_path, says), "adam")
