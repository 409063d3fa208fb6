"""Files to and from a node: byte for byte, in one stream, and nowhere they do not belong."""

from __future__ import annotations

import base64
import io
import os
import stat
import tarfile
from pathlib import Path

import anyio
import pytest

from ogc_async.errors import TransferFailed
from ogc_async.ssh import transfer
from ogc_async.ssh.archive import PushFile
from ogc_async.ssh.connection import Session
from ogc_async.ssh.transfer import pull, push
from tests.integration.ssh.conftest import PATH, Server

TREE = (
    PushFile("01-setup.sh", b"#!/bin/sh\nexit 0\n", 0o755),
    PushFile("conf/app.conf", b"a = 1\r\n"),
    PushFile("conf/deep/er/secret", b"\x00\xff\x00", 0o600),
    PushFile("empty", b""),
    PushFile("with space 'n quote\".txt", b"space"),
    PushFile("-rf", b"not an option"),
    PushFile("größe-日本.txt", b"umlaut"),
    PushFile("long/" + "x" * 200, b"long"),
    PushFile("large.bin", os.urandom(3_000_000)),
)


def found_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


def fake_tar(server: Server, script: str) -> None:
    """Put a ``tar`` of our own before the system's."""
    folder = server.home / ".bin"
    folder.mkdir()
    (folder / "tar").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "tar").chmod(0o755)
    server.path = f"{folder}:{PATH}"


def send(server: Server, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    """Have the node send that archive, whatever it is asked for."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for entry, data in members:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    (server.home / "wanted").touch()
    fake_tar(server, f"base64 -d <<'END'\n{base64.b64encode(stream.getvalue()).decode()}\nEND")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    return entry


async def test_a_tree_of_files_arrives_byte_for_byte_with_its_modes_by_one_command(
    server: Server, session: Session
) -> None:
    await push(session, TREE, "ogc", timeout_s=30)
    assert found_below(server.home / "ogc") == {each.path: (each.data, each.mode) for each in TREE}
    assert len(server.commands) == 1


@pytest.mark.parametrize("name", ["a b", "it's", "$HOME", "x;touch y", "deep/er"])
async def test_the_folder_on_the_node_may_have_any_name(server: Server, session: Session, name: str) -> None:
    await push(session, [PushFile("file", b"1")], name, timeout_s=30)
    assert (server.home / name / "file").read_bytes() == b"1"
    assert [each.name for each in server.home.iterdir()] == [name.split("/")[0]]


async def test_the_folder_on_the_node_may_be_absolute(server: Server, session: Session) -> None:
    await push(session, [PushFile("file", b"1")], str(server.home / "else" / "where"), timeout_s=30)
    assert (server.home / "else" / "where" / "file").read_bytes() == b"1"


async def test_pushing_again_replaces_files_and_leaves_the_others_alone(server: Server, session: Session) -> None:
    await push(session, [PushFile("a", b"old and longer", 0o755), PushFile("b", b"b")], "ogc", timeout_s=30)
    await push(session, [PushFile("a", b"new")], "ogc", timeout_s=30)
    assert found_below(server.home / "ogc") == {"a": (b"new", 0o644), "b": (b"b", 0o644)}


async def test_a_target_that_can_not_be_written_is_a_failed_transfer_that_names_the_node_and_the_reason(
    server: Server, session: Session
) -> None:
    (server.home / "taken").write_text("a file")
    with pytest.raises(TransferFailed, match=r"^web-1: pushing 9 files to taken: .*File exists") as failed:
        await push(session, TREE, "taken", timeout_s=30)
    assert failed.value.node == "web-1"
    assert (server.home / "taken").read_text() == "a file"


async def test_a_full_disk_is_a_failed_transfer_that_says_so(server: Server, session: Session) -> None:
    fake_tar(server, "head -c 10 >/dev/null; echo 'tar: write: No space left on device' >&2; exit 2")
    with pytest.raises(TransferFailed, match=r"web-1: .* to ogc: exit code 2: tar: write: No space left on device"):
        await push(session, TREE, "ogc", timeout_s=30)


async def test_a_tar_that_is_killed_is_a_failed_transfer_that_names_the_signal(
    server: Server, session: Session
) -> None:
    # The shell that started it reports a signal as an exit code, unless it is killed itself.
    fake_tar(server, "kill -KILL 0")
    with pytest.raises(TransferFailed, match=r"web-1: .*: killed by KILL"):
        await push(session, TREE, "ogc", timeout_s=30)


async def test_a_push_that_takes_too_long_is_a_failed_transfer(server: Server, session: Session) -> None:
    fake_tar(server, "sleep 600")
    with pytest.raises(TransferFailed, match=r"web-1: .* took longer than 0.2 s"):
        await push(session, TREE, "ogc", timeout_s=0.2)


async def test_a_session_that_breaks_during_a_push_is_a_failed_transfer(server: Server, session: Session) -> None:
    fake_tar(server, "sleep 600")

    async def break_it() -> None:
        await server.running.wait()
        server.break_connections()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_it)
        with pytest.raises(TransferFailed, match=r"web-1: .*: the session broke"):
            await push(session, TREE, "ogc", timeout_s=30)


async def test_a_node_without_tar_is_given_its_files_by_sftp(server: Server, session: Session) -> None:
    for name in ("mkdir", "sh"):
        (server.home / ".bin").mkdir(exist_ok=True)
        (server.home / ".bin" / name).symlink_to(f"/bin/{name}")
    server.path = str(server.home / ".bin")
    server.has_sftp_next = True
    await push(session, TREE, "ogc", timeout_s=30)
    assert found_below(server.home / "ogc") == {each.path: (each.data, each.mode) for each in TREE}


async def test_a_node_with_neither_tar_nor_sftp_is_a_failed_transfer(server: Server, session: Session) -> None:
    fake_tar(server, "exit 127")
    with pytest.raises(TransferFailed, match=r"^web-1: pushing 9 files to ogc by SFTP: \S"):
        await push(session, TREE, "ogc", timeout_s=30)


async def test_files_and_folders_and_patterns_are_fetched_byte_for_byte(
    server: Server, session: Session, tmp_path: Path
) -> None:
    logs = server.home / "logs"
    (logs / "deep").mkdir(parents=True)
    (logs / "a.log").write_bytes(b"\x00\xffa")
    (logs / "deep" / "b.log").write_bytes(os.urandom(1_000_000))
    (server.home / "it's a report.txt").write_bytes(b"report")
    (server.home / "other").write_bytes(b"other")
    folder = tmp_path / "artifacts"
    written = await pull(session, ["logs", "it's a rep*.txt", "none*", "no/such"], folder, timeout_s=30)
    assert found_below(folder) == {
        "logs/a.log": (b"\x00\xffa", 0o644),
        "logs/deep/b.log": ((logs / "deep" / "b.log").read_bytes(), 0o644),
        "it's a report.txt": (b"report", 0o644),
    }
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())


async def test_patterns_that_match_nothing_fetch_nothing_and_are_no_error(session: Session, tmp_path: Path) -> None:
    assert await pull(session, ["none*", "$(touch x)"], tmp_path / "artifacts", timeout_s=30) == []
    assert await pull(session, [], tmp_path / "artifacts", timeout_s=30) == []
    assert not (tmp_path / "artifacts").exists()
    assert not (tmp_path / "home" / "x").exists()


async def test_the_whole_login_folder_can_be_fetched(server: Server, session: Session, tmp_path: Path) -> None:
    (server.home / "file").write_bytes(b"1")
    await pull(session, ["."], tmp_path / "artifacts", timeout_s=30)
    assert found_below(tmp_path / "artifacts") == {"file": (b"1", 0o644)}


async def test_absolute_paths_are_fetched_to_below_the_folder(server: Server, session: Session, tmp_path: Path) -> None:
    (server.home / "file").write_bytes(b"1")
    written = await pull(session, [f"{server.home}/file"], tmp_path / "artifacts", timeout_s=30)
    assert written == [(tmp_path / "artifacts").joinpath(*server.home.parts[1:], "file")]


async def test_a_link_beside_its_file_and_a_file_matched_twice_are_fetched_as_files(
    server: Server, session: Session, tmp_path: Path
) -> None:
    (server.home / "logs").mkdir()
    (server.home / "logs" / "1.log").write_bytes(b"one")
    (server.home / "logs" / "latest.log").symlink_to("1.log")
    (server.home / "logs" / "hard.log").hardlink_to(server.home / "logs" / "1.log")
    written = await pull(session, ["logs/1.log", "logs"], tmp_path / "artifacts", timeout_s=30)
    files = found_below(tmp_path / "artifacts")
    assert files == {f"logs/{name}.log": (b"one", 0o644) for name in ("1", "latest", "hard")}
    assert not any(path.is_symlink() for path in written)
    assert len(written) == len(set(written)) == 3


async def test_a_log_that_grows_while_it_is_read_is_fetched(server: Server, session: Session, tmp_path: Path) -> None:
    (server.home / "a.log").write_bytes(b"a")
    fake_tar(
        server, f'PATH={PATH}; tar "$@" || exit; [ "$1" = --version ] || {{ echo "tar: file changed" >&2; exit 1; }}'
    )
    written = await pull(session, ["a.log"], tmp_path / "artifacts", timeout_s=30)
    assert [path.read_bytes() for path in written] == [b"a"]


async def test_another_tar_s_exit_code_1_is_a_failed_transfer(server: Server, session: Session, tmp_path: Path) -> None:
    (server.home / "a.log").write_bytes(b"a")
    fake_tar(server, '[ "$1" = --version ] && echo "bsdtar 3.7.2" && exit; echo "tar: Permission denied" >&2; exit 1')
    with pytest.raises(TransferFailed, match=r"web-1: fetching a.log: exit code 1: tar: Permission denied"):
        await pull(session, ["a.log"], tmp_path / "artifacts", timeout_s=30)


@pytest.mark.parametrize(
    "evil",
    [
        member("../outside"),
        member("ok/../../outside"),
        member("/../outside"),
        member("nul\0name"),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("link", tarfile.SYMTYPE, "ok"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
    ],
    ids=["up", "down-and-up", "absolute-and-up", "nul", "symlink-out", "symlink-inside", "pipe", "device"],
)
async def test_an_archive_that_leads_out_of_the_folder_or_holds_what_is_no_file_writes_nothing(
    server: Server, session: Session, tmp_path: Path, evil: tarfile.TarInfo
) -> None:
    evil.pax_headers = {"path": evil.name}
    send(server, (member("fine"), b"fine"), (evil, b""))
    with pytest.raises(TransferFailed, match=r"^web-1: sent .*; nothing was written$"):
        await pull(session, ["wanted"], tmp_path / "artifacts", timeout_s=30)
    assert not (tmp_path / "artifacts").exists()
    assert not (tmp_path / "outside").exists()


async def test_a_hard_link_never_reaches_a_file_of_this_machine(
    server: Server, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("mine")
    send(server, (member("link", tarfile.LNKTYPE, str(tmp_path / "secret")), b""))
    with pytest.raises(TransferFailed, match=r"web-1: what it sent can not be unpacked"):
        await pull(session, ["wanted"], tmp_path / "artifacts", timeout_s=30)
    assert found_below(tmp_path / "artifacts") == {}


async def test_a_link_that_stands_where_a_file_is_fetched_to_is_replaced_and_not_followed(
    server: Server, session: Session, tmp_path: Path
) -> None:
    (server.home / "file").write_bytes(b"fetched")
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "file").symlink_to(tmp_path / "precious")
    await pull(session, ["file"], tmp_path / "artifacts", timeout_s=30)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "artifacts" / "file").read_bytes() == b"fetched"


async def test_what_is_fetched_is_never_set_uid_nor_writable_for_others(
    server: Server, session: Session, tmp_path: Path
) -> None:
    evil = member("evil")
    evil.mode = 0o6777
    send(server, (evil, b"1"))
    await pull(session, ["wanted"], tmp_path / "artifacts", timeout_s=30)
    assert found_below(tmp_path / "artifacts") == {"evil": (b"1", 0o755)}


async def test_something_that_is_no_archive_is_a_failed_transfer(
    server: Server, session: Session, tmp_path: Path
) -> None:
    (server.home / "wanted").touch()
    fake_tar(server, "echo Welcome to this machine")
    with pytest.raises(TransferFailed, match=r"web-1: what it sent can not be unpacked into"):
        await pull(session, ["wanted"], tmp_path / "artifacts", timeout_s=30)


async def test_more_than_may_be_fetched_is_a_failed_transfer_and_not_a_cut_archive(
    server: Server, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PULL_LIMIT", 100_000)
    (server.home / "file").write_bytes(os.urandom(99_000))
    (path,) = await pull(session, ["file"], tmp_path / "artifacts", timeout_s=30)
    assert path.read_bytes() == (server.home / "file").read_bytes()
    (server.home / "file").write_bytes(os.urandom(100_000))
    with pytest.raises(TransferFailed, match=r"web-1: fetching file: more than 100000 bytes"):
        await pull(session, ["file"], tmp_path / "artifacts", timeout_s=30)
