"""Which host key a machine shows for its user data."""

from __future__ import annotations

import base64
from textwrap import indent

import asyncssh
import pytest

from ogc_async.sandbox.ec2.cloudinit import read
from ogc_async.ssh.hostkeys import new_host_key

PRIVATE = new_host_key().private
PEM = indent(PRIVATE, "    ")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_cloud_config_brings_its_key() -> None:
    key = read(encoded(f"#cloud-config\nruncmd: [ls]\nssh_keys:\n  ed25519_private: |\n{PEM}")).host_key
    assert key == asyncssh.import_private_key(PRIVATE)


def test_of_several_kinds_the_one_that_clients_prefer_is_shown() -> None:
    ecdsa = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_private_key().decode()
    both = f"#cloud-config\nssh_keys:\n  ecdsa_private: |\n{indent(ecdsa, '    ')}"
    found = read(encoded(both)).host_key
    assert found is not None
    assert found.get_algorithm() == "ecdsa-sha2-nistp256"
    found = read(encoded(f"{both}  ed25519_private: |\n{PEM}")).host_key
    assert found is not None
    assert found.get_algorithm() == "ssh-ed25519"


@pytest.mark.parametrize(
    "user_data",
    [
        "",
        "not base64!",
        encoded(f"#!/bin/sh\nssh_keys:\n  ed25519_private: |\n{PEM}"),
        encoded("#cloud-config\nruncmd: [ls]\n"),
        encoded("#cloud-config\nssh_keys: [\n"),
        encoded("#cloud-config\nssh_keys\n"),
        encoded("#cloud-config\nssh_keys: 7\n"),
        encoded("#cloud-config\nssh_keys: {ed25519_private: 7}\n"),
        encoded("#cloud-config\nssh_keys: {ed25519_private: no key, dsa_private: neither}\n"),
        encoded("#cloud-config\nssh_keys: " + "[" * 5000),
        base64.b64encode(b"#cloud-config\nssh_keys: \xff").decode(),
    ],
)
def test_what_brings_no_key_or_can_not_be_read_leaves_the_machine_its_own(user_data: str) -> None:
    assert read(user_data).host_key is None
