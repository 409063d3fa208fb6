"""What everything made on Compute Engine is called and labelled with, and how it is found again by that.

Labels and names take lowercase letters, digits, ``-`` (and in labels ``_``), 63 characters at most. Our own tags are
mapped to that; a user's labels are launched with as they are written, and a spec refuses what is not legal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from ogc_async.types.carried import COMPUTE_ENGINE

_TAG, _LABEL = "ogc:", "ogc-"
"""How our tags begin, and our labels: a user's begin otherwise."""


def label_key(tag: str) -> str:
    """The key of our tag's label: ``ogc:owner`` is ``ogc-owner``."""
    return tag.replace(_TAG, _LABEL, 1)


def label_value(value: str) -> str:
    """The value of our tag's label."""
    return re.sub(r"[^a-z0-9_-]", "-", value.lower())[: COMPUTE_ENGINE.value_chars]


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Our tags as labels."""
    return {label_key(key): label_value(value) for key, value in tags.items()}


def tags_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as tags: ours under their own keys again."""
    return {key.replace(_LABEL, _TAG, 1) if key.startswith(_LABEL) else key: each for key, each in labels.items()}


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
