"""SSH key files: read, checked, made."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from ogc_async.errors import KeyFileError

KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


def load_private_key(path: Path) -> asyncssh.SSHKey:
    """The private key in that file. Raises ``KeyFileError`` that says what is wrong with it and what to do."""
    data = _read(path)
    try:
        return asyncssh.import_private_key(data)
    except ValueError as error:
        # asyncssh tells an encrypted key in one way or the other, by the key's format and what is installed.
        if isinstance(error, asyncssh.KeyEncryptionError) or b"ENCRYPTED" in data or "passphrase" in str(error).lower():
            reason = "needs a passphrase, which nobody can type for a fleet; use a key without one (ssh-keygen -p)"
        else:
            reason = f"is not a private key: {error}"
        raise KeyFileError(path, reason) from None


def load_public_key(path: Path) -> str:
    """The public key in that file, as one OpenSSH line without its comment. Raises ``KeyFileError``."""
    data = _read(path)
    try:
        key = asyncssh.import_public_key(data)
    except ValueError as error:
        raise KeyFileError(path, f"is not a public key: {error}") from None
    kind = key.get_algorithm()
    if kind not in KINDS:
        raise KeyFileError(path, f"is of kind {kind}; make one with: ssh-keygen -t ed25519 -N ''")
    return public_line(key)


def public_line(key: asyncssh.SSHKey) -> str:
    """A key's public half: kind and base64, nothing else."""
    return " ".join(key.export_public_key().decode().split()[:2])


def is_public_line(line: str) -> bool:
    """``line`` is exactly what :func:`public_line` makes of the key in it."""
    try:
        return public_line(asyncssh.import_public_key(line)) == line
    except ValueError:
        return False


def generate_key_pair(path: Path) -> None:
    """Make an ed25519 key at ``path`` and ``<path>.pub``, for its owner only; overwrites nothing."""
    public = path.with_name(path.name + ".pub")
    for each in (path, public):
        if each.exists():
            raise KeyFileError(each, "exists already; it is left alone")
    key = asyncssh.generate_private_key("ssh-ed25519", comment=path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(key.export_private_key())
        public.write_bytes(key.export_public_key())
    except OSError as error:
        raise KeyFileError(path, f"can not be written: {error.strerror}") from None


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            # A device may have no end, and a pipe no writer.
            raise KeyFileError(path, "is not a regular file; name the key file itself")
        return path.read_bytes()
    except FileNotFoundError:
        raise KeyFileError(path, "does not exist; make one with: ssh-keygen -t ed25519 -N ''") from None
    except IsADirectoryError:
        raise KeyFileError(path, "is a folder; name the key file itself") from None
    except OSError as error:
        raise KeyFileError(path, f"can not be read: {error.strerror}") from None
