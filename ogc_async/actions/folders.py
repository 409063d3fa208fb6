"""Where what comes from a node goes: a folder of the node's own, inside of the one that was asked for."""

from __future__ import annotations

from pathlib import Path

from ogc_async.plan import rows
from ogc_async.types import NodeSnapshot


def node_folder(folder: Path, node: NodeSnapshot) -> Path:
    """``<folder>/<node>``. Raises ``UnfitRecord`` where the name, or a link of that name, would lead elsewhere."""
    rows.check(node, "name")
    found = folder / node.name
    if found.resolve() != folder.resolve() / node.name:
        raise rows.unfit(node, "name", f"names a link in {folder} that leads out of it; remove the link")
    return found
