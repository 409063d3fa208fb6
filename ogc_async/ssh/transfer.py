"""Files to and from a node, as one compressed stream down one channel."""

from __future__ import annotations

import gzip
import io
import posixpath
import shlex
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import anyio
import asyncssh

from ogc_async.errors import TransferFailed
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution, run

NO_SUCH_COMMAND = 127
PULL_LIMIT = 268_435_456
"""Bytes of one node's artifacts, compressed: they pass through memory."""


@dataclass(frozen=True, slots=True)
class PushFile:
    """A file as it is to be on the node; ``path`` is relative, with forward slashes."""

    path: str
    data: bytes = field(repr=False)
    mode: int = 0o644


async def push(session: Session, files: Sequence[PushFile], remote_path: str, *, timeout_s: float) -> None:
    """Put files below ``remote_path`` (relative to the login folder, or absolute), over what is there.

    One tar stream; SFTP where the node has no tar. Raises ``TransferFailed``.
    """
    stream = await anyio.to_thread.run_sync(pack, files)
    folder = shlex.quote(remote_path)
    done = await run(
        session, f"mkdir -p {folder} && tar -xzf - -C {folder}", stdin=stream, timeout_s=timeout_s, output_limit=4096
    )
    if done.exit_code == NO_SUCH_COMMAND:
        await _push_by_sftp(session, files, remote_path, timeout_s)
    elif done.exit_code != 0:
        raise TransferFailed(session.node, f"pushing {len(files)} files to {remote_path}: {_why(done)}")


async def pull(session: Session, patterns: Sequence[str], folder: Path, *, timeout_s: float) -> list[Path]:
    """Fetch what the patterns match (files, folders, ``*`` and ``?``) into ``folder``; the files written.

    A pattern that matches nothing fetches nothing; a link is fetched as what it points to. Raises ``TransferFailed``,
    also where the node sends a symbolic link, a device, or a name that leads out of ``folder``: then nothing is
    written.
    """
    globs = " ".join(map(quote_glob, patterns))
    command = (
        f'set --; for each in {globs}; do [ -e "$each" ] && set -- "$@" "$each"; done; '
        '[ "$#" -eq 0 ] || tar -czhf - -- "$@" || '
        # GNU tar's 1: a file changed while it was read, as a log in use does.
        '{ [ "$?" -eq 1 ] && tar --version 2>&1 | grep -q "GNU tar"; }'
    )
    done = await run(session, command, timeout_s=timeout_s, output_limit=PULL_LIMIT, is_split=True)
    if done.exit_code != 0:
        raise TransferFailed(session.node, f"fetching {', '.join(patterns)}: {_why(done)}")
    if done.output_bytes > PULL_LIMIT:
        raise TransferFailed(
            session.node, f"fetching {', '.join(patterns)}: more than {PULL_LIMIT} bytes; fetch less at once"
        )
    return await anyio.to_thread.run_sync(_unpack, session.node, done.output, folder)


def pack(files: Iterable[PushFile]) -> bytes:
    """A compressed tar of the files; equal files give equal bytes."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for each in files:
            entry = tarfile.TarInfo(each.path)
            entry.size = len(each.data)
            entry.mode = each.mode
            archive.addfile(entry, io.BytesIO(each.data))
    return stream.getvalue()


def quote_glob(pattern: str) -> str:
    """Quote all that a shell would read anything into, but the wildcards ``*`` and ``?``."""
    return "".join(char if char in "*?" else shlex.quote(char) for char in pattern)


def safe_target(folder: Path, name: str) -> Path | None:
    """Where below ``folder`` a member of that name belongs; nothing where it would lead out of it."""
    parts = PurePosixPath(name.lstrip("/")).parts
    if not parts or ".." in parts or "\0" in name:
        return None
    return folder.joinpath(*parts)


def _unpack(node: str, stream: bytes, folder: Path) -> list[Path]:
    if not stream:
        return []
    try:
        with tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz") as archive:
            members = [member for member in archive.getmembers() if not member.isdir()]
            targets = [_checked(node, member, folder) for member in members]
            written = [
                _write(archive.extractfile(member), target, member.mode)
                for member, target in zip(members, targets, strict=True)
            ]
            return list(dict.fromkeys(written))
    except (tarfile.TarError, zlib.error, EOFError, KeyError, OSError) as error:
        raise TransferFailed(node, f"what it sent can not be unpacked into {folder}: {error}") from error


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


async def _push_by_sftp(session: Session, files: Sequence[PushFile], remote_path: str, timeout_s: float) -> None:
    try:
        with anyio.fail_after(timeout_s):
            async with session.connection.start_sftp_client() as sftp:
                for each in files:
                    path = posixpath.join(remote_path, each.path)
                    await sftp.makedirs(posixpath.dirname(path), exist_ok=True)
                    async with sftp.open(path, "wb") as file:
                        await file.write(each.data)
                    await sftp.chmod(path, each.mode)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise TransferFailed(session.node, f"pushing {len(files)} files to {remote_path} by SFTP: {error}") from error


def _why(done: Execution) -> str:
    if done.ended is Ended.TIMED_OUT:
        return f"took longer than {done.seconds:.0f} s"
    if done.ended is Ended.INTERRUPTED:
        return "the session broke"
    if done.ended is Ended.KILLED:
        return f"killed by {done.signal}"
    said = (done.errors or done.output).decode("utf-8", "replace").strip()
    return f"exit code {done.exit_code}{f': {said}' if said else ''}"
