"""Files of this machine that are to go to nodes as they are: read once for a whole fleet."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from ogc_async.deploy.scripts import MAX_FOLDER_BYTES
from ogc_async.errors import ScriptsError
from ogc_async.ssh.archive import PushFile

MODES = 0o755
"""Nothing may be written by others, nor run as somebody else."""


def read_files(patterns: Iterable[str | Path]) -> tuple[PushFile, ...]:
    """The files that the patterns match: a file under its name, a folder's under the folder's name.

    Raises ``ScriptsError`` where a pattern matches nothing, two files would be one on the node, or all of them are
    more than passes through memory.
    """
    found: dict[str, PushFile] = {}
    places: dict[str, Path] = {}
    for pattern in patterns:
        for name, path in _matches(str(pattern)):
            if places.setdefault(name, path) != path:
                raise ScriptsError(
                    f"{places[name]} and {path} are both {name} on a node; push them one after the other"
                )
            found[name] = _read(name, path)
    size = sum(len(each.data) for each in found.values())
    if size > MAX_FOLDER_BYTES:
        raise ScriptsError(f"{len(found)} files: {size} bytes in all; at most {MAX_FOLDER_BYTES}")
    return tuple(found.values())


def _matches(pattern: str) -> Iterator[tuple[str, Path]]:
    """Names on the node, and what is to stand there. A pattern may be the plain name of a file that looks like one."""
    start = Path(pattern).expanduser()
    paths = [start] if start.exists() else sorted(map(Path, glob.glob(str(start), recursive=True)))  # noqa: PTH207  # absolute ones too
    if not paths:
        raise ScriptsError(f"{pattern}: matches no file here")
    for path in paths:
        if path.is_dir():
            top = path.resolve()
            inside = sorted(each for each in top.rglob("*") if each.is_file())
            yield from ((each.relative_to(top.parent).as_posix(), each) for each in inside)
        else:
            yield path.name, path.resolve()


def _read(name: str, path: Path) -> PushFile:
    try:
        return PushFile(name, path.read_bytes(), path.stat().st_mode & MODES, is_common=True)
    except OSError as error:
        raise ScriptsError(f"{path}: can not be read: {error.strerror}") from error
