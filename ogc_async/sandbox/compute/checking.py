"""What bodies may say: types, names, labels, tags, metadata.

Sources: the discovery document of compute.v1; https://cloud.google.com/compute/docs/labeling-resources#requirements,
https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from ogc_async.sandbox.compute.errors import Refused, invalid, required, unknown_field

NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
MAX_LABELS = 64
MAX_LABEL = 63
LETTERS = frozenset({"Ll", "Lo"})
"""Unicode's categories of letters that labels take: lowercase ones, and those without case."""
MAX_TAGS = 64
MAX_VALUE = 256 * 1024
MAX_METADATA = 512 * 1024

Fields = dict[str, Any]


def words(line: str) -> frozenset[str]:
    """The words of a line."""
    return frozenset(line.split())


def check_known(body: Mapping[str, Any], names: Collection[str], path: str = "") -> None:
    """Refuse what is not heeded here: to ignore it would be a lie about its effect."""
    unknown = set(body) - set(names)
    if unknown:
        raise unknown_field(path + min(unknown))


def text(body: Mapping[str, Any], name: str, default: str = "") -> str:
    """A string, or the default where it is absent."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Refused("invalid", f"Invalid value at '{name}' (TYPE_STRING), {value!r}")
    return value


def flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """A truth value."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise Refused("invalid", f"Invalid value at '{name}' (TYPE_BOOL), {value!r}")
    return value


def number(body: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A whole number, which JSON carries as a string if it is a long one."""
    value = body.get(name, default)
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}", str(value)):
        raise Refused("invalid", f"Invalid value at '{name}' (TYPE_INT64), {value!r}")
    return int(value)


def structure(body: Mapping[str, Any], name: str) -> Fields:
    """An object; empty where it is absent."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise Refused("invalid", f"Invalid value at '{name}' (an object is needed), {value!r}")
    return value


def structures(body: Mapping[str, Any], name: str) -> list[Fields]:
    """A list of objects."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refused("invalid", f"Invalid value at '{name}' (a list of objects is needed), {value!r}")
    return value


def texts(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of strings."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Refused("invalid", f"Invalid value at '{name}' (a list of strings is needed), {value!r}")
    return value


def check_name(name: str, field: str = "resource.name") -> str:
    """A resource's name."""
    if not name:
        raise required(field)
    if not NAME.fullmatch(name):
        raise invalid(field, name, f"Must be a match of regex '{NAME.pattern}'")
    return name


def labels_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The labels that a body gives."""
    labels = structure(body, "labels")
    if len(labels) > MAX_LABELS:
        raise Refused("invalid", f"The number of labels can not exceed {MAX_LABELS}.")
    for key, value in labels.items():
        if not key or unicodedata.category(key[0]) not in LETTERS or not _is_label(key):
            raise _malformed("key", key)
        if not isinstance(value, str) or not _is_label(value):
            raise _malformed("value", value)
    return labels


def _is_label(text: str) -> bool:
    kinds = map(unicodedata.category, text)
    return len(text) <= MAX_LABEL and all(
        kind in LETTERS or kind.startswith("N") or each in "_-" for each, kind in zip(text, kinds, strict=True)
    )


def _malformed(part: str, given: object) -> Refused:
    return invalid(
        "resource.labels",
        "",
        f"Label {part} '{given}' violates format constraints. The {part} can only contain lowercase letters, numeric"
        f" characters, underscores and dashes. The {part} can be at most {MAX_LABEL} characters long. International"
        " characters are allowed.",
    )


def tags_of(body: Mapping[str, Any]) -> list[str]:
    """The network tags that a body gives."""
    tags = structure(body, "tags")
    check_known(tags, ("items", "fingerprint", "kind"), "tags.")
    items = texts(tags, "items")
    if len(items) > MAX_TAGS:
        raise Refused("invalid", f"The number of tags can not exceed {MAX_TAGS}.")
    for index, each in enumerate(items):
        check_name(each, f"resource.tags.items[{index}]")
    return list(dict.fromkeys(items))


def metadata_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The items of metadata, by key."""
    check_known(metadata, ("items", "fingerprint", "kind"), "metadata.")
    items: dict[str, str] = {}
    for each in structures(metadata, "items"):
        check_known(each, ("key", "value"), "metadata.items.")
        key, value = text(each, "key"), text(each, "value")
        if not METADATA_KEY.fullmatch(key):
            raise invalid("metadata.items.key", key, f"Must be a match of regex '{METADATA_KEY.pattern}'")
        if key in items:
            raise invalid("metadata", key, f"Metadata has duplicate keys: {key}")
        if len(value.encode()) > MAX_VALUE:
            raise invalid(f"metadata.items.{key}", f"{value[:20]}…", f"Value is too large: max {MAX_VALUE} bytes.")
        items[key] = value
    if sum(len(key) + len(value.encode()) for key, value in items.items()) > MAX_METADATA:
        raise Refused("invalid", f"The total size of metadata is too large: max {MAX_METADATA} bytes.")
    return items
