"""What the system's OpenSSH is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.cli.openssh import BEGIN, END, config_block, known_hosts, ssh_command, with_block
from ogc_async.errors import SettingsError
from tests.unit.cli.nodes import node

KEY = {"ssh-keys": {"private": "/keys/my key", "public": "/keys/my key.pub"}}
MET = node(1, "ogc-web-1", host_key="ssh-ed25519 AAAA", username="ubuntu", ssh_port=2222, spec=KEY)
NEW = node(2, "ogc-web-2", username="ubuntu", spec=KEY)
TRUSTED = Path("/data/known_hosts")


def test_known_hosts_has_those_whose_key_is_on_record_by_name_and_by_address() -> None:
    assert known_hosts([MET, NEW]) == "ogc-web-1 ssh-ed25519 AAAA\n[192.0.2.1]:2222 ssh-ed25519 AAAA\n"


def test_ssh_trusts_the_pinned_key_and_no_other_and_passes_words_on() -> None:
    words = ssh_command(MET, TRUSTED, ["uname", "-a"])
    assert words[0] == "ssh"
    assert words[-4:] == ["ogc-web-1", "--", "uname", "-a"]
    assert "StrictHostKeyChecking=yes" in words
    assert "UserKnownHostsFile=/data/known_hosts" in words
    assert "HostKeyAlias=ogc-web-1" in words
    assert 'IdentityFile="/keys/my key"' in words


def test_the_block_has_every_node_and_says_what_those_lack_that_nobody_has_met() -> None:
    block = config_block([MET, NEW], TRUSTED)
    assert block.startswith(f"{BEGIN}\nHost ogc-web-1\n    HostName 192.0.2.1\n    Port 2222\n    User ubuntu\n")
    assert "# ogc-web-2: no host key on record yet" in block
    assert "Host ogc-web-2" not in block
    assert block.endswith(f"{END}\n")


def test_a_block_takes_the_place_of_an_older_one_and_leaves_all_else_alone() -> None:
    first = with_block("Host *\n    Compression yes\n", f"{BEGIN}\nHost a\n{END}\n")
    assert first == f"{BEGIN}\nHost a\n{END}\n\nHost *\n    Compression yes\n"
    assert with_block(first, f"{BEGIN}\nHost b\n{END}\n") == first.replace("Host a", "Host b")
    assert with_block("", f"{BEGIN}\n{END}\n") == f"{BEGIN}\n{END}\n"
    with pytest.raises(SettingsError, match="# ogc: end"):
        with_block(f"{BEGIN}\nHost a\n", f"{BEGIN}\n{END}\n")
