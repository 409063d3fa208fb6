"""What a node's row may hold, one rule a field: for rows out of a file, and for values that other programs read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from ogc_async.errors import UnfitRecord
from ogc_async.plan.naming import is_node_name
from ogc_async.spec.fields import Reader, Unfit, matching, text, whole
from ogc_async.spec.wording import shown
from ogc_async.ssh.keys import is_public_line
from ogc_async.types import NodeSnapshot

FIRST_YEAR, LAST_YEAR = 2000, 2199
"""Every time zone's shift stays within what databases hold, and no time is so far away that it means something else."""

MAX_INDEX = 2**31 - 1
"""What an integer column holds on PostgreSQL."""

_HOST_KEY = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{1,8000}={0,2}")
"""A kind and base64; an RSA key of 16,384 bits has 2,800 characters."""


def node_name(given: object) -> str:
    """A name that a launch could have drawn."""
    value = text(given)
    if not is_node_name(value):
        raise Unfit(f"must be a node's name: lowercase letters, digits and '-', 63 at most, not {shown(value)}")
    return value


def address(given: object) -> str:
    """An IPv4 or IPv6 address. No zone (``%eth0``): that is a name of one machine's, and may be any text."""
    value = text(given)
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise Unfit(f"must be an IP address, not {shown(value)}") from None
    if "%" in value:
        raise Unfit(f"must be an IP address without a zone, not {shown(value)}")
    return value


def host_key(given: object) -> str:
    """One public key as OpenSSH writes it, without a comment."""
    if not isinstance(given, str) or not _HOST_KEY.fullmatch(given) or not is_public_line(given):
        raise Unfit(f"must be one OpenSSH public key, its kind and base64 without a comment, not {shown(given)}")
    return given


def moment(given: object) -> datetime:
    """A time with its zone, as ISO 8601 writes it."""
    value = text(given)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise Unfit(f"must be a time such as 2026-01-31T12:00:00Z, not {shown(value)}") from None
    if found.tzinfo is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise Unfit(f"must be a time with its zone, from {FIRST_YEAR} to {LAST_YEAR}, not {shown(value)}")
    return found.astimezone(UTC)


username = matching("[A-Za-z_][A-Za-z0-9_.-]{0,31}", "a user's name")
place = matching("[a-z0-9][a-z0-9-]{0,62}", "lowercase letters, digits and '-'")
token = matching("[A-Za-z0-9][A-Za-z0-9-]{0,63}", "a batch's token, letters, digits and '-'")
instance_id = matching(
    r"i-[0-9a-f]{1,32}|[a-z][-a-z0-9]{0,62}/[a-z][-a-z0-9]{0,62}", "an instance's id, such as i-0123abcd or zone/name"
)
account = matching("[A-Za-z0-9][A-Za-z0-9.:_-]{0,63}", "an account's number or a project's id")
port = whole(1, 65535)
size = matching("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a machine type")
launch_id = matching("[0-9a-f]{1,32}", "a launch's id")

RULES: Mapping[str, Reader] = {
    "name": node_name,
    "public_ip": address,
    "private_ip": address,
    "username": username,
    "ssh_port": port,
    "host_key": host_key,
}
"""The fields that leave this program as part of a path, a command line or another program's file."""


def check(node: NodeSnapshot, *fields: str) -> None:
    """Hold these fields of a row against their rules; what is not on record passes. Raises ``UnfitRecord``.

    A row may be older than the rules, or come from a file that an earlier release took in without them.
    """
    for field in fields:
        value = getattr(node, field)
        if value is None:
            continue
        try:
            RULES[field](value)
        except Unfit as error:
            raise unfit(node, field, str(error)) from None


def unfit(node: NodeSnapshot, field: str, reason: str) -> UnfitRecord:
    """The error that names this node and this field."""
    return UnfitRecord(node.id, node.name if is_node_name(node.name) else shown(node.name), field, reason)
