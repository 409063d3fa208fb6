"""A layout's script folder, read once for a whole fleet: which files there are, and which of them are steps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

from ogc_async.errors import ScriptsError
from ogc_async.ssh.archive import PushFile

TEMPLATE = ".mako"
HELPER = "functions"
"""Templates of this name hold what other templates share; they are no steps."""

RUNNABLE = 0o755

MAX_FOLDER_BYTES = 268_435_456
"""A folder passes through memory, once for a fleet; what is larger belongs in an image or a bucket."""


@dataclass(frozen=True)
class ScriptFile:
    """A file to push. ``path`` is relative, with forward slashes; ``is_template`` means rendered for each node."""

    path: str
    data: bytes = field(repr=False)
    mode: int

    @cached_property
    def is_template(self) -> bool:
        """Rendered for each node before it is pushed, under its name without ``.mako``."""
        return self.path.endswith(TEMPLATE) and not self.is_shared

    @cached_property
    def is_shared(self) -> bool:
        """Included by templates; what it holds shows in what they render to."""
        return is_shared(self.path)

    @cached_property
    def target(self) -> str:
        """Its path on the node."""
        return self.path.removesuffix(TEMPLATE) if self.is_template else self.path


@dataclass(frozen=True)
class ScriptFolder:
    """What is pushed (``files``), what of it is run, in order (``steps``), and what is for the end (``teardown``)."""

    folder: Path
    files: tuple[ScriptFile, ...]
    steps: tuple[ScriptFile, ...]
    teardown: ScriptFile | None
    sha256: str

    @cached_property
    def runs(self) -> frozenset[str]:
        """The paths of what is run, sooner or later."""
        return frozenset(each.path for each in (*self.steps, self.teardown) if each is not None)

    @cached_property
    def common(self) -> dict[str, PushFile]:
        """The files that every node is given as they are, by path."""
        return {
            each.path: PushFile(each.target, each.data, self.mode_of(each), is_common=True)
            for each in self.files
            if not each.is_template
        }

    @cached_property
    def has_templates(self) -> bool:
        """Not every node is given the same."""
        return any(each.is_template for each in self.files)

    def mode_of(self, script: ScriptFile) -> int:
        """What runs may be executed, and nothing may be written by others."""
        return RUNNABLE if script.path in self.runs else script.mode & 0o755


def read_scripts(folder: Path, *, base: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> ScriptFolder:
    """Read a script folder, and what ``include`` matches below ``base``, but for what ``exclude`` matches.

    Steps are the files at the folder's top, in natural order; files in folders below it, included files, hidden files
    and shared templates (``functions.mako``, ``_….mako``) are pushed and not run. ``folder`` may be one script, which
    is then the only step. Raises ``ScriptsError``.
    """
    single, folder = (folder, folder.parent) if folder.is_file() else (None, folder)
    if not folder.is_dir():
        raise ScriptsError(f"script folder {folder}: {'is not a folder' if folder.exists() else 'does not exist'}")
    paths = [path for path in _walk(folder) if not _is_excluded(path, (folder, base), exclude)]
    own = list(_read([single] if single else paths, folder))
    steps = [each for each in own if is_step(each.path)]
    if not steps:
        raise ScriptsError(f"script folder {folder}: holds no script to run at its top level")
    _check_targets(folder, own, steps)
    taken = {each.target for each in own}
    more = {each.target: each for each in _included(base, include, exclude) if each.target not in taken}
    files = (*own, *more.values())
    size = sum(len(each.data) for each in files)
    if size > MAX_FOLDER_BYTES:
        raise ScriptsError(
            f"script folder {folder}: {size} bytes with all that is included; at most {MAX_FOLDER_BYTES}"
        )
    return ScriptFolder(
        folder=folder,
        files=files,
        steps=tuple(each for each in steps if not is_teardown(each.path)),
        teardown=next((each for each in steps if is_teardown(each.path)), None),
        sha256=_digest(files),
    )


def natural_key(path: str) -> list[tuple[int, int, str]]:
    """Sorts ``2-x`` before ``10-y``: runs of digits by their value, all else by its letters."""
    return [(0, int(run), run) if run.isdecimal() else (1, 0, run) for run in re.findall(r"\d+|\D+", path)]


def is_teardown(path: str) -> bool:
    """A file called ``teardown``, with any ending, runs when the node is removed."""
    return PurePosixPath(path).name.split(".")[0] == "teardown"


def is_shared(path: str) -> bool:
    """A template that others include (``functions.mako``, ``_….mako``): it travels as it is."""
    name = PurePosixPath(path).name
    return name.endswith(TEMPLATE) and (name.startswith("_") or name.split(".")[0] == HELPER)


def is_step(path: str) -> bool:
    """A file at the top of the folder that is neither hidden, nor an editor's backup, nor a shared template."""
    return "/" not in path and not path.startswith(".") and not path.endswith("~") and not is_shared(path)


def _walk(folder: Path) -> Iterator[Path]:
    try:
        found = [path for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        raise ScriptsError(f"script folder {folder}: can not be read: {error.strerror}") from error
    yield from sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def _check_targets(folder: Path, own: Sequence[ScriptFile], steps: Sequence[ScriptFile]) -> None:
    """Two files that would be one on the node, or two scripts for the one end: either would be lost in silence."""
    by_target: dict[str, ScriptFile] = {}
    for each in own:
        other = by_target.setdefault(each.target, each)
        if other is not each:
            raise ScriptsError(f"script folder {folder}: {other.path} and {each.path} are both {each.target} on a node")
    ends = [each.path for each in steps if is_teardown(each.path)]
    if len(ends) > 1:
        raise ScriptsError(f"script folder {folder}: {' and '.join(ends)} are both for a node's end; keep one")


def _included(base: Path, include: Iterable[str], exclude: Sequence[str]) -> Iterator[ScriptFile]:
    for pattern in include:
        try:
            matches = sorted(base.glob(pattern))
        except (ValueError, NotImplementedError) as error:  # an absolute or empty pattern
            raise ScriptsError(f"include {pattern!r}: {error}; write a pattern below {base}") from None
        if not matches:
            raise ScriptsError(f"include {pattern!r}: matches nothing below {base}")
        for match in matches:
            paths = _walk(match) if match.is_dir() else [match]
            yield from _read((path for path in paths if not _is_excluded(path, (base,), exclude)), base)


def _is_excluded(path: Path, starts: Iterable[Path], exclude: Sequence[str]) -> bool:
    """A pattern matches a file, or a folder that it is in, by its name or by its path from one of the starts."""
    if not exclude:
        return False
    names: set[str] = set()
    for start in starts:
        if path.is_relative_to(start):
            parts = path.relative_to(start).parts
            names |= {*parts, *("/".join(parts[: count + 1]) for count in range(len(parts)))}
    return any(fnmatchcase(each, pattern.rstrip("/")) for pattern in exclude for each in names)


def _read(paths: Iterable[Path], base: Path) -> Iterator[ScriptFile]:
    real_base = base.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(real_base):
            raise ScriptsError(f"{path}: leads out of {base}; put the file itself there")
        try:
            yield ScriptFile(path.relative_to(base).as_posix(), path.read_bytes(), path.stat().st_mode & 0o777)
        except OSError as error:
            raise ScriptsError(f"{path}: can not be read: {error.strerror}") from error


def _digest(files: Iterable[ScriptFile]) -> str:
    whole = hashlib.sha256()
    for each in files:
        whole.update(f"{each.path}\0{each.mode:o}\0{len(each.data)}\0".encode())
        whole.update(each.data)
    return whole.hexdigest()
