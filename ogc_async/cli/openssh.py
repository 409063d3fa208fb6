"""What the system's OpenSSH is told of a node: as options of a command, and as blocks of its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ogc_async.errors import SettingsError
from ogc_async.ssh.hostkeys import known_hosts_line
from ogc_async.types import NodeSnapshot

BEGIN, END = "# ogc: begin", "# ogc: end"
FIRST_CONTACT = "no host key on record yet: `ogc exec true {}` meets the node and pins it"


def known_hosts(nodes: Iterable[NodeSnapshot]) -> str:
    """A known_hosts file of the nodes whose keys are on record, under their names and under their addresses."""
    lines: list[str] = []
    for node in nodes:
        address = node.public_ip or node.private_ip
        if node.host_key and address:
            lines += [f"{node.name} {node.host_key}", known_hosts_line(address, node.ssh_port, node.host_key)]
    return "".join(f"{line}\n" for line in lines)


def node_options(node: NodeSnapshot, known_hosts_file: Path) -> list[tuple[str, str]]:
    """Keywords and values that lead to the node, and accept nobody else in its place."""
    return [
        ("HostName", node.public_ip or node.private_ip or ""),
        ("Port", str(node.ssh_port)),
        ("User", node.username),
        ("IdentityFile", _quoted(key_file(node))),
        ("IdentitiesOnly", "yes"),
        ("HostKeyAlias", node.name),
        ("UserKnownHostsFile", _quoted(known_hosts_file)),
        ("StrictHostKeyChecking", "yes"),
    ]


def ssh_command(node: NodeSnapshot, known_hosts_file: Path, words: Sequence[str]) -> list[str]:
    """The command line of ``ssh``; nothing of the user's own configuration stands against it."""
    options = [part for key, value in node_options(node, known_hosts_file) for part in ("-o", f"{key}={value}")]
    return ["ssh", *options, node.name, *(["--", *words] if words else [])]


def config_block(nodes: Sequence[NodeSnapshot], known_hosts_file: Path) -> str:
    """A block with every node between two marks, so that a later one can take its place."""
    parts = [BEGIN]
    for node in nodes:
        if node.host_key is None:
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


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
