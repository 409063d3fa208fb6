"""A fleet's file from somebody else: read within bounds, and checked as a whole before any of it is used.

The layouts in it go through the spec's own models and each field of a row through its rule (``plan.rows``). What only a
foreign file can get wrong is here: its size and shape, its paths, and what two rows say that only one can.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from ogc_async.cli.handover import HERE, PATHS, HandedNode, Handover, each_path
from ogc_async.errors import HandoverError, Problem, SettingsError
from ogc_async.spec import Layout
from ogc_async.spec.carried import ON_RECORD
from ogc_async.spec.fields import Unfit, text
from ogc_async.spec.problems import problems_of
from ogc_async.spec.tree import Keys
from ogc_async.spec.wording import dotted, shown

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 64 * 1024 * 1024
"""20,000 nodes with long layouts; a fleet's row takes 2 to 3 kB."""

MAX_DEPTH = 16
MAX_KEYS = 1000
"""Far beyond every layout: each key and item that is wrong costs a problem of its own, before any can be told."""

MAX_PROBLEMS = 100
"""Problems after which the rest of the nodes are not looked at."""

TEXTS = ("include", "exclude", "artifacts")


def read_file(file: Path) -> bytes:
    """The file's bytes, or stdin's for ``-``. Raises ``HandoverError`` for what is no file or too large to be one."""
    source = name_of(file)
    if source == "stdin":
        return _bounded(sys.stdin.buffer.read(MAX_BYTES + 1), source)
    try:
        # A pipe without a writer would otherwise be waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                _refuse(source, "", "is a folder, a pipe or a device; name a file, or write - for stdin")
            return _bounded(opened.read(MAX_BYTES + 1), source)
    except IsADirectoryError:
        _refuse(source, "", "is a folder, a pipe or a device; name a file, or write - for stdin")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{source}: can not be read: {reason}") from None


def name_of(file: Path) -> str:
    """What messages call the file."""
    return "stdin" if str(file) == "-" else str(file)


def take_in(data: bytes, source: str, folder: Path, key: Path | None) -> Handover:
    """What the file holds; paths that were written from its folder start in this one, and ``key`` opens the nodes.

    Raises ``HandoverError`` with everything that is wrong, but for what comes after the first hundred problems.
    """
    tree = _parsed(data, source)
    problems = list(islice(_misshapen(tree), MAX_PROBLEMS))
    reading = _Reading(folder, key)
    if not problems:
        problems = list(islice(reading.problems(tree), MAX_PROBLEMS))
    if problems:
        raise HandoverError([Problem(each.where, each.message, source) for each in problems])
    return Handover.model_validate({**tree, "nodes": ()}).model_copy(update={"nodes": tuple(reading.nodes)})


def _refuse(source: str, where: str, message: str) -> NoReturn:
    raise HandoverError([Problem(where, message, source)])


def _bounded(data: bytes, source: str) -> bytes:
    if len(data) > MAX_BYTES:
        _refuse(source, "", f"is larger than {MAX_BYTES} bytes, which no fleet is")
    return data


def _parsed(data: bytes, source: str) -> dict[str, Any]:
    try:
        tree = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        _refuse(source, "", f"is not what export-env writes: byte {error.start} is not UTF-8")
    except RecursionError:
        _refuse(source, "", "is not what export-env writes: it is nested too deeply")
    except ValueError as error:
        _refuse(source, "", f"is not what export-env writes: {error}")
    if not isinstance(tree, dict):
        _refuse(source, "", f"is not what export-env writes: it must be keys and values, not {shown(tree)}")
    return tree


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _misshapen(tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Places that are too deep, or hold more keys or items than are ever meant."""
    waiting: list[tuple[Keys, object]] = [((), tree)]
    while waiting:
        path, value = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if len(path) > MAX_DEPTH:
            yield Problem(dotted(path), "is nested too deeply")
        elif len(value) > MAX_KEYS and path != ("nodes",):
            yield Problem(dotted(path) or "the file", f"holds {len(value)} values; {MAX_KEYS} at most")
        else:
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*path, part), each) for part, each in inner]


@dataclass(slots=True)
class _Reading:
    """One file on its way in; ``nodes`` are those that are as they must be."""

    folder: Path
    key: Path | None
    nodes: list[HandedNode] = field(default_factory=list)
    _layouts: dict[str, tuple[Mapping[str, Any], Layout]] = field(default_factory=dict)
    """The last one of each name, which the next node's nearly always is again."""

    def problems(self, tree: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong, in the order of the file."""
        nodes = tree.get("nodes")
        # The nodes have their turn one by one.
        head = {**tree, "nodes": []} if isinstance(nodes, list) else tree
        yield from _made(Handover, head, ())[1]
        if not isinstance(nodes, list):
            return
        for place, given in enumerate(nodes):
            yield from self._of_node(given, ("nodes", place))
        yield from _of_repeats(nodes, "name", "another node's name as well")
        yield from _of_repeats(nodes, "instance_id", "another node's machine as well")

    def _of_node(self, given: Any, within: Keys) -> Iterator[Problem]:
        if not isinstance(given, dict) or not isinstance(given.get("spec"), dict):
            yield from _made(HandedNode, given, within)[1]
            return
        written = self._with_key(given["spec"])
        spec = each_path(written, lambda path: str(self.folder / path) if _is_below(path) else path)
        node, problems = _made(HandedNode, {**given, "spec": self._known(spec) or spec}, within)
        yield from problems
        yield from _of_paths(written, (*within, "spec"))
        yield from _of_twins(given, within)
        if node is not None:
            self._layouts[node.spec.name] = (spec, node.spec)
            self.nodes.append(node)

    def _with_key(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """The layout with the key that its new keeper names, if any."""
        if self.key is None:
            return spec
        return {**spec, "ssh-keys": {"private": str(self.key.absolute()), "public": f"{self.key.absolute()}.pub"}}

    def _known(self, spec: Mapping[str, Any]) -> Layout | None:
        name = spec.get("name")
        before = self._layouts.get(name) if isinstance(name, str) else None
        return before[1] if before is not None and before[0] == spec else None


def _made(model: type[Model], given: object, within: Keys) -> tuple[Model | None, list[Problem]]:
    """What ``given`` makes, or why it makes none."""
    try:
        # A node that is handed over has a machine, whose tags and labels are what they are.
        return model.model_validate(given, by_alias=True, by_name=False, context={ON_RECORD: True}), []
    except ValidationError as error:
        return None, problems_of(error, model, given, within=within)


def _of_paths(spec: Mapping[str, Any], within: Keys) -> Iterator[Problem]:
    """Paths that lead out of the folder a fleet is taken over in: what they name is sent to the file's machines."""
    for name in PATHS:
        if isinstance(spec.get(name), str) and not _is_below(spec[name]):
            yield Problem(
                dotted((*within, name)),
                f"must be a path below the working folder, './…' without '..', not {shown(spec[name])}: what it names"
                " is sent to the nodes; let export-env run in a folder that holds it",
            )
    for name in TEXTS:
        given = spec.get(name)
        patterns = given if isinstance(given, list) else [given]
        for place, pattern in enumerate(patterns):
            if isinstance(pattern, str) and _leads_out(pattern, is_remote=name == "artifacts"):
                yield Problem(
                    dotted((*within, name, place)),
                    f"must be a pattern below its folder, without '..', not {shown(pattern)}",
                )
    keys = spec.get("ssh-keys")
    for half, path in keys.items() if isinstance(keys, dict) else ():
        if isinstance(path, str) and not (_is_line(path) and (_is_below(path) or _is_whole(path))):
            yield Problem(
                dotted((*within, "ssh-keys", half)),
                f"must be an absolute path or './…', without '..', not {shown(path)}; --key names a key file of yours",
            )


def _is_line(value: str) -> bool:
    try:
        text(value)
    except Unfit:
        return False
    return True


def _is_below(path: str) -> bool:
    here = path == "." or path.startswith(HERE)
    return here and _is_line(path) and ".." not in PurePosixPath(path).parts


def _is_whole(path: str) -> bool:
    return path.startswith("/") and ".." not in PurePosixPath(path).parts


def _leads_out(pattern: str, *, is_remote: bool) -> bool:
    """An absolute pattern is fine on a node: what it fetches is written below the node's folder all the same."""
    path = PurePosixPath(pattern)
    return ".." in path.parts or (path.is_absolute() and not is_remote)


def _of_twins(given: Mapping[str, Any], within: Keys) -> Iterator[Problem]:
    """What both a row and its layout say must be one."""
    for mine, its in (("layout", "name"), ("provider", "provider")):
        ours, theirs = given.get(mine), given["spec"].get(its)
        if isinstance(ours, str) and isinstance(theirs, str) and ours != theirs:
            yield Problem(dotted((*within, mine)), f"is {shown(ours)}, and its layout says {shown(theirs)}")


def _of_repeats(nodes: Iterable[object], key: str, meaning: str) -> Iterator[Problem]:
    values = [node.get(key) if isinstance(node, dict) else None for node in nodes]
    seen: Counter[str] = Counter()
    for place, value in enumerate(values):
        if isinstance(value, str):
            seen[value] += 1
            if seen[value] > 1:
                yield Problem(dotted(("nodes", place, key)), f"{shown(value)} is {meaning}")
