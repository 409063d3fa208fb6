"""Files of many nodes, compressed once: what each is sent, and what a node says that it holds."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from ogc_async.ssh import archive
from ogc_async.ssh.archive import Packer, PushFile, manifest
from ogc_async.ssh.transfer import path_of, still_held

COMMON = (PushFile("lib/a", b"a" * 1000, is_common=True), PushFile("b.sh", b"b", 0o755, is_common=True))


async def unpacked(files: tuple[PushFile, ...], packer: Packer) -> dict[str, tuple[bytes, int]]:
    stream = b"".join(await packer.stream(files))
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz") as tar:
        members = [(each, tar.extractfile(each)) for each in tar.getmembers()]
        return {each.name: (file.read(), each.mode) for each, file in members if file is not None}


async def test_a_node_is_sent_the_common_files_and_its_own_as_one_archive(tmp_path: Path) -> None:
    files = (*COMMON, PushFile("own", b"of one node"))
    assert await unpacked(files, Packer()) == {each.path: (each.data, each.mode) for each in files}
    stream = b"".join(await Packer().stream(files))
    done = subprocess.run(["tar", "-xzf", "-", "-C", tmp_path], input=stream, capture_output=True, check=True)
    assert done.stderr == b""
    assert (tmp_path / "own").read_bytes() == b"of one node"
    assert (tmp_path / "lib/a").read_bytes() == b"a" * 1000


@pytest.mark.parametrize("files", [(), COMMON, (PushFile("own", b"1"),)], ids=["none", "common", "own"])
async def test_either_part_may_be_empty(files: tuple[PushFile, ...]) -> None:
    assert await unpacked(files, Packer()) == {each.path: (each.data, each.mode) for each in files}


async def test_what_many_nodes_have_in_common_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    work = archive.pack_open
    monkeypatch.setattr(archive, "pack_open", lambda files: packed.append(len(files)) or work(files))
    packer = Packer()
    streams = {await packer.stream((*COMMON, PushFile("own", str(node).encode()))) for node in range(5)}
    assert packed == [2]
    assert len(streams) == 5
    assert len({common for common, _ in streams}) == 1
    await packer.stream(COMMON[:1])
    assert packed == [2, 1]


def test_a_manifest_is_what_sha256sum_checks_behind_the_modes(tmp_path: Path) -> None:
    for each in COMMON:
        (tmp_path / each.path).parent.mkdir(exist_ok=True)
        (tmp_path / each.path).write_bytes(each.data)
    (tmp_path / "b.sh").write_bytes(b"changed")
    text = manifest(each.line for each in COMMON).data.decode()
    sums = "".join(line.split(" ", 1)[1] + "\n" for line in text.splitlines())
    done = subprocess.run(["sha256sum", "-c"], cwd=tmp_path, input=sums, capture_output=True, text=True)
    assert still_held(text + done.stdout) == {COMMON[0].line}
    assert path_of(COMMON[1].line) == "b.sh"


@pytest.mark.parametrize("name", ["line\nbreak", "back\\slash", "carriage\rreturn"])
def test_a_name_that_sha256sum_writes_in_its_own_way_is_sent_every_time(name: str) -> None:
    assert name not in manifest([PushFile(name, b"1").line, COMMON[0].line]).data.decode()


@pytest.mark.parametrize(
    "said", ["", "garbage", "755 abc  x\nx: OK", "x: OK", "\n".join([COMMON[0].line, "lib/a: FAILED"])]
)
def test_a_node_that_says_anything_else_holds_nothing(said: str) -> None:
    assert still_held(said) == frozenset()
