"""What everything made on Compute Engine is called and labelled with, made legal, and how it is found again by that.

Labels and names take lowercase letters, digits, ``-`` (and in labels ``_``), 63 characters at most. What is not legal
is mapped to what is; ours are legal as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from ogc_async.types.launch import TAG_BATCH, TAG_LAYOUT, TAG_OWNER, TAG_SCOPE, TAG_TAGS

MAX_CHARS = 63
OURS = {TAG_OWNER, TAG_SCOPE, TAG_LAYOUT, TAG_BATCH, TAG_TAGS}
_BY_LABEL = {tag.replace(":", "-"): tag for tag in OURS}


def label_key(tag: str) -> str:
    """The label's key: ``ogc:owner`` is ``ogc-owner``."""
    key = _legal(tag)
    return key if key[:1].isalpha() else f"x-{key}"[:MAX_CHARS]


def label_value(value: str) -> str:
    """The label's value."""
    return _legal(value)


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as labels."""
    return {label_key(key): label_value(value) for key, value in tags.items()}


def tags_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as tags: ours under their own keys again."""
    return {_BY_LABEL.get(key, key): value for key, value in labels.items()}


def resource_name(owner: str, scope: str, layout: str) -> str:
    """The name that every process arrives at for a layout's firewall and network tag."""
    digest = hashlib.sha256("\0".join((owner, scope, layout)).encode()).hexdigest()
    return f"ogc-{layout[:40].rstrip('-')}-{digest[:12]}"


def ownership(owner: str, scope: str, layout: str) -> str:
    """What a firewall, which has no labels, says in its description."""
    return f"ogc owner={owner} scope={scope} layout={layout}"


def both(conditions: Iterable[str]) -> str:
    """A filter that lets through what meets every condition."""
    return " AND ".join(f"({each})" for each in conditions)


def either(conditions: Iterable[str]) -> str:
    """A filter that lets through what meets one condition."""
    return " OR ".join(f"({each})" for each in conditions)


def label_is(tag: str, value: str) -> str:
    """A filter for one label."""
    return f'labels.{label_key(tag)} = "{label_value(value)}"'


def _legal(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:MAX_CHARS]
