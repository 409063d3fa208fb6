"""What a spec's files say, as values that know where they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ogc_async.errors import Problem

Keys = tuple[str | int, ...]
"""The way from the top of a spec to a value: keys, and places in lists from 0."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; ``line`` and ``column`` count from 1. Relative paths written there start at ``folder``."""

    file: str
    line: int
    column: int
    folder: Path

    def problem(self, where: str, message: str) -> Problem:
        """The problem ``message`` of the key ``where``, here."""
        return Problem(where, message, self.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; ``text`` is how it was written, so that the label ``1.10`` is not taken for ``1.1``."""

    value: str | int | float | bool | None
    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: tuple[Tree, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the place of its key."""

    key: Mark
    value: Tree


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order it was written."""

    entries: dict[str, Entry]
    mark: Mark


Tree = Scalar | Items | Table


@dataclass(frozen=True, slots=True)
class Reading:
    """One file's tree (None: nothing could be read) and what is wrong with the file."""

    tree: Table | None = None
    problems: Sequence[Problem] = ()


def plain(tree: Tree) -> object:
    """The tree as dicts and lists; single values stay :class:`Scalar`, for the fields to read, but for null."""
    if isinstance(tree, Table):
        return {key: plain(entry.value) for key, entry in tree.entries.items()}
    if isinstance(tree, Items):
        return [plain(value) for value in tree.values]
    return None if tree.value is None else tree


def mark_of(root: Table, path: Sequence[str | int], *, of_key: bool = False) -> Mark:
    """Where the value at ``path`` was written, or its key; the nearest thing around it where it was not."""
    key = root.mark
    tree: Tree = root
    for part in path:
        if isinstance(tree, Table) and part in tree.entries:
            entry = tree.entries[str(part)]
            key, tree = entry.key, entry.value
        elif isinstance(tree, Items) and isinstance(part, int):
            key, tree = tree.values[part].mark, tree.values[part]
        else:
            break
    # A null has no text of its own to point at.
    has_text = not (isinstance(tree, Scalar) and tree.value is None)
    return tree.mark if has_text and not of_key else key
