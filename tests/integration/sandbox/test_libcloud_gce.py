"""libcloud on Compute Engine, which shares no code with Google's client: other requests, another reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from libcloud.common.google import ResourceNotFoundError
from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver
from libcloud.compute.types import NodeState

from tests.cloud import Cloud

pytestmark = pytest.mark.usefixtures("google_judge")


@pytest.fixture
def driver(outside: Cloud, tmp_path: Path, google_judge: Any) -> Any:
    desk = f"{outside.endpoint}/token"
    form = {"grant_type": "refresh_token", "refresh_token": outside.environment["SANDBOX_GOOGLE_REFRESH_TOKEN"]}
    token = requests.post(desk, data=form, timeout=30).json()
    path = tmp_path / "token.json"
    path.write_text(json.dumps(token | {"expire_time": "2099-01-01T00:00:00Z"}))
    address = urlsplit(outside.endpoint)

    class Connection(GCEConnection):
        poll_interval = 0.1

        def __init__(self, *args: Any, **values: Any) -> None:
            super().__init__(*args, **values)
            self.host, self.port = address.hostname, address.port

    class Driver(GCENodeDriver):
        connectionCls = Connection  # noqa: N815

    return Driver(
        "user",
        "secret",
        project=outside.environment["GOOGLE_PROJECT"],
        datacenter=outside.environment["GOOGLE_DATACENTER"],
        auth_type="IA",
        credential_file=str(path),
        secure=False,
    )


def test_a_machines_whole_life(driver: Any, word: str) -> None:
    name = f"vm-{word}"
    node = driver.create_node(
        name,
        driver.ex_get_size("e2-small"),
        driver.ex_get_image_from_family("debian-12", ex_project_list=["debian-cloud"]),
        ex_labels={"word": word},
        ex_metadata={"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        ex_tags=["ssh"],
    )
    assert node.state == NodeState.RUNNING
    assert node.public_ips[0].startswith("127.")
    [found] = [each for each in driver.list_nodes() if each.name == name]
    assert found.extra["labels"] == {"word": word}
    assert found.extra["boot_disk"].size == "10"
    assert driver.ex_set_node_labels(found, {"colour": "blue"})
    assert driver.ex_get_node(name).extra["labels"] == {"colour": "blue"}
    assert "Booting" in driver.ex_get_serial_output(found)
    assert driver.destroy_node(found)
    assert name not in {each.name for each in driver.list_nodes(ex_zone="all")}
    with pytest.raises(ResourceNotFoundError):
        driver.ex_get_node(name)


def test_a_machine_is_stopped_started_and_rebooted_and_leaves_its_disk_behind(driver: Any, word: str) -> None:
    name = f"vm-{word}"
    image = driver.ex_get_image_from_family("debian-12", ex_project_list=["debian-cloud"])
    node = driver.create_node(name, driver.ex_get_size("e2-small"), image)
    assert driver.stop_node(node)
    stopped = driver.ex_get_node(name)
    assert (stopped.state, stopped.extra["status"], stopped.public_ips) == (NodeState.STOPPED, "TERMINATED", [None])
    assert driver.start_node(stopped)
    started = driver.ex_get_node(name)
    assert started.state == NodeState.RUNNING
    assert started.public_ips[0] not in (None, *node.public_ips)
    assert driver.reboot_node(started)
    assert driver.ex_get_node(name).public_ips == started.public_ips

    [disk] = [each for each in driver.list_volumes() if each.name == name]
    assert driver.ex_set_volume_auto_delete(disk, started, auto_delete=False)
    assert driver.destroy_node(started)
    assert name in {each.name for each in driver.list_volumes()}
    assert driver.destroy_volume(disk)
    assert name not in {each.name for each in driver.list_volumes()}


def test_a_firewall(driver: Any, word: str) -> None:
    name = f"fw-{word}"
    made = driver.ex_create_firewall(
        name, [{"IPProtocol": "tcp", "ports": ["22"]}], source_ranges=["10.0.0.0/8"], target_tags=["ssh"]
    )
    assert made.allowed == [{"IPProtocol": "tcp", "ports": ["22"]}]
    assert name in {each.name for each in driver.ex_list_firewalls()}
    assert driver.ex_destroy_firewall(made)
    with pytest.raises(ResourceNotFoundError):
        driver.ex_get_firewall(name)


def test_places_sizes_and_images_are_listed(driver: Any) -> None:
    assert "us-central1-a" in {each.name for each in driver.ex_list_zones()}
    assert "europe-west1" in {each.name for each in driver.ex_list_regions()}
    assert "us-east1-b" in {each.name for each in driver.list_locations()}
    assert {"e2-small", "t2a-standard-1"} <= {each.name for each in driver.list_sizes()}
    assert [each.name for each in driver.ex_list_networks()] == ["default"]
    images = driver.list_images(ex_project="rocky-linux-cloud")
    assert any(each.name.startswith("rocky-linux-9-") for each in images)
