"""One YAML file as a tree with positions. Nothing in it is executed, and how far it may expand is bounded."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from ogc_async.errors import Problem
from ogc_async.spec.tree import Entry, Items, Keys, Mark, Reading, Scalar, Table, Tree
from ogc_async.spec.wording import dotted, shown

MAX_BYTES = 512 * 1024
"""The parser reads some 90 kB a second: a larger file is a mistake, or meant to keep us busy."""
MAX_VALUES = 100_000
"""Values of a file once its aliases are followed; a few lines of nested aliases can make billions."""
MAX_DEPTH = 32

_ESCAPE = re.compile(r"\\U([0-9a-fA-F]{8})")
_TAG = "tag:yaml.org,2002:"
_EMPTY = "is empty; a spec needs a name, ssh-keys and layouts"
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}


def read_file(path: Path) -> Reading:
    """Read and parse ``path``. What is wrong with it is in the answer; nothing is raised."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        folder = path.parent.resolve()
    except (OSError, ValueError) as error:
        return _failed(path, _unreadable(error))
    if len(content) > MAX_BYTES:
        return _failed(path, f"is larger than {MAX_BYTES // 1024} KiB, which no spec needs to be")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(content[: error.start].decode("utf-8", "replace"))
        message = f"is not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8"
        return _failed(path, message, line, column)
    return _parse(text, path, folder)


def _parse(text: str, path: Path, folder: Path) -> Reading:
    try:
        root = _composed(text)
    except YAMLError as error:
        message, line, column = _explained(error, text)
        return _failed(path, message, line, column)
    except (ValueError, OverflowError) as error:
        # What the scanner lets through where an escape names no character.
        escape = next((each for each in _ESCAPE.finditer(text) if int(each[1], 16) > sys.maxunicode), None)
        if escape is None:
            return _failed(path, f"is not valid YAML: {error}")
        line, column = _place(text[: escape.start()])
        return _failed(path, f"is not valid YAML: there is no character {escape[0]}", line, column)
    if root is None or (isinstance(root, ScalarNode) and root.tag == f"{_TAG}null"):
        return _failed(path, _EMPTY)
    builder = _Builder(str(path), folder)
    try:
        return builder.build(root)
    except _TooLarge:
        return _failed(path, f"has more than {MAX_VALUES:,} values once its aliases are followed")


def _composed(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = MAX_DEPTH
    # An anchor may be set anew: YAML allows it, and the alias means the latest.
    yaml.composer.warn_double_anchors = False
    return yaml.compose(text)


class _TooLarge(Exception):
    """Aliases expand beyond ``MAX_VALUES``."""


class _Builder:
    """Turns the parser's nodes into a tree: follows aliases and merge keys, notes what a tree can not hold."""

    def __init__(self, file: str, folder: Path) -> None:
        self._file = file
        self._folder = folder
        self._problems: dict[tuple[int, int, str], Problem] = {}
        self._values = 0
        self._open: list[Any] = []

    def build(self, root: Any) -> Reading:
        """The tree of the document's root."""
        if not isinstance(root, MappingNode):
            kind = "a list" if isinstance(root, SequenceNode) else shown(root.value)
            self._complain(self._mark(root), (), f"must be keys and values (name, ssh-keys, layouts), not {kind}")
            return Reading(None, tuple(self._problems.values()))
        tree = self._table(root, ())
        return Reading(tree, tuple(self._problems.values()))

    def _tree(self, node: Any, path: Keys) -> Tree:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _TooLarge
        if any(node is each for each in self._open):
            self._complain(self._mark(node), path, "contains itself through an alias")
            return Scalar(None, "", self._mark(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            return self._items(node, path) if isinstance(node, SequenceNode) else self._table(node, path)
        finally:
            self._open.pop()

    def _items(self, node: Any, path: Keys) -> Items:
        values = tuple(self._tree(child, (*path, index)) for index, child in enumerate(node.value))
        return Items(values, self._mark(node))

    def _table(self, node: Any, path: Keys) -> Table:
        inherited: dict[str, Entry] = {}
        own: dict[str, Entry] = {}
        for key, value in node.value:
            mark = self._mark(key)
            if not isinstance(key, ScalarNode):
                self._complain(mark, path, "a key must be plain text, not a list or a mapping")
            elif key.tag == f"{_TAG}merge":
                inherited = {**self._merged(value, path), **inherited}
            elif key.value in own:
                first = own[key.value].key.line
                self._complain(mark, (*path, key.value), f"is written twice; the first is on line {first}")
            else:
                own[key.value] = Entry(mark, self._tree(value, (*path, key.value)))
        return Table({**inherited, **own}, self._mark(node))

    def _merged(self, node: Any, path: Keys) -> dict[str, Entry]:
        """What ``<<: *base`` or ``<<: [*one, *two]`` brings in; of several the first wins."""
        found: dict[str, Entry] = {}
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            tree = self._tree(each, path)
            if isinstance(tree, Table):
                found = {**tree.entries, **found}
            else:
                self._complain(self._mark(each), path, "`<<` takes an alias of a mapping, or a list of them")
        return found

    def _scalar(self, node: Any, path: Keys) -> Scalar:
        mark, text, kind = self._mark(node), node.value, str(node.tag).removeprefix(_TAG)
        try:
            return Scalar(_typed(text, kind), text, mark)
        except KeyError:
            self._complain(mark, path, f"the tag {node.tag} is not known here; write a plain value")
        except ValueError:
            self._complain(mark, path, f"{shown(text)} is not a value of the YAML type {kind}")
        return Scalar(text, text, mark)

    def _mark(self, node: Any) -> Mark:
        return Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1, self._folder)

    def _complain(self, mark: Mark, path: Keys, message: str) -> None:
        # An alias visits its anchor once more for each use; a mistake there is told once.
        self._problems.setdefault((mark.line, mark.column, message), mark.problem(dotted(path), message))


def _typed(text: str, kind: str) -> str | int | float | bool | None:
    """The value that YAML 1.2 gives the text; dates and times stay text. ``KeyError``: not a type of a spec."""
    if kind in ("str", "timestamp", "value", "merge"):
        return text
    if kind == "null":
        return None
    if kind == "bool":
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE
    if kind == "int":
        return _whole(text.replace("_", ""))
    if kind == "float":
        return _decimal(text.replace("_", "").lower())
    raise KeyError(kind)


def _whole(text: str) -> int:
    digits = text.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
    return int(text, base)


def _decimal(text: str) -> float:
    named = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return named[text] if text in named else float(text)


def _explained(error: YAMLError, text: str) -> tuple[str, int, int]:
    """What the parser found, in a sentence, and where."""
    if isinstance(error, ReaderError):
        line, column = _place(text[: error.position])
        return f"has the control character U+{ord(text[error.position]):04X}; remove it", line, column
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return f"is not valid YAML: {' '.join(str(error).split())}", 0, 0
    line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    if isinstance(error, MaxDepthExceededError):
        return f"is nested more than {MAX_DEPTH} levels deep", line, column
    problem = str(error.problem)
    if "another document" in problem:
        return "begins a second document; a spec is one document a file", line, column
    if "cannot start any token" in problem and "\\t" in problem:
        return "is not valid YAML: a tab can not indent; use spaces", line, column
    context = f"{error.context}: " if error.context and "token" not in error.context else ""
    return f"is not valid YAML: {context}{problem}", line, column


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the YAML file in it"
    if isinstance(error, PermissionError):
        return "can not be read: permission denied"
    return f"can not be read: {error.strerror or error if isinstance(error, OSError) else error}"


def _failed(path: Path, message: str, line: int = 0, column: int = 0) -> Reading:
    return Reading(None, (Problem("", message, str(path), line, column),))


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of the character that follows ``before``."""
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1
