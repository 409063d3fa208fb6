"""Which nodes a command means: names, ids, globs, layouts, tags and states, which all have to fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ogc_async import actions
from ogc_async.actions.context import default_app, not_running
from ogc_async.errors import AmbiguousNode, NothingMatched, SettingsError, UnknownNode
from ogc_async.types import NodeSnapshot, NodeState

RANGE = re.compile(r"(\d+)-(\d+)")
"""No node's name begins with a digit."""
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Selection:
    """Of the words, a node must be meant by one; of layouts, tags and states, by one of each kind that is given."""

    words: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    states: tuple[NodeState, ...] = ()
    is_all: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing was said, which never means everything where something is changed."""
        return not (self.words or self.layouts or self.tags or self.states or self.is_all)


def select_nodes(selection: Selection, states: Collection[NodeState]) -> list[NodeSnapshot]:
    """The nodes in one of ``states`` that the selection means; never none.

    Raises ``SettingsError`` where nothing was said, ``UnknownNode``, ``AmbiguousNode``, ``NotRunning`` or
    ``NothingMatched`` where what was said does not lead to nodes.
    """
    if selection.is_empty:
        raise SettingsError("which nodes? Name them, or use --layout, --tag, --state or --all")
    found = find_nodes(selection, states)
    if not found:
        raise NothingMatched(f"no node is {' or '.join(sorted(states))}; `ogc ls --all` shows all that ever were")
    return found


def find_nodes(selection: Selection, states: Collection[NodeState]) -> list[NodeSnapshot]:
    """The same, where saying nothing means every node, and there may be none."""
    wanted = set(selection.states) or set(states)
    nodes = actions.nodes(states=wanted, app=default_app())
    try:
        return choose(nodes, selection)
    except UnknownNode as unknown:
        # A node that exists in another state is told so, rather than that it does not.
        elsewhere = actions.nodes(states=set(NodeState) - wanted)
        for word in unknown.missing:
            known = matches(str(word), elsewhere)
            if len(known) == 1 and wanted == {NodeState.RUNNING}:
                raise not_running(known[0]) from None
            if known:
                said = f"{known[0].name} is {known[0].state}" if len(known) == 1 else f"nodes of {word!r} are elsewhere"
                raise NothingMatched(f"{said}, not {' or '.join(sorted(wanted))}; `ogc ls --all` shows it") from None
        raise


def choose(nodes: Sequence[NodeSnapshot], selection: Selection) -> list[NodeSnapshot]:
    """Those of the nodes that the selection means, in their order."""
    left = _having(nodes, "--layout", selection.layouts, lambda node: (node.layout,))
    left = _having(left, "--tag", selection.tags, lambda node: node.tags)
    left = _having(left, "--state", selection.states, lambda node: (node.state,)) if selection.states else left
    if not selection.words:
        return left
    by_word = {word: _meant_by(word, left) for word in selection.words}
    missing = [word for word, found in by_word.items() if not found]
    if missing:
        near = get_close_matches(missing[0], [node.name for node in left], 1)
        raise UnknownNode(missing, f"did you mean {near[0]}?") if near else UnknownNode(missing)
    meant = {node.id for found in by_word.values() for node in found}
    return [node for node in left if node.id in meant]


def matches(word: str, nodes: Iterable[NodeSnapshot]) -> list[NodeSnapshot]:
    """The nodes that a word can mean: by id, range of ids, name, glob, or else as a part of their names."""
    nodes = list(nodes)
    if word.isdigit():
        return [node for node in nodes if node.id == int(word)]
    if span := RANGE.fullmatch(word):
        return [node for node in nodes if int(span[1]) <= node.id <= int(span[2])]
    if GLOB.search(word):
        return [node for node in nodes if fnmatchcase(node.name, word)]
    exact = [node for node in nodes if node.name == word]
    return exact or [node for node in nodes if _is_short_for(word, node.name)]


def _meant_by(word: str, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
    found = matches(word, nodes)
    is_many = word.isdigit() or RANGE.fullmatch(word) or GLOB.search(word)
    if len(found) > 1 and not is_many:
        raise AmbiguousNode(word, [node.name for node in found])
    return found


def _is_short_for(word: str, name: str) -> bool:
    """``ogc-web-k8``, ``web-k8`` and ``k87w`` are short for ``ogc-web-k87wkb5k``."""
    return name.startswith((word, f"ogc-{word}")) or name.rpartition("-")[2].startswith(word)


def _having(
    nodes: Sequence[NodeSnapshot],
    option: str,
    globs: Sequence[str],
    values_of: Callable[[NodeSnapshot], Sequence[str]],
) -> list[NodeSnapshot]:
    if not globs:
        return list(nodes)
    for glob in globs:
        if not any(fnmatchcase(value, glob) for node in nodes for value in values_of(node)):
            there = sorted({value for node in nodes for value in values_of(node)})
            known = f"; there are: {', '.join(there[:8])}" if there else ""
            raise NothingMatched(f"no node on record fits {option} {glob}{known}")
    return [node for node in nodes if any(fnmatchcase(value, glob) for value in values_of(node) for glob in globs)]
