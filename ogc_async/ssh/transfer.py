"""Files to and from a node, as one compressed stream down one channel."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

import anyio

from ogc_async.errors import TransferFailed
from ogc_async.ssh.archive import MANIFEST, Bundle, Packer, PushFile, bundled, manifest, unpack
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution, run
from ogc_async.ssh.sftp import pull_by_sftp, push_by_sftp
from ogc_async.ssh.staged import Waiting, run_first

NO_SUCH_COMMAND = 127
PULL_LIMIT = 268_435_456
"""Bytes of one node's artifacts, compressed."""

SPOOL_BYTES = 1_048_576
"""Larger archives wait in a temporary file: many nodes send theirs at once."""

SAID_LIMIT = 4096
"""Bytes kept of what a transfer's command says."""

_MANIFEST_LINE = re.compile(r"[0-7]+ [0-9a-f]{64}  (.+)")
_CHECKED = re.compile(r"(.+): OK")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push sent, what the command that followed it printed, and the one that waits on the node since then."""

    files: Bundle
    said: str = ""
    waiting: Waiting | None = None


async def push(
    session: Session,
    files: Sequence[PushFile],
    remote_path: str,
    *,
    timeout_s: float,
    packer: Packer | None = None,
    then: str = "",
    ahead: str = "",
) -> Pushed:
    """Put files below ``remote_path`` (relative to the login folder, or absolute), over what is there.

    One tar stream; SFTP where the node has no tar. ``then`` is a shell command to run afterwards, down the same
    channel, and ``ahead`` one that waits there after it. Where that one does not, there is none in ``waiting``. Raises
    ``TransferFailed``.
    """
    files = bundled(files)
    if session.is_windows:
        await push_by_sftp(session, files, remote_path, timeout_s)
        return Pushed(files)
    stream = await (packer or Packer()).stream(files)
    folder = shlex.quote(remote_path)
    # With a command ahead the input goes on after the archive, and gzip looks for more of it there.
    source = f"head -c {sum(map(len, stream))} | " if ahead else ""
    command = f"mkdir -p {folder} && {source}tar -xzf - -C {folder}{f' && {{ {then}; }}' if then else ''}"
    done = await _do(session, command, ahead, stdin=stream, timeout_s=timeout_s)
    if isinstance(done, Waiting):
        return Pushed(files, _text(done.said), done)
    if done.exit_code == NO_SUCH_COMMAND:
        await push_by_sftp(session, files, remote_path, timeout_s)
        return replace(await _look(session, then, ahead, timeout_s), files=files)
    if done.exit_code != 0:
        raise TransferFailed(session.node, f"pushing {len(files)} files to {remote_path}: {_why(done, timeout_s)}")
    return Pushed(files, _text(done.output))


async def push_changed(
    session: Session,
    files: Sequence[PushFile],
    remote_path: str,
    *,
    timeout_s: float,
    packer: Packer | None = None,
    then: str = "",
    ahead: str = "",
    is_first: bool = False,
) -> Pushed:
    """Put there what the node does not hold: by name and content, as they are there now, and by the mode pushed.

    ``is_first`` says that there was none, and saves the question. Otherwise as :func:`push`.
    """
    files = bundled(files)
    held = frozenset() if is_first else await _held(session, files, remote_path, timeout_s)
    changed = Bundle(each for each in files if each.line not in held) if held else files
    if not changed:
        return await _look(session, then, ahead, timeout_s)
    sent = changed if session.is_windows else _with_manifest(changed, files, held)
    pushed = await push(session, sent, remote_path, timeout_s=timeout_s, packer=packer, then=then, ahead=ahead)
    return replace(pushed, files=changed)


async def pull(session: Session, patterns: Sequence[str], folder: Path, *, timeout_s: float) -> list[Path]:
    """Fetch what the patterns match (files, folders, ``*`` and ``?``) into ``folder``; the files written.

    A pattern that matches nothing fetches nothing; a link is fetched as what it points to. Raises ``TransferFailed``,
    also where the node sends a symbolic link, a device, or a name that leads out of ``folder``: then nothing is
    written.
    """
    if session.is_windows:
        return await pull_by_sftp(session, patterns, folder, timeout_s=timeout_s, limit=PULL_LIMIT)
    globs = " ".join(map(quote_glob, patterns))
    command = (
        f'set --; for each in {globs}; do [ -e "$each" ] && set -- "$@" "$each"; done; '
        '[ "$#" -eq 0 ] || tar -czhf - -- "$@" || '
        # GNU tar's 1: a file changed while it was read, as a log in use does.
        '{ [ "$?" -eq 1 ] && tar --version 2>&1 | grep -q "GNU tar"; }'
    )
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as sink:
        done = await run(
            session, command, timeout_s=timeout_s, output_limit=PULL_LIMIT, is_split=True, sink=cast("IO[bytes]", sink)
        )
        if done.exit_code == NO_SUCH_COMMAND:
            return await pull_by_sftp(session, patterns, folder, timeout_s=timeout_s, limit=PULL_LIMIT)
        if done.exit_code != 0:
            raise TransferFailed(session.node, f"fetching {', '.join(patterns)}: {_why(done, timeout_s)}")
        if done.output_bytes > PULL_LIMIT:
            raise TransferFailed(
                session.node, f"fetching {', '.join(patterns)}: more than {PULL_LIMIT} bytes; fetch less at once"
            )
        sink.seek(0)
        return await anyio.to_thread.run_sync(unpack, session.node, cast("IO[bytes]", sink), folder)


def quote_glob(pattern: str) -> str:
    """Quote all that a shell would read anything into, but the wildcards ``*`` and ``?``."""
    return "".join(char if char in "*?" else shlex.quote(char) for char in pattern)


def path_of(line: str) -> str | None:
    """The name in a line of the manifest."""
    match = _MANIFEST_LINE.fullmatch(line)
    return match[1] if match else None


def still_held(said: str) -> frozenset[str]:
    """The manifest's lines whose files are still as they say, from a node's answer to :func:`_held`'s question."""
    lines = said.splitlines()
    good = {match[1] for line in lines if (match := _CHECKED.fullmatch(line))}
    return frozenset(line for line in lines if path_of(line) in good)


def _with_manifest(changed: Bundle, files: Bundle, held: frozenset[str]) -> Bundle:
    """What is sent, with the list of what the node holds from then on: also of earlier pushes, if still as it was."""
    if not held:
        return files.with_manifest
    given = {each.path for each in files}
    others = [line for line in sorted(held) if path_of(line) not in given]
    return Bundle((*changed, manifest([*files.lines, *others]) if others else files.manifest))


async def _held(session: Session, files: Bundle, remote_path: str, timeout_s: float) -> frozenset[str]:
    """What the node holds of the last push; nothing where it can not tell."""
    if session.is_windows:
        return frozenset()
    command = (
        f"cd {shlex.quote(remote_path)} 2>/dev/null && cat {MANIFEST} 2>/dev/null && "
        f'cut -d" " -f2- {MANIFEST} | LC_ALL=C sha256sum -c 2>/dev/null'
    )
    # The manifest, and every name in it once more, of this push or the one before it.
    limit = 65_536 + 4 * sum(len(each.encode()) for each in files.lines)
    done = await run(session, command, timeout_s=timeout_s, output_limit=limit)
    return still_held(_text(done.output))


async def _look(session: Session, then: str, ahead: str, timeout_s: float) -> Pushed:
    """What comes after a push, where there is nothing to push."""
    if not then:
        return Pushed(Bundle())
    done = await _do(session, then, ahead, stdin=(), timeout_s=timeout_s)
    waiting = done if isinstance(done, Waiting) else None
    return Pushed(Bundle(), _text(done.output if isinstance(done, Execution) else done.said), waiting)


async def _do(
    session: Session, command: str, ahead: str, *, stdin: Sequence[bytes], timeout_s: float
) -> Execution | Waiting:
    if ahead:
        return await run_first(session, command, ahead, stdin=stdin, timeout_s=timeout_s, output_limit=SAID_LIMIT)
    return await run(session, command, stdin=stdin, timeout_s=timeout_s, output_limit=SAID_LIMIT)


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def _why(done: Execution, timeout_s: float) -> str:
    if done.ended is Ended.TIMED_OUT:
        return f"took longer than {timeout_s:g} s"
    if done.ended is Ended.INTERRUPTED:
        return "the session broke"
    if done.ended is Ended.KILLED:
        return f"killed by {done.signal}"
    said = _text(done.errors or done.output).strip()
    return f"exit code {done.exit_code}{f': {said}' if said else ''}"
