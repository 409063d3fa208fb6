"""Who a node proves to be: the host key on record, or the one shown at first contact, and from then on that one."""

from __future__ import annotations

import asyncssh

from ogc_async.ssh.keys import public_line
from ogc_async.types import HostKey


class HostKeyCheck(asyncssh.SSHClient):
    """Accepts exactly the recorded host key; with none on record, the first one. ``shown`` is the one it met."""

    def __init__(self, recorded: str | None) -> None:
        self._recorded = recorded
        self.shown: str | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called by asyncssh with the key that the server shows, and is then to prove that it holds."""
        self.shown = public_line(key)
        return self._recorded is None or self.shown == self._recorded

    @property
    def is_changed(self) -> bool:
        """Another key than the recorded one was shown."""
        return self._recorded is not None and self.shown is not None and self.shown != self._recorded


def new_host_key() -> HostKey:
    """An ed25519 key, in memory only."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return HostKey(public_line(key), key.export_private_key().decode())


def fingerprint(line: str) -> str:
    """``SHA256:…`` of an OpenSSH public key line, as ``ssh-keygen -l`` prints it."""
    return asyncssh.import_public_key(line).get_fingerprint()


def known_hosts_line(address: str, port: int, host_key: str) -> str:
    """The line of a ``known_hosts`` file that pins this host's key."""
    host = address if port == 22 else f"[{address}]:{port}"
    return f"{host} {host_key}"
