"""What the system's OpenSSH is told of a node: as options of a command, and as blocks of its configuration.

Each value is held against the rule of its field first (``plan.rows``). OpenSSH reads more into a value than its text:
``Host`` takes patterns, a line's end begins another keyword, and paths have tokens, variables and quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ogc_async.errors import SettingsError, UnfitRecord
from ogc_async.plan import rows
from ogc_async.spec.wording import shown
from ogc_async.ssh.hostkeys import known_hosts_line
from ogc_async.types import NodeSnapshot

BEGIN, END = "# ogc: begin", "# ogc: end"
FIRST_CONTACT = "no host key on record yet: `ogc exec true {}` meets the node and pins it"


_PLAIN = re.compile("[A-Za-z0-9/._+@:,=-]+")
"""Paths of these characters alone mean the same to every version of OpenSSH, in quotes or not."""
_UNTELLABLE = re.compile(r'["\\]|\$\{')
"""Versions differ in how they read a quote or a backslash within quotes, and a variable cannot be escaped."""
_NEEDED = "must be an absolute path without quotes, backslashes, '${' and control characters"


def known_hosts(nodes: Iterable[NodeSnapshot]) -> str:
    """A known_hosts file of the nodes whose keys are on record, under their names and under their addresses."""
    lines: list[str] = []
    for node in nodes:
        if node.host_key is None:
            continue
        _check(node)
        if address := node.public_ip or node.private_ip:
            lines += [f"{node.name} {node.host_key}", known_hosts_line(address, node.ssh_port, node.host_key)]
    return "".join(f"{line}\n" for line in lines)


def is_fit(node: NodeSnapshot) -> bool:
    """The node's row may be told to OpenSSH."""
    try:
        _check(node)
    except UnfitRecord:
        return False
    return True


def node_options(node: NodeSnapshot, known_hosts_file: Path) -> list[tuple[str, str]]:
    """Keywords and values that lead to the node, and accept nobody else in its place. Raises ``UnfitRecord``."""
    _check(node)
    address = node.public_ip or node.private_ip
    if not address:
        raise rows.unfit(node, "public_ip", "is empty, and so is private_ip; `ogc sync` asks the cloud")
    return [
        ("HostName", address),
        ("Port", str(node.ssh_port)),
        ("User", node.username),
        ("IdentityFile", _key_path(node)),
        ("IdentitiesOnly", "yes"),
        ("HostKeyAlias", node.name),
        ("UserKnownHostsFile", _trusted_path(known_hosts_file)),
        ("StrictHostKeyChecking", "yes"),
    ]


def ssh_command(node: NodeSnapshot, known_hosts_file: Path, words: Sequence[str]) -> list[str]:
    """The command line of ``ssh``; nothing of the user's own configuration stands against it."""
    options = [part for key, value in node_options(node, known_hosts_file) for part in ("-o", f"{key}={value}")]
    # After `--` nothing is an option any more, neither the name nor a word that begins with a dash.
    return ["ssh", *options, "--", node.name, *words]


def config_block(nodes: Sequence[NodeSnapshot], known_hosts_file: Path) -> str:
    """A block with every node between two marks, so that a later one can take its place. Raises ``UnfitRecord``."""
    parts = [BEGIN]
    for node in nodes:
        if node.host_key is None:
            rows.check(node, "name")
            parts.append(f"# {node.name}: {FIRST_CONTACT.format(node.name)}")
            continue
        parts.append(f"Host {node.name}")
        parts += [f"    {key} {value}" for key, value in node_options(node, known_hosts_file)]
    return "\n".join([*parts, END]) + "\n"


def with_block(text: str, block: str) -> str:
    """The configuration with the block in place of an older one, or in front: OpenSSH heeds what it reads first."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if begin and not end:
        raise SettingsError(f"the older block has no line `{END}`; add it where that block ends")
    return before + block + after if begin else block + ("\n" + text if text else "")


def key_file(node: NodeSnapshot) -> Path:
    """The private key that opens the node."""
    keys = node.spec.get("ssh-keys") or {}
    return Path(str(keys.get("private", "")))


def _check(node: NodeSnapshot) -> None:
    rows.check(node, *rows.RULES)


def _key_path(node: NodeSnapshot) -> str:
    path = str(key_file(node))
    if (written := _quoted(path)) is None:
        raise rows.unfit(node, "spec.ssh-keys.private", f"{_NEEDED}, not {shown(path)}")
    return written


def _trusted_path(path: Path) -> str:
    if (written := _quoted(str(path))) is None:
        raise SettingsError(f"OGC_DATA_DIR: the folder of {shown(str(path))} {_NEEDED}, for OpenSSH to read it back")
    return written


def _quoted(path: str) -> str | None:
    """The path as OpenSSH reads it back, all of its characters meant; None where no form of it is read so."""
    if not path.startswith("/") or not path.isprintable() or _UNTELLABLE.search(path):
        return None
    return path if _PLAIN.fullmatch(path) else f'"{path.replace("%", "%%")}"'
