"""Google's own client for Compute Engine: what works there works here, and answers alike."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import requests
from google.api_core import exceptions
from google.auth import jwt
from google.auth.transport.requests import Request
from google.cloud import compute_v1

from tests.cloud import running_sandbox
from tests.integration.sandbox.google import ZONE, Google, account_of, errors, instance, properties
from tests.timing import patiently

pytestmark = pytest.mark.usefixtures("google_judge")


def test_a_machines_whole_life(google: Google, name: str, word: str) -> None:
    where = {"project": google.project, "zone": ZONE}
    operation = google.instances.insert_unary(instance_resource=instance(name, word, tags={"items": ["ssh"]}), **where)
    assert operation.status in (compute_v1.Operation.Status.PENDING, compute_v1.Operation.Status.RUNNING)
    seen = google.instances.get(instance=name, **where)
    assert seen.status in ("PROVISIONING", "STAGING", "RUNNING")
    done = google.done(operation)
    assert not done.error.errors
    assert done.operation_type == "insert"
    running = google.instances.get(instance=name, **where)
    assert running.status == "RUNNING"
    assert running.id == done.target_id
    assert running.labels == {"word": word}
    assert list(running.tags.items) == ["ssh"]
    interface = running.network_interfaces[0]
    assert interface.access_configs[0].nat_i_p.startswith("127.")
    assert interface.network_i_p.startswith("10.128.")
    [seen] = google.cloud.state()["instances"]["google"][-1:]
    assert (seen["id"], seen["tags"], seen["state"]) == (f"{ZONE}/{name}", {"word": word}, "RUNNING")

    with pytest.raises(exceptions.Conflict, match="already exists"):
        google.instances.insert_unary(instance_resource=instance(name, word), **where)

    deleted = google.done(google.instances.delete_unary(instance=name, **where))
    assert deleted.operation_type == "delete"
    for call in (google.instances.get, google.instances.delete_unary):
        with pytest.raises(exceptions.NotFound):
            call(instance=name, **where)
    assert google.listed(f'labels.word = "{word}"') == []


def test_labels_and_metadata_are_changed_by_who_read_them_last(google: Google, name: str, word: str) -> None:
    where = {"project": google.project, "zone": ZONE, "instance": name}
    google.done(
        google.instances.insert_unary(project=google.project, zone=ZONE, instance_resource=instance(name, word))
    )
    seen = google.instances.get(**where)
    labels = {"colour": "blue", "größe_1": "日本-2", "k" * 63: "9" * 63, "none": ""}
    body = compute_v1.InstancesSetLabelsRequest(label_fingerprint=seen.label_fingerprint, labels=labels)
    google.done(google.instances.set_labels_unary(instances_set_labels_request_resource=body, **where))
    assert google.instances.get(**where).labels == labels
    with pytest.raises(exceptions.PreconditionFailed):
        google.instances.set_labels_unary(instances_set_labels_request_resource=body, **where)
    metadata = compute_v1.Metadata(fingerprint=seen.metadata.fingerprint, items=[{"key": "a", "value": "b"}])
    google.done(google.instances.set_metadata_unary(metadata_resource=metadata, **where))
    assert [each.key for each in google.instances.get(**where).metadata.items] == ["a"]
    with pytest.raises(exceptions.PreconditionFailed):
        google.instances.set_metadata_unary(metadata_resource=metadata, **where)
    google.instances.delete_unary(**where)


def test_host_keys_are_read_from_guest_attributes_and_the_console(google: Google, name: str, word: str) -> None:
    where = {"project": google.project, "zone": ZONE, "instance": name}
    made = instance(name, word)
    google.done(google.instances.insert_unary(project=google.project, zone=ZONE, instance_resource=made))
    request = compute_v1.GetGuestAttributesInstanceRequest(query_path="hostkeys/", **where)
    for _ in patiently("a host key"):
        try:
            [key] = google.instances.get_guest_attributes(request=request).query_value.items
            break
        except exceptions.NotFound:
            continue
    assert (key.namespace, key.key) == ("hostkeys", "ssh-ed25519")
    assert key.value in google.instances.get_serial_port_output(**where).contents
    google.instances.delete_unary(**where)


def test_a_bulk_is_one_operation_with_one_more_for_each_machine(google: Google, word: str) -> None:
    names = [f"vm-{word}-{index}" for index in range(5)]
    request_id = str(uuid.uuid4())
    asked = {
        "count": 5,
        "min_count": 1,
        "per_instance_properties": {name: {} for name in names},
        "instance_properties": properties(word),
    }
    operation = google.bulk(request_id=request_id, **asked)
    again = google.bulk(request_id=request_id, **asked)
    assert again.name == operation.name
    assert operation.client_operation_id == request_id
    done = google.done(operation)
    assert not done.error.errors
    placed = done.instances_bulk_insert_operation_metadata.per_location_status[f"zones/{ZONE}"]
    assert (placed.status, placed.target_vm_count, placed.created_vm_count) == ("DONE", 5, 5)
    assert len(google.children(done)) == 5
    assert sorted(each.name for each in google.listed(f"(labels.word = {word}) AND (status = RUNNING)")) == names

    # Pages, and the other ways to ask for the same.
    assert [each.name for each in google.listed(f"labels.word={word}", max_results=2)] == names
    newest = google.listed(f"labels.word={word}", order_by="creationTimestamp desc")
    assert sorted(each.name for each in newest) == names
    assert len(google.listed(f"name eq vm-{word}-[0-2]")) == 3
    assert len(google.listed(f"(name = {names[0]}) OR (name = {names[1]})")) == 2
    assert len(google.listed(f"(labels.word:{word[:6]}) AND (name != {names[0]})")) == 4
    assert len(google.listed(f'labels.word:* AND labels.word="{word}"')) == 5
    assert google.listed(f"(labels.word = {word}) AND (status = STOPPING)") == []
    scopes = compute_v1.AggregatedListInstancesRequest(project=google.project, filter=f"labels.word={word}")
    found = dict(google.instances.aggregated_list(request=scopes))
    assert len(found[f"zones/{ZONE}"].instances) == 5
    assert found["zones/us-east1-b"].warning.code == "NO_RESULTS_ON_PAGE"

    # One of the names again: its own operation fails, and the others come up.
    more = asked | {"count": 2, "per_instance_properties": {names[0]: {}, f"vm-{word}-9": {}}}
    done = google.done(google.bulk(**more))
    assert not done.error.errors
    assert sorted(map(errors, google.children(done))) == [[], ["RESOURCE_ALREADY_EXISTS"]]
    for each in google.listed(f"labels.word={word}"):
        google.instances.delete_unary(project=google.project, zone=ZONE, instance=each.name)


def test_a_pattern_numbers_on_from_the_highest(google: Google, word: str) -> None:
    asked = {"count": 2, "name_pattern": f"vm-{word}-##", "instance_properties": properties(word)}
    for _ in range(2):
        google.done(google.bulk(**asked))
    assert [each.name[-2:] for each in google.listed(f"labels.word={word}")] == ["01", "02", "03", "04"]
    for each in google.listed(f"labels.word={word}"):
        google.instances.delete_unary(project=google.project, zone=ZONE, instance=each.name)


def test_a_bulk_in_a_region_goes_to_one_zone_that_is_allowed(google: Google, word: str) -> None:
    body = compute_v1.BulkInsertInstanceResource(
        count=3,
        min_count=1,
        per_instance_properties={f"vm-{word}-{index}": {} for index in range(3)},
        instance_properties=properties(word),
        location_policy={
            "target_shape": "ANY_SINGLE_ZONE",
            "locations": {f"zones/europe-west1-{each}": {"preference": "DENY"} for each in "ab"},
        },
    )
    operation = google.client(compute_v1.RegionInstancesClient).bulk_insert_unary(
        project=google.project, region="europe-west1", bulk_insert_instance_resource_resource=body
    )
    assert not google.done(operation).error.errors
    assert len(google.listed(f"labels.word={word}", zone="europe-west1-c")) == 3
    assert len(google.children(operation, zone="europe-west1-c")) == 3
    for index in range(3):
        google.instances.delete_unary(project=google.project, zone="europe-west1-c", instance=f"vm-{word}-{index}")


def test_firewalls(google: Google, name: str) -> None:
    client = google.client(compute_v1.FirewallsClient)
    body = compute_v1.Firewall(
        name=name,
        network="global/networks/default",
        direction="INGRESS",
        allowed=[{"I_p_protocol": "tcp", "ports": ["22", "8000-8010"]}],
        source_ranges=["10.0.0.0/8"],
        target_tags=["ssh"],
    )
    google.done(client.insert_unary(project=google.project, firewall_resource=body))
    assert name in google.cloud.state()["firewalls"]
    with pytest.raises(exceptions.Conflict):
        client.insert_unary(project=google.project, firewall_resource=body)
    change = compute_v1.Firewall(source_ranges=["192.168.0.0/16"])
    google.done(client.patch_unary(project=google.project, firewall=name, firewall_resource=change))
    seen = client.get(project=google.project, firewall=name)
    assert (list(seen.source_ranges), list(seen.target_tags)) == (["192.168.0.0/16"], ["ssh"])
    assert {name, "default-allow-ssh"} <= {each.name for each in client.list(project=google.project)}
    google.done(client.delete_unary(project=google.project, firewall=name))
    with pytest.raises(exceptions.NotFound):
        client.get(project=google.project, firewall=name)
    assert name not in google.cloud.state()["firewalls"]


def test_places_types_and_images(google: Google) -> None:
    project = google.project
    assert google.client(compute_v1.ProjectsClient).get(project=project).name == project
    zones = google.client(compute_v1.ZonesClient)
    assert ZONE in {each.name for each in zones.list(project=project)}
    assert zones.get(project=project, zone=ZONE).region.endswith("/us-central1")
    regions = google.client(compute_v1.RegionsClient)
    assert "europe-west1" in {each.name for each in regions.list(project=project)}
    assert regions.get(project=project, region="us-east1").status == "UP"
    types = google.client(compute_v1.MachineTypesClient)
    found = {each.name: each.architecture for each in types.list(project=project, zone=ZONE)}
    assert (found["e2-small"], found["t2a-standard-1"]) == ("X86_64", "ARM64")
    assert types.get(project=project, zone=ZONE, machine_type="n2-standard-4").guest_cpus == 4
    images = google.client(compute_v1.ImagesClient)
    newest = images.get_from_family(project="ubuntu-os-cloud", family="ubuntu-2404-lts-arm64")
    assert newest.architecture == "ARM64"
    assert images.get(project="ubuntu-os-cloud", image=newest.name).id == newest.id
    assert newest.name in {each.name for each in images.list(project="ubuntu-os-cloud")}
    networks = google.client(compute_v1.NetworksClient)
    assert [each.name for each in networks.list(project=project)] == ["default"]
    assert networks.get(project=project, network="default").auto_create_subnetworks
    with pytest.raises(exceptions.NotFound):
        images.get_from_family(project="debian-cloud", family="debian-99")


@pytest.mark.parametrize(
    ("values", "word_of_error"),
    [
        ({"name": "Capital"}, "regex"),
        ({"name": "ends-"}, "regex"),
        ({"labels": {"Big": "x"}}, "label"),
        ({"labels": {"a": "B"}}, "label"),
        ({"labels": {"a": "b.c"}}, "violates format constraints"),
        ({"labels": {"1st": "b"}}, "violates format constraints"),
        ({"labels": {"a" * 64: "b"}}, "at most 63"),
        ({"labels": {"a": "b" * 64}}, "at most 63"),
        ({"tags": {"items": ["not_a_tag"]}}, "regex"),
        ({"machine_type": "e2-small"}, "malformed"),
        ({"machine_type": "zones/us-central1-a/machineTypes/e2-huge"}, "does not exist"),
        ({"machine_type": "zones/us-central1-a/machineTypes/t2a-standard-1"}, "architecture"),
        ({"disks": []}, "boot disk"),
        ({"scheduling": {"max_run_duration": {"seconds": 60}}}, "instanceTerminationAction"),
        ({"scheduling": {"max_run_duration": {"seconds": 5}, "instance_termination_action": "DELETE"}}, "30 to"),
    ],
)
def test_what_can_not_be_is_refused(
    google: Google, name: str, word: str, values: dict[str, Any], word_of_error: str
) -> None:
    given = properties(word, machine_type=f"zones/{ZONE}/machineTypes/e2-small")
    body = compute_v1.Instance(**({"name": name} | given | values))
    with pytest.raises(exceptions.BadRequest, match=word_of_error):
        google.instances.insert_unary(project=google.project, zone=ZONE, instance_resource=body)


@pytest.mark.parametrize("text", ["labels.x", "wings = two", "name = ", "(name = a", "name > a", "name ~ a", "name=a*"])
def test_filters_that_say_nothing_are_refused(google: Google, text: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="filter"):
        google.listed(text)


def test_what_is_nowhere_is_not_found(google: Google, name: str, word: str) -> None:
    for values in ({"project": "other"}, {"zone": "mars-north1-a"}):
        where = {"project": google.project, "zone": ZONE} | values
        with pytest.raises(exceptions.NotFound):
            google.instances.insert_unary(instance_resource=instance(name, word), **where)
    request = compute_v1.DeleteInstanceRequest(
        project=google.project, zone=ZONE, instance=name, request_id=str(uuid.UUID(int=0))
    )
    with pytest.raises(exceptions.BadRequest, match="UUID"):
        google.instances.delete_unary(request=request)
    with pytest.raises(exceptions.ServiceUnavailable):
        google.bulk(
            count=1,
            name_pattern=f"vm-{word}-#",
            instance_properties=properties(word, machine_type=f"zones/{ZONE}/machineTypes/e2-small"),
        )


def test_only_who_holds_the_key_gets_a_token(google: Google) -> None:
    path = Path(google.cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"])
    assert json.loads(path.read_text())["token_uri"] == f"{google.cloud.endpoint}/token"
    assert path.stat().st_mode & 0o077 == 0
    account = account_of(google.cloud)
    account.refresh(Request())
    # The account's own signature is as good as a token.
    own = jwt.Credentials.from_signing_credentials(account, audience="https://compute.googleapis.com/")
    own.refresh(Request())
    other = jwt.Credentials.from_signing_credentials(account, audience="https://storage.googleapis.com/")
    other.refresh(Request())
    for token, status in (
        (account.token, 200),
        (own.token.decode(), 200),
        (other.token.decode(), 401),
        ("made-up", 401),
    ):
        reply = requests.get(
            f"{google.cloud.endpoint}/compute/v1/projects/{google.project}/zones",
            headers={"Authorization": f"Bearer {token}"},
            params={"fields": "items(name,region),kind"},
            timeout=30,
        )
        assert reply.status_code == status
        if status == 200:
            assert {tuple(sorted(each)) for each in reply.json()["items"]} == {("name", "region")}
    desk = f"{google.cloud.endpoint}/token"
    for form, status in (
        (
            {"grant_type": "refresh_token", "refresh_token": google.cloud.environment["SANDBOX_GOOGLE_REFRESH_TOKEN"]},
            200,
        ),
        ({"grant_type": "refresh_token", "refresh_token": "other"}, 400),
        ({"grant_type": "refresh_token", "refresh_token": "öther"}, 400),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, 400),
    ):
        reply = requests.post(desk, data=form, timeout=30)
        assert reply.status_code == status
        assert set(reply.json()) == (
            {"access_token", "expires_in", "token_type"} if status == 200 else {"error", "error_description"}
        )


async def test_each_key_lets_in_its_own_user_only(google: Google, name: str, word: str) -> None:
    keys = {user: asyncssh.generate_private_key("ssh-ed25519") for user in ("adam", "eve")}
    lines = [f"{user}:{key.export_public_key().decode().strip()} {user}@home" for user, key in keys.items()]
    metadata = {"items": [{"key": "ssh-keys", "value": "\n".join([*lines, "no key at all"])}]}
    where = {"project": google.project, "zone": ZONE}

    def launch() -> str:
        body = instance(name, word, metadata=metadata)
        google.done(google.instances.insert_unary(instance_resource=body, **where))
        while not google.cloud.state()["instances"]["google"][-1]["is_ssh_open"]:
            pass
        seen = google.instances.get(instance=name, **where)
        address: str = seen.network_interfaces[0].access_configs[0].nat_i_p
        return address

    address = await asyncio.to_thread(launch)
    given: dict[str, Any] = {"port": int(google.cloud.environment["OGC_SSH_PORT"]), "known_hosts": None, "config": None}
    for user, key in keys.items():
        async with asyncssh.connect(address, username=user, client_keys=[key], **given) as connection:
            assert (await connection.run("echo $USER")).stdout == f"{user}\n"
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(address, username="adam", client_keys=[keys["eve"]], **given)

    def change() -> None:
        fingerprint = google.instances.get(instance=name, **where).metadata.fingerprint
        fewer = compute_v1.Metadata(fingerprint=fingerprint, items=[{"key": "ssh-keys", "value": lines[0]}])
        google.done(google.instances.set_metadata_unary(instance=name, metadata_resource=fewer, **where))

    await asyncio.to_thread(change)
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(address, username="eve", client_keys=[keys["eve"]], **given)
    await asyncio.to_thread(google.instances.delete_unary, instance=name, **where)


# What goes wrong needs sandboxes of its own.


@pytest.fixture
def narrow() -> Iterator[Google]:
    options = ("--boot", "0.05", "--no-limits", "--capacity", f"{ZONE}=3", "--quota", "5")
    with running_sandbox(*options) as cloud:
        yield Google(cloud)


def test_no_room_and_no_quota_are_told_by_the_machines_operations(narrow: Google, word: str) -> None:
    def bulk(count: int, least: int, zone: str = ZONE) -> Any:
        start = uuid.uuid4().hex[:6]
        return narrow.done(
            narrow.bulk(
                zone=zone,
                count=count,
                min_count=least,
                per_instance_properties={f"vm-{start}-{index}": {} for index in range(count)},
                instance_properties=properties(word),
            )
        )

    failed = bulk(4, 4)
    assert errors(failed) == ["VM_MIN_COUNT_NOT_REACHED"]
    assert failed.http_error_status_code >= 400
    placed = failed.instances_bulk_insert_operation_metadata.per_location_status[f"zones/{ZONE}"]
    assert (placed.created_vm_count, placed.failed_to_create_vm_count, placed.deleted_vm_count) == (3, 1, 3)
    assert sorted(map(errors, narrow.children(failed))) == [[], [], [], ["ZONE_RESOURCE_POOL_EXHAUSTED"]]
    assert narrow.listed(f"labels.word={word}") == []

    partial = bulk(4, 1)
    assert not partial.error.errors
    assert len(narrow.listed(f"labels.word={word}")) == 3
    bulk(2, 1, "us-central1-b")
    over = bulk(1, 1, "us-central1-b")
    assert errors(over) == ["VM_MIN_COUNT_NOT_REACHED"]
    [child] = narrow.children(over, "us-central1-b")
    assert errors(child) == ["QUOTA_EXCEEDED"]
    assert child.error.errors[0].error_details[0].quota_info.limit == 5

    where = {"project": narrow.project, "zone": "us-central1-b"}
    one = narrow.instances.insert_unary(instance_resource=instance("alone", word, "us-central1-b"), **where)
    assert errors(narrow.done(one)) == ["QUOTA_EXCEEDED"]
    with pytest.raises(exceptions.NotFound):
        narrow.instances.get(instance="alone", **where)


def test_a_late_death_leaves_an_operation_that_failed(word: str) -> None:
    with running_sandbox("--boot", "0.05", "--late-deaths", "1") as cloud:
        google = Google(cloud)
        where = {"project": google.project, "zone": ZONE}
        operation = google.instances.insert_unary(instance_resource=instance("doomed", word), **where)
        assert errors(google.done(operation)) == ["ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"]
        assert google.listed("") == []


def test_a_machine_whose_time_is_over_is_deleted(word: str) -> None:
    with running_sandbox("--boot", "0.1", "--time-scale", "100") as cloud:
        google = Google(cloud)
        where = {"project": google.project, "zone": ZONE}
        for name, seconds in (("brief", 60), ("lasting", 100 * 86_400)):
            spot = {
                "provisioning_model": "SPOT",
                "instance_termination_action": "DELETE",
                "max_run_duration": {"seconds": seconds},
                "automatic_restart": False,
                "on_host_maintenance": "TERMINATE",
            }
            made = instance(name, word, scheduling=spot)
            google.done(google.instances.insert_unary(instance_resource=made, **where))
        for _ in patiently("the end of the brief one alone"):
            if [each.name for each in google.listed("")] == ["lasting"]:
                break
        assert google.instances.get(instance="lasting", **where).scheduling.provisioning_model == "SPOT"
        states = {each["name"]: each["state"] for each in cloud.state()["instances"]["google"]}
        assert states == {"brief": "TERMINATED", "lasting": "RUNNING"}


def test_an_api_that_is_off_a_method_that_is_denied_and_planned_faults(word: str) -> None:
    with running_sandbox("--no-compute") as cloud, pytest.raises(exceptions.Forbidden, match="has not been used"):
        Google(cloud).listed("")
    planned = (
        *("--deny", "instances.list"),
        *("--fault", "zones.list=rateLimitExceeded"),
        *("--fault", "instances.insert=ZONE_RESOURCE_POOL_EXHAUSTED"),
        *("--fault", "instances.delete=lost-reply"),
        *("--boot", "0.05"),
    )
    with running_sandbox(*planned) as cloud:
        google = Google(cloud)
        with pytest.raises(exceptions.Forbidden, match=r"compute\.instances\.list"):
            google.listed("")
        zones = google.client(compute_v1.ZonesClient)
        with pytest.raises(exceptions.Forbidden) as caught:
            zones.list(project=google.project)
        assert caught.value.errors[0]["reason"] == "rateLimitExceeded"
        assert list(zones.list(project=google.project))

        where = {"project": google.project, "zone": ZONE}
        failed = google.done(google.instances.insert_unary(instance_resource=instance("one", word), **where))
        assert errors(failed) == ["ZONE_RESOURCE_POOL_EXHAUSTED"]
        google.done(google.instances.insert_unary(instance_resource=instance("one", word), **where))

        request = compute_v1.DeleteInstanceRequest(instance="one", request_id=str(uuid.uuid4()), **where)
        with pytest.raises(requests.exceptions.ConnectionError):
            google.instances.delete_unary(request=request)
        assert google.done(google.instances.delete_unary(request=request)).operation_type == "delete"
        assert cloud.state()["calls"]["google"]["instances.delete"] == {"calls": 2, "refused": 0}


def test_while_a_machine_boots_it_tells_no_host_key_and_no_second_operation_of_its_type_begins(word: str) -> None:
    with running_sandbox("--concurrent-operations", "1", "--boot", "3600") as cloud:
        google = Google(cloud)
        where = {"project": google.project, "zone": ZONE}
        google.instances.insert_unary(instance_resource=instance("one", word), **where)
        keys = compute_v1.GetGuestAttributesInstanceRequest(query_path="hostkeys/", instance="one", **where)
        with pytest.raises(exceptions.NotFound):
            google.instances.get_guest_attributes(request=keys)
        with pytest.raises(exceptions.Forbidden) as caught:
            google.instances.insert_unary(instance_resource=instance("two", word), **where)
        assert caught.value.reason == "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED"


def test_quotas_are_for_a_fixed_minute_and_a_region() -> None:
    # The clock stands nearly still: all calls are of one minute, however long they take.
    with running_sandbox("--time-scale", "0.000001") as cloud:
        google = Google(cloud)
        client = google.client(compute_v1.ZoneOperationsClient)
        where = {"project": google.project, "zone": ZONE, "operation": "operation-none"}
        refused = None
        for _ in range(750 + 1):
            try:
                client.wait(**where)
            except exceptions.NotFound:
                continue
            except exceptions.Forbidden as error:
                refused = error
                break
        assert refused is not None
        assert "limit 'Heavy-weight read requests per minute per region'" in refused.message
        assert refused.errors[0]["reason"] == "rateLimitExceeded"
        with pytest.raises(exceptions.NotFound):
            client.wait(**(where | {"zone": "us-east1-b"}))
