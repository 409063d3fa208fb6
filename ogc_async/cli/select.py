"""Which nodes a command means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ogc_async import actions
from ogc_async.errors import SettingsError, UnknownNode
from ogc_async.types import NodeSnapshot, NodeState


@dataclass(frozen=True, slots=True)
class Selection:
    """Names, globs or ids; a layout; a tag; a node must meet all that are given."""

    wanted: Sequence[str] = ()
    layout: str | None = None
    tag: str | None = None
    is_all: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing was said, which never means everything."""
        return not (self.wanted or self.layout or self.tag or self.is_all)


def select_nodes(selection: Selection, states: Collection[NodeState]) -> list[NodeSnapshot]:
    """The nodes in one of ``states`` that the selection means.

    Raises ``SettingsError`` where nothing was said, ``UnknownNode`` where something said matches no node.
    """
    if selection.is_empty:
        raise SettingsError("which nodes? Name them, or use --layout, --tag or --all")
    nodes = actions.nodes(layout=selection.layout, tag=selection.tag, states=states)
    unmatched = [word for word in selection.wanted if not any(_means(word, node) for node in nodes)]
    if unmatched or not nodes:
        raise UnknownNode(unmatched or [f"--{key} {word}" for key, word in _criteria(selection)] or ["any"])
    return [node for node in nodes if not selection.wanted or any(_means(word, node) for word in selection.wanted)]


def _means(word: str, node: NodeSnapshot) -> bool:
    return word == str(node.id) or fnmatchcase(node.name, word)


def _criteria(selection: Selection) -> list[tuple[str, str]]:
    said = {"layout": selection.layout, "tag": selection.tag}
    return [(key, word) for key, word in said.items() if word]
