"""Knowing a node again by its host key."""

from __future__ import annotations

import asyncssh
import pytest

from ogc_async.ssh.hostkeys import HostKeyCheck, fingerprint, known_hosts_line, new_host_key
from ogc_async.ssh.keys import public_line

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAJ6d7BOGhkmg4H7+YexduELxFN0PctbYvqpRnYY+13p"


def shown(check: HostKeyCheck, key: asyncssh.SSHKey) -> bool:
    return check.validate_host_public_key("web", "127.0.0.1", 22, key)


def test_with_no_key_on_record_the_first_one_is_accepted_and_kept() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    check = HostKeyCheck(None)
    assert (check.shown, check.is_changed) == (None, False)
    assert shown(check, key)
    assert (check.shown, check.is_changed) == (public_line(key), False)


def test_with_a_key_on_record_exactly_that_one_is_accepted() -> None:
    key, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    same = HostKeyCheck(public_line(key))
    assert shown(same, key)
    assert not same.is_changed
    changed = HostKeyCheck(public_line(key))
    assert not shown(changed, other)
    assert changed.is_changed
    assert changed.shown == public_line(other)


def test_a_node_that_showed_no_key_has_not_changed_it() -> None:
    assert not HostKeyCheck(LINE).is_changed


def test_a_new_host_key_is_a_pair_that_no_other_is_like() -> None:
    key, other = new_host_key(), new_host_key()
    assert public_line(asyncssh.import_private_key(key.private)) == key.public
    assert key.private.endswith("-----END OPENSSH PRIVATE KEY-----\n")
    assert {key.public, key.private}.isdisjoint({other.public, other.private})


def test_a_fingerprint_is_what_ssh_keygen_prints() -> None:
    assert fingerprint(LINE) == "SHA256:MtMUQYsM5mE+ElUXdoS364TN8/vqsYr5I4eGAfBbu0Y"


@pytest.mark.parametrize(
    ("address", "port", "host"),
    [
        ("192.0.2.7", 22, "192.0.2.7"),
        ("192.0.2.7", 2222, "[192.0.2.7]:2222"),
        ("2001:db8::7", 22, "2001:db8::7"),
        ("2001:db8::7", 2222, "[2001:db8::7]:2222"),
    ],
)
def test_a_known_hosts_line_is_found_for_its_host_and_for_no_other(address: str, port: int, host: str) -> None:
    line = known_hosts_line(address, port, LINE)
    assert line == f"{host} {LINE}"
    found, *_ = asyncssh.import_known_hosts(line).match("", address, None if port == 22 else port)
    assert [public_line(key) for key in found] == [LINE]
    assert asyncssh.import_known_hosts(line).match("", "192.0.2.8", port)[0] == []
