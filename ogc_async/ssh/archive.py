"""Archives: what travels to many nodes, compressed once, and what comes back, checked before any of it is written."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

import anyio

from ogc_async.errors import TransferFailed

MANIFEST = ".ogc-pushed"
"""Beside the files on a node: what was pushed there, so that the next push sends only what differs."""

OFF_LOOP_BYTES = 65_536
"""What takes longer to compress than a few milliseconds is compressed in a thread."""

KEPT = 64
"""Compressed sets of files kept for the next node; each is one that many nodes are given."""


@dataclass(frozen=True)
class PushFile:
    """A file as it is to be on the node; ``path`` is relative, with forward slashes.

    ``is_common`` says that other nodes are given the very same file.
    """

    path: str
    data: bytes = field(repr=False)
    mode: int = 0o644
    is_common: bool = field(default=False, compare=False)

    @cached_property
    def line(self) -> str:
        """The file's line in the manifest; as ``sha256sum`` writes it, after the mode."""
        return f"{self.mode:o} {hashlib.sha256(self.data).hexdigest()}  {self.path}"


class Bundle(tuple[PushFile, ...]):
    """Files that travel together; what is to be known of them as a whole is worked out once, for however many nodes."""

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The files' lines in the manifest."""
        return tuple(each.line for each in self)

    @cached_property
    def size_bytes(self) -> int:
        """Before compression."""
        return sum(len(each.data) for each in self)

    @cached_property
    def common(self) -> Bundle:
        """Those that other nodes are given too."""
        return Bundle(each for each in self if each.is_common)

    @cached_property
    def own(self) -> Bundle:
        """Those that this node alone is given."""
        return Bundle(each for each in self if not each.is_common)

    @cached_property
    def manifest(self) -> PushFile:
        """Their list, for a node that holds nothing else."""
        return manifest(self.lines, is_common=not self.own)

    @cached_property
    def with_manifest(self) -> Bundle:
        """The same and their list."""
        return Bundle((*self, self.manifest))


class Packer:
    """Packs files for many nodes; what they have in common is compressed once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, tuple[str, ...]], bytes] = {}
        self._turn = anyio.Lock()

    async def stream(self, files: Sequence[PushFile]) -> tuple[bytes, bytes]:
        """One compressed tar in two parts: the common files, then a node's own and the archive's end."""
        bundle = bundled(files)
        if not bundle.own:
            return await self._segment(bundle, END), b""
        return await self._segment(bundle.common), await _off_loop(bundle.own, pack)

    async def _segment(self, files: Bundle, end: bytes = b"") -> bytes:
        key = (end, files.lines)
        found = self._kept.get(key)
        return await self._pack_once(key, files, end) if found is None else found

    async def _pack_once(self, key: tuple[bytes, tuple[str, ...]], files: Bundle, end: bytes) -> bytes:
        async with self._turn:
            if key not in self._kept:
                segment = await _off_loop(files, pack_open) + end
                while len(self._kept) >= KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = segment
            return self._kept[key]


def bundled(files: Sequence[PushFile]) -> Bundle:
    """The files as a bundle, which they may be already."""
    return files if isinstance(files, Bundle) else Bundle(files)


def pack(files: Iterable[PushFile]) -> bytes:
    """A compressed tar of the files; equal files give equal bytes."""
    return _packed(files, is_open=False)


def pack_open(files: Iterable[PushFile]) -> bytes:
    """The same without the archive's end, for another one to follow: both tar and gzip read such parts as one."""
    files = list(files)
    return _packed(files, is_open=True) if files else b""


def manifest(lines: Iterable[str], *, is_common: bool = False) -> PushFile:
    """The list of what a node holds. A name that ``sha256sum`` would write in its own way is not in it."""
    plain = [line for line in lines if not set("\\\n\r") & set(line)]
    return PushFile(MANIFEST, ("\n".join(plain) + "\n").encode(), is_common=is_common)


def safe_target(folder: Path, name: str) -> Path | None:
    """Where below ``folder`` a member of that name belongs; nothing where it would lead out of it."""
    parts = PurePosixPath(name.lstrip("/")).parts
    if not parts or ".." in parts or "\0" in name:
        return None
    return folder.joinpath(*parts)


def unpack(node: str, stream: IO[bytes], folder: Path) -> list[Path]:
    """Write what a node sent below ``folder``; the files written. Raises ``TransferFailed``, and then wrote nothing."""
    if not stream.read(1):
        return []
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            members = [member for member in archive.getmembers() if not member.isdir()]
            targets = [_checked(node, member, folder) for member in members]
            written = [
                _write(archive.extractfile(member), target, member.mode)
                for member, target in zip(members, targets, strict=True)
            ]
            return list(dict.fromkeys(written))
    except (tarfile.TarError, zlib.error, EOFError, KeyError, OSError) as error:
        raise TransferFailed(node, f"what it sent can not be unpacked into {folder}: {error}") from error


async def _off_loop(files: Bundle, work: Callable[[Bundle], bytes]) -> bytes:
    if files.size_bytes < OFF_LOOP_BYTES:
        return work(files)
    return await asyncio.to_thread(work, files)


def _packed(files: Iterable[PushFile], *, is_open: bool) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed:
        archive = tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closing ends it
        for each in files:
            entry = tarfile.TarInfo(each.path)
            entry.size = len(each.data)
            entry.mode = each.mode
            archive.addfile(entry, io.BytesIO(each.data))
        if not is_open:
            archive.close()
    return stream.getvalue()


def _checked(node: str, member: tarfile.TarInfo, folder: Path) -> Path:
    target = safe_target(folder, member.name)
    # A hard link is another name of a file sent before: tar names so whatever it meets twice, by a link or a pattern.
    if target is None or not (member.isreg() or member.islnk()):
        raise TransferFailed(
            node, f"sent {member.name!r}, which is a link, a device or leads elsewhere; nothing was written"
        )
    return target


def _write(source: IO[bytes] | None, target: Path, mode: int) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whatever stands there, a link above all, is replaced and never followed.
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        if source is not None:
            shutil.copyfileobj(source, file)
    target.chmod(stat.S_IMODE(mode) & 0o755 | 0o600)
    return target


END = pack([])
"""What ends an archive that has nothing more in it."""
