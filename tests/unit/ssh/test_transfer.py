"""Archives and names, without a node."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from ogc_async.ssh.archive import PushFile, pack, safe_target
from ogc_async.ssh.transfer import quote_glob


def members(stream: bytes) -> list[tuple[str, bytes, int, bool]]:
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz") as archive:
        return [
            (each.name, file.read(), each.mode, each.isreg())
            for each in archive
            if (file := archive.extractfile(each)) is not None
        ]


def test_an_archive_holds_names_bytes_and_modes_in_order() -> None:
    files = [
        PushFile("b/run.sh", b"#!/bin/sh\n", 0o755),
        PushFile("a", b"\x00\xff"),
        PushFile("größe", b"", 0o600),
        PushFile("x" * 300, b"long"),
    ]
    assert members(pack(files)) == [(each.path, each.data, each.mode, True) for each in files]


def test_an_archive_tells_nothing_of_this_machine_s_users() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack([PushFile("a", b"1")])), mode="r:gz") as archive:
        (entry,) = archive.getmembers()
    assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)


def test_equal_files_give_equal_bytes_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [PushFile("a", b"1"), PushFile("b", b"2")]
    first = pack(files)
    now = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: now)
    assert pack(files) == first
    assert pack(files[::-1]) != first


def test_no_files_give_an_archive_all_the_same() -> None:
    assert members(pack([])) == []


def test_a_file_s_content_is_not_shown_when_it_is_printed() -> None:
    assert "secret" not in repr(PushFile("a", b"secret"))


@pytest.mark.parametrize(
    "pattern", ["plain", "a b", "it's", "$HOME", "`id`", "a;b", "~", "{a,b}", "[ab]", "#x", "!x", "\\", '"', "&", "<x>"]
)
def test_a_shell_reads_nothing_into_a_pattern_but_its_wildcards(pattern: str, tmp_path: Path) -> None:
    for name in (f"{pattern.replace('/', '')}1", f"{pattern}2", "other"):
        (tmp_path / name).touch()
    command = f"printf '%s\\n' {quote_glob(pattern + '?')} {quote_glob(pattern + '*2')}"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == [f"{pattern}1", f"{pattern}2", f"{pattern}2"]


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("a", "a"),
        ("./a/b", "a/b"),
        ("/etc/passwd", "etc/passwd"),
        ("//etc//passwd", "etc/passwd"),
        ("a/./b", "a/b"),
        ("..a/b..", "..a/b.."),
        ("a\\..\\b", "a\\..\\b"),
    ],
)
def test_a_member_s_name_leads_to_below_the_folder(name: str, below: str) -> None:
    assert safe_target(Path("/to"), name) == Path("/to") / below


@pytest.mark.parametrize("name", ["", ".", "/", "..", "../a", "a/../b", "a/..", "/../a", "./..", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_or_to_no_file_has_no_target(name: str) -> None:
    assert safe_target(Path("/to"), name) is None
