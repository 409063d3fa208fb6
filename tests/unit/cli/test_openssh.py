"""What the system's OpenSSH is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ogc_async.cli.openssh import BEGIN, END, config_block, is_fit, known_hosts, ssh_command, with_block
from ogc_async.errors import SettingsError, UnfitRecord
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import NodeSnapshot
from tests.not_tried import not_tried
from tests.unit.cli.nodes import node

KEY = {"ssh-keys": {"private": "/keys/my key", "public": "/keys/my key.pub"}}
HOST_KEY = new_host_key().public
MET = node(1, "ogc-web-1", host_key=HOST_KEY, username="ubuntu", ssh_port=2222, spec=KEY)
NEW = node(2, "ogc-web-2", username="ubuntu", spec=KEY)
TRUSTED = Path("/data/known_hosts")


def test_known_hosts_has_those_whose_key_is_on_record_by_name_and_by_address() -> None:
    assert known_hosts([MET, NEW]) == f"ogc-web-1 {HOST_KEY}\n[192.0.2.1]:2222 {HOST_KEY}\n"


def test_ssh_trusts_the_pinned_key_and_no_other_and_passes_words_on() -> None:
    words = ssh_command(MET, TRUSTED, ["uname", "-a"])
    assert words[0] == "ssh"
    assert words[-4:] == ["--", "ogc-web-1", "uname", "-a"]
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


HOSTILE = {
    "a dash": "-oProxyCommand=touch${IFS}pwned",
    "a line's end": "x\n    ProxyCommand touch pwned",
    "a return": "x\rProxyCommand touch pwned",
    "a line separator": "x\u2028y",
    "NUL": "x\0y",
    "ESC": "\x1b[2J",
    "every host": "*",
    "any letter": "ogc-web-?",
    "but one": "!ogc-web-1",
    "two hosts": "ogc-web-1 *",
    "a list": "ogc-web-1,*",
    "a token": "%h",
    "a variable": "${HOME}",
    "quotes": 'x" y',
    "a comment": "x # y",
    "up": "../x",
    "nothing": "",
    "100,000 characters": "x" * 100_000,
    "a marker": f"@cert-authority * {HOST_KEY}",
    "a key too many": f"{HOST_KEY}\n* {HOST_KEY}",
    "a comment of a key": f"{HOST_KEY} root@host",
    "a zone": "fe80::1%eth0",
}
FIELDS = ("name", "username", "public_ip", "private_ip", "host_key")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", FIELDS)
def test_a_row_that_openssh_would_read_otherwise_is_refused_by_name_and_field(field: str, value: str) -> None:
    bad = replace(MET, **{field: value})
    for tell in (
        lambda: ssh_command(bad, TRUSTED, ["true"]),
        lambda: config_block([MET, bad], TRUSTED),
        lambda: known_hosts([MET, bad]),
    ):
        with pytest.raises(UnfitRecord, match=f"its {field} on record must ") as caught:
            tell()
        assert caught.value.field == field
        assert str(caught.value).startswith("node 1, ")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600
    assert is_fit(MET)
    assert not is_fit(bad)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**20, "22\nProxyCommand x", True])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(UnfitRecord, match="ssh_port on record must be a whole number from 1 to 65535"):
        ssh_command(replace(MET, ssh_port=port), TRUSTED, [])


@pytest.mark.parametrize("field", ["name", "host_key"])
def test_a_node_that_nobody_has_met_is_no_comment_that_ends_early(field: str) -> None:
    bad = (
        replace(NEW, name="x\nHost *\n  ProxyCommand touch pwned") if field == "name" else replace(NEW, host_key="x\ny")
    )
    with pytest.raises(UnfitRecord):
        config_block([bad], TRUSTED)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "none",
        "-x",
        "~/key",
        "key",
        "/a\n    ProxyCommand touch pwned",
        '/a"b',
        "/a\\b",
        "/${HOME}/k",
        "/a\x1b[2J",
        "/a\0b",
    ],
)
def test_a_key_s_path_that_cannot_be_written_is_refused(path: str) -> None:
    bad = replace(MET, spec={"ssh-keys": {"private": path}})
    with pytest.raises(UnfitRecord, match=r"its spec\.ssh-keys\.private on record") as caught:
        config_block([bad], TRUSTED)
    assert str(caught.value).isprintable()
    with pytest.raises(SettingsError):
        config_block([MET], Path(path))


def test_a_node_without_an_address_is_refused() -> None:
    with pytest.raises(UnfitRecord, match="its public_ip on record is empty, and so is private_ip"):
        ssh_command(replace(MET, public_ip=None), TRUSTED, [])


ODD = [
    "/keys/plain_key-1.pem",
    "/keys/my key",
    "/keys/100%/a%hb",
    "/keys/it's #1",
    "/keys/$HOME (old) [x] {y} * ? !",
    "/keys/Schl\u00fcssel,a=b;c&d|e",
    "/keys/~ada/@host:x",
]


def met(path: str, **more: object) -> NodeSnapshot:
    return replace(MET, spec={"ssh-keys": {"private": path}}, **more)  # type: ignore[arg-type]  # values of any field


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_openssh_reads_what_is_odd_but_right_as_it_is_meant(path: str, address: str, tmp_path: Path) -> None:
    ssh = shutil.which("ssh")
    if ssh is None:
        not_tried("how OpenSSH reads a configuration", "the program ssh is not installed")
    one = met(path, public_ip=address, username="ada.l_ove-lace")
    other = met("/keys/other", public_ip="192.0.2.9")
    trusted = Path(f"{path}.hosts")
    config = tmp_path / "config"
    config.write_text(config_block([one, replace(other, name="ogc-web-2")], trusted))
    for words in (["-F", str(config), "ogc-web-1"], ssh_command(one, trusted, [])[1:]):
        said = _read_by(ssh, words, tmp_path)
        assert said["hostname"] == address
        assert (said["port"], said["user"], said["hostkeyalias"]) == ("2222", "ada.l_ove-lace", "ogc-web-1")
        # Its tokens are still as they were written; those of the other path are not.
        assert said["identityfile"].replace("%%", "%") == path
        assert said["userknownhostsfile"] == str(trusted)
        assert said["stricthostkeychecking"] == "true"
        assert said.get("proxycommand", "none") == "none"


def test_words_that_begin_with_a_dash_are_the_command_s(tmp_path: Path) -> None:
    ssh = shutil.which("ssh")
    if ssh is None:
        not_tried("how OpenSSH reads a command line", "the program ssh is not installed")
    said = _read_by(ssh, ssh_command(MET, TRUSTED, ["-oProxyCommand=touch pwned", "-l", "root"])[1:], tmp_path)
    assert said["user"] == "ubuntu"
    assert said.get("proxycommand", "none") == "none"


def _read_by(ssh: str, words: list[str], home: Path) -> dict[str, str]:
    done = subprocess.run(
        [ssh, "-G", *words],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
