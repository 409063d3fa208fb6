"""Key files: what is wrong with one is said, and a new one is its owner's alone."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from ogc_async.errors import KeyFileError
from ogc_async.ssh.keys import generate_key_pair, load_private_key, load_public_key, public_line

ENCRYPTED_OPENSSH = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAYBl2QBz
BD3BO35eEhSG1pAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIAJ6d7BOGhkmg4H7
+YexduELxFN0PctbYvqpRnYY+13pAAAAkKCksFwMpw8SjofXedNDBZ82kn/gJaUICAaU9I
NbsAInwqNbIKt3sLuofthxYpmZ4XFrM50qeotfFWawnsmDea+Y7Y44ssM06z8e87COpyIw
6EXD0MEwFpUXw4dssVPRWZmuuyx1hwuDbqYSkO3Gz87x+4+XoEks5GvXba3t7s1A6jdJpp
UZBSXVrSVS+M9aTA==
-----END OPENSSH PRIVATE KEY-----
"""
"""Made with: ssh-keygen -t ed25519 -N secret"""

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def written(folder: Path, data: bytes) -> Path:
    path = folder / "id"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("load", [load_private_key, load_public_key])
def test_a_missing_key_file_is_named_with_the_command_that_makes_one(
    load: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(KeyFileError, match=r"no-such: does not exist; .*ssh-keygen -t ed25519") as wrong:
        load(tmp_path / "no-such")
    assert wrong.value.path == str(tmp_path / "no-such")


@pytest.mark.parametrize("load", [load_private_key, load_public_key])
def test_a_folder_is_not_a_key_file(load: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="is a folder"):
        load(tmp_path)


def test_a_path_through_a_file_is_a_key_file_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="can not be read: Not a directory"):
        load_private_key(written(tmp_path, b"") / "id")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x00\xff\xfe",
        b"0\x80\xff",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nnothing\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n",
        ENCRYPTED_OPENSSH.encode()[:200],
    ],
    ids=["empty", "text", "binary", "der", "openssh", "pem", "cut"],
)
def test_a_malformed_private_key_is_told_from_an_encrypted_one(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"is not a private key: .") as wrong:
        load_private_key(written(tmp_path, data))
    assert "passphrase" not in str(wrong.value)


def test_a_key_of_numbers_that_do_not_fit_together_is_malformed_too(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-rsa").export_private_key("pkcs1-der")
    middle = len(key) * 6 // 10
    path = written(tmp_path, key[:middle] + bytes([key[middle] ^ 1]) + key[middle + 1 :])
    with pytest.raises(KeyFileError, match=r"is not a private key: ."):
        load_private_key(path)
    with pytest.raises(KeyFileError, match=r"is not a public key: ."):
        load_public_key(path)


def test_a_public_key_in_place_of_a_private_one_is_refused(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(KeyFileError, match=r"is not a private key"):
        load_private_key(written(tmp_path, key.export_public_key()))


def test_a_key_encrypted_by_openssh_needs_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"needs a passphrase, .*ssh-keygen -p"):
        load_private_key(written(tmp_path, ENCRYPTED_OPENSSH.encode()))


@pytest.mark.parametrize("form", ["pkcs8-pem", "pkcs1-pem"])
def test_a_key_encrypted_in_a_format_of_openssl_needs_a_passphrase(form: str, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-rsa")
    with pytest.raises(KeyFileError, match=r"needs a passphrase, .*ssh-keygen -p"):
        load_private_key(written(tmp_path, key.export_private_key(form, passphrase="secret")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem"])
def test_a_private_key_without_a_passphrase_is_read(kind: str, form: str, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key(kind)
    read = load_private_key(written(tmp_path, key.export_private_key(form)))
    assert public_line(read) == public_line(key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_is_read_as_one_line_without_its_comment(kind: str, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key(kind, comment="me@home, with words")
    line = load_public_key(written(tmp_path, key.export_public_key()))
    assert line == public_line(key)
    assert line.split()[0] == kind
    assert len(line.split()) == 2


@pytest.mark.parametrize("data", [b"", b"hello", b"ssh-ed25519 AAAA me", b"\x00\xff"])
def test_a_malformed_public_key_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"is not a public key: ."):
        load_public_key(written(tmp_path, data))


def test_a_public_key_of_a_kind_that_clouds_do_not_take_is_refused(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed448")
    with pytest.raises(KeyFileError, match="is of kind ssh-ed448; make one with"):
        load_public_key(written(tmp_path, key.export_public_key()))


def test_a_new_key_pair_fits_together_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys" / "id"
    generate_key_pair(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_line(load_private_key(path)) == load_public_key(path.with_name("id.pub"))
    assert load_public_key(path.with_name("id.pub")).startswith("ssh-ed25519 ")


@pytest.mark.parametrize("name", ["id", "id.pub"])
def test_a_new_key_pair_overwrites_neither_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(KeyFileError, match=f"{name}: exists already; it is left alone"):
        generate_key_pair(tmp_path / "id")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(name, "precious")]


def test_a_new_key_pair_is_never_written_through_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "id").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="File exists"):
        generate_key_pair(tmp_path / "id")
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_pair_that_can_not_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="can not be written: "):
        generate_key_pair(written(tmp_path, b"") / "id")
