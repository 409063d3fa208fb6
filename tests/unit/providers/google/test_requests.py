"""What is sent, held against the API's own description; what is read, against replies that were once recorded."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import libcloud
import pytest

from ogc_async.errors import InvalidRequest, NotFound
from ogc_async.providers.catalog import CATALOG
from ogc_async.providers.google.body import insert_body, instance_labels, without_disk_labels
from ogc_async.providers.google.described import read_instance
from ogc_async.providers.google.errors import map_reply, operation_error
from ogc_async.providers.google.firewall import allowed, rules_of, union, wanted_rules
from ogc_async.providers.google.images import image_query
from ogc_async.providers.google.methods import METHODS
from ogc_async.providers.google.tags import label_is, labels_of, resource_name, tags_of
from ogc_async.types import InstanceState, Market, Port
from ogc_async.types.launch import TAG_OWNER
from tests import discovery
from tests.unit.providers.google.request import PREPARED, TOKEN, request

RECORDED = Path(libcloud.__file__).parent / "test/compute/fixtures/gce"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
VALUE = re.compile(r"[-_a-z0-9]{0,63}")

REQUESTS = [
    request(),
    request(spot=True, ttl=timedelta(hours=4), disk_size_gib=40, tags=("a", "b"), labels={"team": "x"}),
    request(ttl=timedelta(hours=4), stops_at_end=True, ends_at=datetime(2026, 5, 1, tzinfo=UTC)),
    request(
        owner="Émile & Co", layout="a-very-" + "long-" * 7 + "one", tags=tuple(f"component-{n:02}" for n in range(30))
    ),
]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_where_the_api_has_it(name: str) -> None:
    described = discovery.method(name)
    ours = METHODS[name]
    assert ours.http == described["httpMethod"]
    path = re.sub(r"\{\+?(\w+)\}", r"{\1}", described["flatPath"]).removeprefix("projects/{project}").strip("/")
    assert ours.path == path


@pytest.mark.parametrize("asked", REQUESTS)
def test_a_launch_is_valid_by_the_apis_schema(asked: Any) -> None:
    body = insert_body(asked, PREPARED, "robot@project.iam.gserviceaccount.com")
    assert discovery.faults("BulkInsertInstanceResource", body) == []
    assert (body["count"], body["minCount"]) == ("2", "1")
    assert set(body["perInstanceProperties"]) == set(asked.names)


def test_the_judge_does_find_fault() -> None:
    body = insert_body(request(), PREPARED, None)
    assert discovery.faults("BulkInsertInstanceResource", body | {"wings": 2})
    assert discovery.faults("BulkInsertInstanceResource", body | {"count": 2})


def test_a_launch_says_what_the_layout_asks_for() -> None:
    asked = request(spot=True, ttl=timedelta(minutes=90), disk_size_gib=40)
    properties = insert_body(asked, PREPARED, "robot@x")["instanceProperties"]
    assert properties["machineType"] == "e2-small"
    assert properties["scheduling"] == {
        "provisioningModel": "SPOT",
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
        "maxRunDuration": {"seconds": "5400"},
        "instanceTerminationAction": "DELETE",
    }
    [disk] = properties["disks"]
    assert (disk["boot"], disk["autoDelete"]) == (True, True)
    labels = {"ogc-owner": "adam", "ogc-scope": request().scope, "ogc-layout": "web"}
    assert disk["initializeParams"] == {"sourceImage": PREPARED.image, "diskSizeGb": "40", "labels": labels}
    assert properties["serviceAccounts"][0]["email"] == "robot@x"
    assert properties["metadata"]["items"] == [
        {"key": "ssh-keys", "value": PREPARED.key_pair},
        {"key": "enable-guest-attributes", "value": "TRUE"},
    ]
    plain = insert_body(request(), PREPARED, None)["instanceProperties"]
    assert [each["autoDelete"] for each in plain["disks"]] == [True]
    assert not {"scheduling", "serviceAccounts"} & set(plain)


@pytest.mark.parametrize("spot", [False, True])
@pytest.mark.parametrize(("stops", "action"), [(False, "DELETE"), (True, "STOP")])
def test_a_machine_whose_time_is_over_ends_or_stops_as_its_layout_says(stops: bool, action: str, spot: bool) -> None:
    asked = request(ttl=timedelta(hours=1), stops_at_end=stops, spot=spot)
    told = insert_body(asked, PREPARED, None)["instanceProperties"]["scheduling"]
    assert (told["maxRunDuration"], told["instanceTerminationAction"]) == ({"seconds": "3600"}, action)
    assert ("automaticRestart" in told) is spot


def test_a_machine_says_the_second_by_which_its_life_is_over_and_one_without_an_end_does_not() -> None:
    ends_at = datetime(2026, 5, 1, 12, 0, 0, 1, tzinfo=UTC)
    bodies = [insert_body(request(ttl=timedelta(hours=1), ends_at=ends_at), PREPARED, None) for _ in range(2)]
    assert bodies[0] == bodies[1]
    label = bodies[0]["instanceProperties"]["labels"]["ogc-ends"]
    assert datetime.fromtimestamp(int(label), UTC) == datetime(2026, 5, 1, 12, 0, 1, tzinfo=UTC)
    assert "ogc-ends" not in instance_labels(request())


def test_a_launch_without_disk_labels_says_all_else() -> None:
    whole = insert_body(request(disk_size_gib=40), PREPARED, None)
    bare = without_disk_labels(whole)
    [disk] = bare["instanceProperties"]["disks"]
    [labelled] = whole["instanceProperties"]["disks"]
    assert disk["initializeParams"].items() < labelled["initializeParams"].items()
    bare["instanceProperties"]["disks"] = whole["instanceProperties"]["disks"]
    assert bare == whole


@pytest.mark.parametrize("seconds", [29, 120 * 24 * 3600 + 1])
def test_a_time_to_live_that_the_cloud_does_not_keep_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidRequest, match="ttl"):
        insert_body(request(ttl=timedelta(seconds=seconds)), PREPARED, None)


@pytest.mark.parametrize("asked", REQUESTS)
def test_labels_and_names_are_legal_by_construction(asked: Any) -> None:
    labels = instance_labels(asked)
    assert all(KEY.fullmatch(key) and VALUE.fullmatch(value) for key, value in labels.items())
    assert NAME.fullmatch(resource_name(asked.owner, asked.scope, asked.layout))
    assert labels["ogc-batch"] == TOKEN


def test_our_tags_survive_the_way_there_and_back() -> None:
    tags = {"ogc:owner": "adam", "ogc:batch": TOKEN, "ogc:tags-2": "b"}
    assert tags_of(labels_of(tags)) == tags
    assert tags_of({"team": "ogc-x", "x-ogc-y": "z"}) == {"team": "ogc-x", "x-ogc-y": "z"}


def test_machines_of_every_release_are_found_by_the_same_labels() -> None:
    labels = instance_labels(request(owner="O'Neil Sr." + "x" * 60, tags=("blue", "red"), labels={"team": "x"}))
    assert labels == {
        "team": "x",
        "ogc-tags": "blue_red",
        "ogc-owner": "o-neil-sr-" + "x" * 53,
        "ogc-scope": request().scope,
        "ogc-layout": request().layout,
        "ogc-batch": TOKEN,
    }
    assert label_is(TAG_OWNER, "O'Neil Sr." + "x" * 60) == f'labels.ogc-owner = "{labels["ogc-owner"]}"'


def test_a_users_labels_and_tags_are_launched_with_as_they_are_written() -> None:
    written = {"größe": "日本-1", "team_2": "", "a" * 63: "9" * 63}
    tags = tuple(f"component-{n:02}" for n in range(30))
    labels = instance_labels(request(labels=written, tags=tags))
    assert labels.items() >= written.items()
    packed = [value for key, value in labels.items() if key.startswith("ogc-tags")]
    assert tuple("_".join(packed).split("_")) == tags


def test_layouts_that_begin_alike_have_firewalls_of_their_own() -> None:
    long = "x" * 45
    names = {resource_name("adam", scope, layout) for scope in ("s", "t") for layout in (long + "a", long + "b")}
    assert len(names) == 4


def test_rules_are_added_to_and_never_taken_away() -> None:
    rules = wanted_rules(request(ports=(Port(80, 80), Port(8000, 8100), Port(53, 53, "udp")), ssh_port=2222))
    assert allowed(rules) == [
        {"IPProtocol": "tcp", "ports": ["2222", "80", "8000-8100"]},
        {"IPProtocol": "udp", "ports": ["53"]},
    ]
    there = rules_of({"allowed": [{"IPProtocol": "tcp", "ports": ["22"]}, {"IPProtocol": "icmp"}]})
    both = union(there, rules)
    assert both["tcp"] == {"22", "2222", "80", "8000-8100"}
    assert both["icmp"] == frozenset()


@pytest.mark.parametrize(
    ("runs_on", "arch", "expected"),
    [
        ("debian-12", "x86_64", ("debian-cloud", "debian-12", True)),
        ("debian-12", "arm64", ("debian-cloud", "debian-12-arm64", True)),
        ("Ubuntu-24.04", "x86_64", ("ubuntu-os-cloud", "ubuntu-2404-lts-amd64", True)),
        ("projects/mine/global/images/golden-1", "x86_64", ("mine", "golden-1", False)),
        ("projects/mine/global/images/family/golden", "x86_64", ("mine", "golden", True)),
        (
            "https://www.googleapis.com/compute/v1/projects/mine/global/images/golden-1",
            "arm64",
            ("mine", "golden-1", False),
        ),
    ],
)
def test_runs_on_names_a_family_or_an_image(runs_on: str, arch: str, expected: tuple[str, str, bool]) -> None:
    assert image_query(runs_on, arch) == expected


@pytest.mark.parametrize(
    ("runs_on", "arch", "says"),
    [
        ("debain-12", "x86_64", "debian-12"),
        ("amazon-linux-2023", "x86_64", "Compute Engine"),
        ("windows-2022", "arm64", "arm64"),
        ("projects/x/images/y", "x86_64", "projects/"),
    ],
)
def test_a_name_that_means_no_image_is_refused(runs_on: str, arch: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        image_query(runs_on, arch)


def test_every_entry_of_the_catalogue_has_a_family_or_says_that_it_has_none() -> None:
    for name, query in CATALOG.items():
        if query.google is not None:
            assert image_query(name, "x86_64")[0] == query.google.project


def test_recorded_instances_are_read() -> None:
    recorded = json.loads((RECORDED / "aggregated_instances.json").read_text())
    read = [read_instance(each) for scope in recorded["items"].values() for each in scope.get("instances", ())]
    assert len(read) > 5
    assert {each.size for each in read} >= {"n1-standard-1"}
    assert all(each.size and each.market for each in read)
    assert all(each.id == f"{each.zone}/{each.name}" and each.zone.count("-") == 2 for each in read)
    assert {each.state for each in read} <= set(InstanceState)
    assert any(each.public_ip for each in read)
    assert all(each.private_ip for each in read)
    assert all(each.launched_at is not None and each.launched_at.utcoffset() == timedelta(0) for each in read)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PROVISIONING", InstanceState.PENDING),
        ("STAGING", InstanceState.PENDING),
        ("RUNNING", InstanceState.RUNNING),
        ("STOPPING", InstanceState.STOPPING),
        ("TERMINATED", InstanceState.STOPPED),
        ("SUSPENDED", InstanceState.STOPPED),
        ("DEPROVISIONING", InstanceState.TERMINATING),
        ("A_NEW_WORD", InstanceState.PENDING),
    ],
)
def test_states_are_read(status: str, state: InstanceState) -> None:
    assert read_instance({"name": "n", "zone": "x/zones/us-central1-a", "status": status}).state is state


FIRST, SECOND = "2026-05-01T12:00:00Z", "2026-05-01T05:30:00.000-07:00"
"""The second one is half an hour after the first."""


@pytest.mark.parametrize(
    ("described", "market"),
    [
        ({"scheduling": {"provisioningModel": "SPOT", "preemptible": True}}, Market.SPOT),
        ({"scheduling": {"preemptible": True}}, Market.SPOT),
        ({"scheduling": {"provisioningModel": "STANDARD", "preemptible": False}}, Market.ON_DEMAND),
        ({"scheduling": {}}, Market.ON_DEMAND),
        ({}, None),
    ],
)
def test_how_a_machine_is_paid_for_is_read(described: dict[str, Any], market: Market | None) -> None:
    assert read_instance({"name": "n", "zone": "x/zones/us-central1-a", **described}).market is market


@pytest.mark.parametrize(
    ("described", "ends"),
    [
        ({"resourceStatus": {"scheduling": {"terminationTimestamp": FIRST}}}, FIRST),
        ({"resourceStatus": {"scheduling": {"terminationTimestamp": SECOND}}, "scheduling": {}}, SECOND),
        ({"resourceStatus": {}, "scheduling": {"terminationTime": FIRST}}, FIRST),
        (
            {
                "resourceStatus": {"scheduling": {"terminationTimestamp": FIRST}},
                "scheduling": {"terminationTime": SECOND},
            },
            FIRST,
        ),
        ({"scheduling": {"maxRunDuration": {"seconds": "60"}}}, None),
        ({"scheduling": {"terminationTime": "soon"}}, None),
        ({}, None),
    ],
)
def test_when_the_cloud_ends_a_machine_is_read(described: dict[str, Any], ends: str | None) -> None:
    read = read_instance({"name": "n", "zone": "x/zones/us-central1-a", "status": "RUNNING", **described})
    assert read.ends_at == (None if ends is None else datetime.fromisoformat(ends))


@pytest.mark.parametrize(
    ("status", "ended"),
    [("TERMINATED", FIRST), ("STOPPED", FIRST), ("SUSPENDED", SECOND), ("RUNNING", None), ("STOPPING", None)],
)
def test_since_when_a_machine_stands_still_is_read(status: str, ended: str | None) -> None:
    described = {"status": status, "lastStopTimestamp": FIRST, "lastSuspendedTimestamp": SECOND}
    read = read_instance({"name": "n", "zone": "x/zones/us-central1-a", **described})
    assert read.ended_at == (None if ended is None else datetime.fromisoformat(ended))


def recorded(pattern: str) -> list[Any]:
    found = [json.loads(path.read_text()) for path in sorted(RECORDED.glob(pattern))]
    assert found, pattern
    return found


def test_recorded_operations_are_read() -> None:
    operations = recorded("operations_operation_*.json")
    assert len(operations) > 30
    finished = [each for each in operations if each["status"] == "DONE"]
    errors = [operation_error(each, "any") for each in finished]
    assert len(finished) > 20
    assert [each for each in errors if each is not None and not each.code] == []


def test_recorded_firewalls_are_read() -> None:
    for listing in recorded("global_firewalls.json"):
        rules = [rules_of(each) for each in listing["items"]]
        assert any("tcp" in each for each in rules)
        assert all(isinstance(ports, frozenset) for each in rules for ports in each.values())


def test_recorded_images_machine_types_and_projects_are_read() -> None:
    (image,) = recorded("projects_coreos-cloud_global_images_family_coreos_stable.json")
    assert image["name"].startswith("coreos-stable")
    machine_type = recorded("zones_us-central1-a_machineTypes_n1-standard-1.json")[0]
    assert machine_type["name"] == "n1-standard-1"
    (project,) = recorded("project.json")
    assert {item["key"] for item in project["commonInstanceMetadata"]["items"]}


def test_a_recorded_refusal_is_read() -> None:
    (reply,) = recorded("global_images_family_notfound.json")
    error = map_reply(404, reply, "images.getFromFamily")
    assert isinstance(error, NotFound)
    assert "was not found" in str(error)
