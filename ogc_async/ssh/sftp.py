"""Files one by one over SFTP, for nodes that have no tar; a round trip and more for each of them."""

from __future__ import annotations

import io
import posixpath
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import anyio
import asyncssh

from ogc_async.errors import TransferFailed
from ogc_async.ssh.archive import PushFile, pack, unpack
from ogc_async.ssh.connection import Session

DEEPEST = 64
"""Folders within folders: a link may lead into a folder that it is in."""


async def push_by_sftp(session: Session, files: Sequence[PushFile], remote_path: str, timeout_s: float) -> None:
    """Put files below ``remote_path``, over what is there. Raises ``TransferFailed``."""
    try:
        with anyio.fail_after(timeout_s):
            async with session.connection.start_sftp_client() as sftp:
                for each in files:
                    path = posixpath.join(remote_path, each.path)
                    await sftp.makedirs(posixpath.dirname(path), exist_ok=True)
                    async with sftp.open(path, "wb") as file:
                        await file.write(each.data)
                    if not session.is_windows:
                        await sftp.chmod(path, each.mode)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise TransferFailed(session.node, f"pushing {len(files)} files to {remote_path} by SFTP: {error}") from error


async def pull_by_sftp(
    session: Session, patterns: Sequence[str], folder: Path, *, timeout_s: float, limit: int
) -> list[Path]:
    """Fetch what the patterns match into ``folder``, under the same rules as an archive from the node.

    Raises ``TransferFailed``, also where it is more than ``limit`` bytes.
    """
    found: dict[str, PushFile] = {}
    left = limit
    try:
        with anyio.fail_after(timeout_s):
            async with session.connection.start_sftp_client() as sftp:
                async for path in _matches(sftp, patterns):
                    async with sftp.open(path, "rb") as file:
                        data = cast("bytes", await file.read(left + 1))
                    left -= len(data)
                    if left < 0:
                        message = f"fetching {', '.join(patterns)}: more than {limit} bytes; fetch less at once"
                        raise TransferFailed(session.node, message)
                    found[path] = PushFile(path, data)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise TransferFailed(session.node, f"fetching {', '.join(patterns)} by SFTP: {error}") from error
    # One place alone decides what may be written where, and it reads archives.
    stream = await anyio.to_thread.run_sync(pack, list(found.values()))
    return await anyio.to_thread.run_sync(unpack, session.node, io.BytesIO(stream), folder)


async def _matches(sftp: asyncssh.SFTPClient, patterns: Sequence[str]) -> AsyncIterator[str]:
    for pattern in patterns:
        try:
            paths = await sftp.glob(pattern)
        except asyncssh.SFTPNoSuchFile:
            continue
        for path in paths:
            async for file in _files(sftp, str(path), DEEPEST):
                yield file


async def _files(sftp: asyncssh.SFTPClient, path: str, depth: int) -> AsyncIterator[str]:
    """The file, or those in the folder and below."""
    if not await sftp.isdir(path):
        yield path
        return
    names = sorted(str(name) for name in await sftp.listdir(path) if name not in (".", ".."))
    for name in names if depth else ():
        async for file in _files(sftp, posixpath.join(path, name), depth - 1):
            yield file
