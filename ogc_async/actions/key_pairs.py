"""The key pairs that launches have left with the clouds: found by our own tags, in every place we have been to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ogc_async.actions.context import Context, open_context, why_unserved
from ogc_async.aio.blocking import blocking
from ogc_async.aio.gather import gather_all
from ogc_async.db.nodes import find_nodes, find_places
from ogc_async.errors import OgcError, SettingsError
from ogc_async.providers.keypairs import KeepsKeyPairs
from ogc_async.state import App
from ogc_async.types import LIVE

AT_ONCE = 8
DEFAULT_PLACES = ("aws",)
"""Clouds that are looked at in the settings' region even where no node is on record (any more)."""


@dataclass(frozen=True, slots=True, order=True)
class FoundKeyPair:
    """A key pair, where it is, and whether a live node's layout uses it."""

    provider: str
    region: str
    name: str
    layout: str
    is_used: bool


async def list_key_pairs_async(*, app: App | None = None) -> list[FoundKeyPair]:
    """Every key pair of this database's user, in the regions of its nodes and the settings'."""
    context = await open_context(app)
    used = {(node.provider, node.region, node.layout) for node in await find_nodes(context.engine, states=LIVE)}
    places = await find_places(context.engine) | _default_places(context)

    async def look(place: tuple[str, str]) -> list[FoundKeyPair]:
        provider = context.providers.unshared(*place)
        if not isinstance(provider, KeepsKeyPairs):
            return []
        found = await provider.list_key_pairs(context.user.slug, context.user.scope)
        return [FoundKeyPair(*place, each.name, each.layout, (*place, each.layout) in used) for each in found]

    served = [place for place in sorted(places) if why_unserved(place, context) is None]
    return sorted(each for part in await gather_all(look, served, limit=AT_ONCE) for each in part)


async def remove_key_pairs_async(key_pairs: Sequence[FoundKeyPair], *, app: App | None = None) -> dict[str, OgcError]:
    """Delete these; the errors of those that could not be, by name. One that is gone already is fine."""
    context = await open_context(app)
    errors: dict[str, OgcError] = {}

    async def delete(each: FoundKeyPair) -> None:
        provider = context.providers.unshared(each.provider, each.region)
        try:
            if isinstance(provider, KeepsKeyPairs):
                await provider.delete_key_pair(each.name)
        except OgcError as error:
            errors[each.name] = error

    await gather_all(delete, key_pairs, limit=AT_ONCE)
    return errors


def _default_places(context: Context) -> set[tuple[str, str]]:
    places: set[tuple[str, str]] = set()
    for name in DEFAULT_PLACES:
        try:
            places.add((name, context.providers.default_region(name)))
        except SettingsError:
            # Whoever has no account there has no key pairs there.
            continue
    return places


list_key_pairs = blocking(list_key_pairs_async)
remove_key_pairs = blocking(remove_key_pairs_async)
