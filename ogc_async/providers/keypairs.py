"""Key pairs as clouds keep them: what a launch left there, to be listed and removed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair of ours; ``layout`` is the one that it was made for."""

    name: str
    layout: str


@runtime_checkable
class KeepsKeyPairs(Protocol):
    """A provider whose cloud keeps key pairs; in others the key is part of each machine."""

    async def list_key_pairs(self, owner: str, scope: str) -> list[KeyPair]:
        """The key pairs that carry this owner's and this database's tags, and no others."""
        ...

    async def delete_key_pair(self, name: str) -> None:
        """Delete it; one that is gone already is fine. Machines that run keep their keys."""
        ...
