"""What cloud-init makes of user data: the host key that a machine shows."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import asyncssh
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

HEADER = "#cloud-config"
MAX_DEPTH = 32
KINDS = ("ed25519_private", "ecdsa_private", "rsa_private")
"""Clients prefer them in this order."""


def host_key_in(user_data: str) -> asyncssh.SSHKey | None:
    """The host key that this user data (base64) brings, or ``None`` where the machine makes its own.

    cloud-init passes over what it can not read. It installs a key that is none, with which sshd does not start; here
    such a machine makes its own too.
    """
    given = _config(user_data).get("ssh_keys")
    keys = [_key(given.get(kind)) for kind in KINDS] if isinstance(given, dict) else []
    return next((key for key in keys if key is not None), None)


def _config(user_data: str) -> dict[str, Any]:
    try:
        text = base64.b64decode(user_data).decode()
    except (binascii.Error, UnicodeDecodeError):
        return {}
    # Reading YAML takes milliseconds, and most user data has none of it.
    if not text.startswith(HEADER) or "ssh_keys" not in text:
        return {}
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = MAX_DEPTH
        config = yaml.load(text)
    except (YAMLError, ValueError, OverflowError):
        return {}
    return config if isinstance(config, dict) else {}


def _key(text: object) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_private_key(text) if isinstance(text, str) else None
    except ValueError:
        return None
