"""libcloud, which shares no code with our client or with botocore: its own requests, its own reading of replies."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import asyncssh
import pytest
from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider

from tests.cloud import Cloud

DEADLINE_S = 60


@pytest.fixture
def driver(outside: Cloud) -> Any:
    address = urlsplit(outside.endpoint)
    return get_driver(Provider.EC2)(
        outside.environment["AWS_ACCESS_KEY_ID"],
        outside.environment["AWS_SECRET_ACCESS_KEY"],
        region=outside.environment["AWS_REGION"],
        host=address.hostname,
        port=address.port,
        secure=False,
        signature_version="4",
    )


def launch(driver: Any, image: str, word: str, **values: Any) -> Any:
    size = next(each for each in driver.list_sizes() if each.id == "t3.micro")
    return driver.create_node(name=word, size=size, image=driver.get_image(image), **values)


def test_a_machines_whole_life(driver: Any, image: str, word: str) -> None:
    pair = driver.create_key_pair(word)
    assert "PRIVATE KEY" in pair.private_key
    group = driver.ex_create_security_group(word, "for a test")
    assert driver.ex_authorize_security_group(word, 22, 22, "10.0.0.0/8")
    node = launch(driver, image, word, ex_keyname=word, ex_security_groups=[word], ex_clienttoken=word)
    assert node.name == word
    again = launch(driver, image, word, ex_keyname=word, ex_security_groups=[word], ex_clienttoken=word)
    assert again.id == node.id

    [(running, addresses)] = driver.wait_until_running([node], wait_period=0.1, timeout=DEADLINE_S)
    assert running.state == NodeState.RUNNING
    assert addresses[0].startswith("127.")
    assert running.extra["key_name"] == word
    [found] = driver.list_nodes(ex_filters={"tag:Name": word})
    assert found.id == node.id
    assert driver.ex_create_tags(found, {"colour": "blue"})
    assert driver.ex_describe_tags(found)["colour"] == "blue"

    assert driver.destroy_node(found)
    while driver.list_nodes(ex_node_ids=[node.id])[0].state != NodeState.TERMINATED:
        pass
    assert driver.ex_delete_security_group(word)
    assert group["group_id"] not in {each.id for each in driver.ex_get_security_groups()}
    assert driver.delete_key_pair(driver.get_key_pair(word))
    assert word not in {each.name for each in driver.list_key_pairs()}


def test_places_and_images_are_listed(driver: Any, image: str) -> None:
    assert {each.name for each in driver.list_locations()} == {"us-east-2a", "us-east-2b", "us-east-2c"}
    assert image in {each.id for each in driver.list_images(ex_owner="amazon")}
    assert len(driver.ex_list_networks()) == 1
    assert len(driver.ex_list_subnets()) == 3


def test_a_refusal_is_understood(driver: Any) -> None:
    with pytest.raises((BaseHTTPError, Exception), match=r"InvalidAMIID\.NotFound"):
        driver.get_image("ami-00000000000000000")


def test_it_finds_an_imported_rsa_key_again_by_its_fingerprint(driver: Any, word: str) -> None:
    key = asyncssh.generate_private_key("ssh-rsa", comment=word, key_size=2048)
    public = key.export_public_key().decode()
    driver.import_key_pair_from_string(word, public)
    assert driver.ex_find_or_import_keypair_by_key_material(public)["keyName"] == word


def test_hundreds_of_machines_named_in_one_address_are_read(driver: Any) -> None:
    with pytest.raises((BaseHTTPError, Exception), match=r"InvalidInstanceID\.NotFound"):
        driver.list_nodes(ex_node_ids=[f"i-{number:017x}" for number in range(500)])
