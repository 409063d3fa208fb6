"""What cloud-init makes of user data: the host key that a machine shows, files, and what is run.

Source: https://cloudinit.readthedocs.io/en/latest/reference/modules.html; what it cannot read, it passes over.
"""

from __future__ import annotations

import base64
import binascii
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncssh
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ogc_async.sandbox.guest.userdata import File, UserData

HEADER = "#cloud-config"
SCRIPT = "#!"
GZIP = b"\x1f\x8b"
MAX_BYTES = 1024 * 1024
"""Of anything that is unpacked."""
HEEDED = ("ssh_keys", "write_files", "bootcmd", "runcmd")
MAX_DEPTH = 32
KINDS = ("ed25519_private", "ecdsa_private", "rsa_private")
"""Clients prefer them in this order."""
ENCODINGS = {
    **dict.fromkeys(("gz", "gzip"), ("gzip",)),
    **dict.fromkeys(("b64", "base64"), ("base64",)),
    **dict.fromkeys(("gz+base64", "gzip+base64", "gz+b64", "gzip+b64"), ("base64", "gzip")),
}
DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Told:
    """What one machine is told at its launch."""

    host_key: asyncssh.SSHKey | None = field(default=None, repr=False)
    """``None`` where the machine makes its own."""
    user_data: UserData | None = None
    """``None`` where its system has nothing to run."""


def read(user_data: str) -> Told:
    """What this user data (base64) asks for.

    cloud-init installs a host key that is none, with which sshd does not start; here such a machine makes its own.
    """
    text = _text(user_data)
    if text.startswith(SCRIPT):
        return Told(user_data=UserData(at_first_boot=text, text=text))
    config = _config(text)
    told = UserData(
        files=tuple(_files(config.get("write_files"))),
        at_each_boot=_script(config.get("bootcmd")),
        at_first_boot=_script(config.get("runcmd")),
        text=text,
    )
    return Told(_host_key(config.get("ssh_keys")), None if told.is_idle else told)


def _text(user_data: str) -> str:
    try:
        given = base64.b64decode(user_data)
        return (_unzipped(given) if given.startswith(GZIP) else given).decode()
    except (binascii.Error, ValueError, zlib.error):
        return ""


def _config(text: str) -> dict[str, Any]:
    # Reading YAML takes milliseconds, and most user data has none of it.
    if not text.startswith(HEADER) or not any(each in text for each in HEEDED):
        return {}
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = MAX_DEPTH
        config = yaml.load(text)
    except (YAMLError, ValueError, OverflowError):
        return {}
    return config if isinstance(config, dict) else {}


def _host_key(given: object) -> asyncssh.SSHKey | None:
    keys = [_key(given.get(kind)) for kind in KINDS] if isinstance(given, dict) else []
    return next((key for key in keys if key is not None), None)


def _key(text: object) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_private_key(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _files(given: object) -> Iterator[File]:
    for each in given if isinstance(given, list) else ():
        path = each.get("path") if isinstance(each, dict) else None
        content = _content(each.get("content"), each.get("encoding")) if isinstance(path, str) and path else None
        if isinstance(path, str) and content is not None:
            yield File(path, content, _mode(each.get("permissions")), bool(each.get("append")))


def _content(given: object, encoding: object) -> bytes | None:
    """Decoded; an encoding that there is not means plain text, as for cloud-init. ``None`` cannot be decoded."""
    content = given if isinstance(given, bytes) else ("" if given is None else str(given)).encode()
    try:
        for each in ENCODINGS.get(str(encoding).strip().lower(), ()):
            content = base64.b64decode(content) if each == "base64" else _unzipped(content)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return content


def _unzipped(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    unpacked = unpacker.decompress(content, MAX_BYTES)
    if not unpacker.eof:
        raise zlib.error("it is not whole, or too long")
    return unpacked


def _mode(given: object) -> int:
    """A text is octal; a number is what YAML made of it."""
    if isinstance(given, int):
        return given & 0o7777
    try:
        return int(str(given), 8) & 0o7777 if given is not None else DEFAULT_MODE
    except ValueError:
        return DEFAULT_MODE


def _script(given: object) -> str:
    """One script of a list of commands: texts as they are, lists of words quoted; any other makes it void."""
    if not isinstance(given, list) or not given:
        return ""
    lines = []
    for each in given:
        if isinstance(each, str):
            lines.append(each)
        elif isinstance(each, list):
            lines.append(" ".join(shlex.quote(str(word)) for word in each))
        elif each is not None:
            return ""
    return "\n".join(("#!/bin/sh", *lines, ""))
