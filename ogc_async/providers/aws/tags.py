"""What everything made on EC2 is called and tagged with, and how it is found again by that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ogc_async.types.carried import end_tag
from ogc_async.types.launch import TAG_ENDS, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE

MAX_OWNER = 64
"""Names of key pairs and firewalls end at 255 characters; a longer owner is told apart by its scope."""

Filter = dict[str, Any]


def resource_name(owner: str, scope: str, layout: str) -> str:
    """The name that every process arrives at for a layout's firewall, and begins a key pair's with."""
    return f"ogc-{owner[:MAX_OWNER]}-{scope[:8]}-{layout}"


def layout_tags(owner: str, scope: str, layout: str) -> dict[str, str]:
    """The tags of what belongs to a layout."""
    return {TAG_OWNER: owner, TAG_SCOPE: scope, TAG_LAYOUT: layout}


def ends_tag(ends_at: datetime) -> dict[str, str]:
    """The tag of what ends then, in whole seconds since the epoch, rounded up."""
    return {TAG_ENDS: end_tag(ends_at)}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in EC2's form."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Tags as a creating call takes them, so that nothing of ours ever exists untagged."""
    return {"ResourceType": kind, "Tags": tag_list(tags)}


def tag_filters(tags: Mapping[str, str]) -> list[Filter]:
    """Filters that let through what carries all of these tags."""
    return [filter_by(f"tag:{key}", [value]) for key, value in tags.items()]


def filter_by(name: str, values: Iterable[str]) -> Filter:
    """One filter; EC2 takes at most 200 values in it."""
    return {"Name": name, "Values": list(values)}


def read_tags(described: Mapping[str, Any]) -> dict[str, str]:
    """The tags of something that EC2 described."""
    return {tag.get("Key", ""): tag.get("Value", "") for tag in described.get("Tags") or ()}
