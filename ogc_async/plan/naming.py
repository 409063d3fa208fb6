"""Names of nodes and tokens of batches."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Collection

ALPHABET = "23456789bcdfghjkmnpqrstvwxz"
"""No look-alikes (0 o, 1 l i) to misread, and no vowels to make words of."""
SUFFIX_CHARS = 8

_LEGAL = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def node_name(layout: str, suffix: str) -> str:
    """``ogc-{layout}-{suffix}``: a name that is legal in every cloud and as a host name (RFC 1035, 63 characters)."""
    name = f"ogc-{layout}-{suffix}"
    if not is_node_name(name):
        raise ValueError(f"{name!r} is no legal node name: lowercase letters, digits and '-', 63 characters at most")
    return name


def is_node_name(name: str) -> bool:
    """Legal in every cloud, as a host name, and as the name of a folder: RFC 1035, 63 characters."""
    return _LEGAL.fullmatch(name) is not None


def new_suffixes(count: int, taken: Collection[str] = (), rng: random.Random | None = None) -> list[str]:
    """``count`` random suffixes, all different and none of them in ``taken``."""
    # Seeded by the system, which takes half a second where it is asked for every letter of 10,000 names: no secrets.
    source = rng or random.Random()  # noqa: S311
    seen = set(taken)
    suffixes: list[str] = []
    while len(suffixes) < count:
        suffix = "".join(source.choices(ALPHABET, k=SUFFIX_CHARS))
        if suffix not in seen:
            seen.add(suffix)
            suffixes.append(suffix)
    return suffixes


def new_token(rng: random.Random | None = None) -> str:
    """A batch's idempotency token: a random UUID, as Compute Engine demands and EC2 accepts."""
    source = rng or random.SystemRandom()
    return str(uuid.UUID(int=source.getrandbits(128), version=4))
