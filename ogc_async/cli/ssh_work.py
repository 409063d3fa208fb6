"""What ``ogc ssh`` and ``ogc ssh-config`` do: the system's OpenSSH, told whom to trust."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_data_path

from ogc_async import actions
from ogc_async.actions.context import default_app
from ogc_async.cli.openssh import config_block, is_fit, key_file, known_hosts, ssh_command, with_block
from ogc_async.cli.select import Selection, find_nodes, select_nodes
from ogc_async.cli.voice import line, out
from ogc_async.errors import AmbiguousNode, NothingMatched, SettingsError
from ogc_async.plan import rows
from ogc_async.spec.wording import shown
from ogc_async.types import NodeSnapshot, NodeState

RUNNING = frozenset({NodeState.RUNNING})


def ssh(word: str, words: Sequence[str]) -> int:
    """Become ``ssh`` to the node; a node that nobody has met yet is met first, so that its key is pinned."""
    node = _the_one(word)
    rows.check(node, *rows.RULES)
    if node.host_key is None:
        actions.exec(node.id, "true")
        node = _the_one(str(node.id))
    program = shutil.which("ssh")
    if program is None:
        raise SettingsError("the program ssh is not installed; on Debian: apt install openssh-client")
    if not key_file(node).is_file():
        raise SettingsError(f"{node.name}: its private key {shown(str(key_file(node)))} is not here")
    # Another node's row that is not fit for the file stands in nobody's way: its own `ogc ssh` says so.
    trusted = _write_known_hosts([each for each in actions.nodes(states=RUNNING) if is_fit(each)])
    out.file.flush()
    os.execv(program, ssh_command(node, trusted, words))  # noqa: S606  # its exit code and signals become ours


def ssh_config(chosen: Selection, write: Path | None) -> int:
    """Print the block, or put it into a file."""
    nodes = find_nodes(chosen, RUNNING)
    if not nodes:
        raise NothingMatched("no node is running; `ogc ls` lists the nodes on record")
    trusted = _known_hosts_file()
    block = config_block(nodes, trusted)
    running = nodes if chosen.is_empty else actions.nodes(states=RUNNING)
    _write_known_hosts([each for each in running if is_fit(each)])
    if write is None:
        out.print(block, end="", markup=False)
        return 0
    write = write.expanduser()
    _replace(write, with_block(write.read_text(encoding="utf-8") if write.exists() else "", block))
    line(f"{write}: {len(nodes)} nodes")
    return 0


def _the_one(word: str) -> NodeSnapshot:
    found = select_nodes(Selection((word,)), RUNNING)
    if len(found) > 1:
        raise AmbiguousNode(word, [node.name for node in found])
    return found[0]


def _write_known_hosts(nodes: Sequence[NodeSnapshot]) -> Path:
    """Every node's pinned key, where OpenSSH reads it again long after this program has ended."""
    path = _known_hosts_file()
    _replace(path, known_hosts(nodes))
    return path


def _known_hosts_file() -> Path:
    folder = default_app().settings.ogc_data_dir or user_data_path("ogc", appauthor=False)
    return folder.absolute() / "known_hosts"


def _replace(path: Path, text: str) -> None:
    """Write a file at once or not at all, for its owner only; others may be reading the older one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: can not be written: {error.strerror}") from None
