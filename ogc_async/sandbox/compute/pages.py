"""Lists: filtered, ordered, by the page; of one scope or of all."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from ogc_async.sandbox.compute import filters
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields
from ogc_async.sandbox.compute.errors import invalid
from ogc_async.sandbox.compute.project import ROOT

T = TypeVar("T")


def listed(call: Call, kind: str, things: Iterable[Fields], fields: Collection[str]) -> Fields:
    """One page of a list; the kind is ``instance`` for a list of instances."""
    chosen, token = _page(call, [("", each) for each in things], fields)
    return _reply(call, kind, [each for _, each in chosen], token)


def listed_by_name(
    call: Call,
    kind: str,
    things: Iterable[T],
    name: Callable[[T], str],
    describe: Callable[[T], Fields],
    fields: Collection[str],
) -> Fields:
    """The same, of things that are described for no more than this page: of thousands, that is most of the work."""
    if call.query.get("orderBy", "name") != "name":
        return listed(call, kind, map(describe, things), fields)
    after = _position(call.query.get("pageToken", ""))
    rest = (each for each in sorted(things, key=name) if _by_name(name(each)) > after)
    test = filters.parse(call.query.get("filter", ""), fields)
    found = list(islice(filter(test, map(describe, rest)), call.max_results + 1))
    chosen = found[: call.max_results]
    return _reply(call, kind, chosen, _token(_by_name(chosen[-1]["name"])) if len(found) > len(chosen) else None)


def aggregated(
    call: Call,
    kind: str,
    name: str,
    scopes: Sequence[str],
    things: Iterable[tuple[str, Fields]],
    fields: Collection[str],
) -> Fields:
    """One page of the list of all scopes, each thing with its scope; empty scopes say so."""
    chosen, token = _page(call, list(things), fields)
    items: dict[str, Fields] = {}
    for scope in scopes:
        inside = [each for where, each in chosen if where == scope]
        items[scope] = {name: inside} if inside else {"warning": _nothing(scope)}
    reply = _head(call, f"compute#{kind}AggregatedList") | {"items": items}
    if token:
        reply["nextPageToken"] = token
    return reply


def _reply(call: Call, kind: str, chosen: list[Fields], token: str | None) -> Fields:
    reply = _head(call, f"compute#{kind}List")
    if chosen:
        reply["items"] = chosen
    if token:
        reply["nextPageToken"] = token
    return reply


def _head(call: Call, kind: str) -> Fields:
    return {"kind": kind, "id": call.tail, "selfLink": f"{ROOT}/{call.tail}"}


def _nothing(scope: str) -> Fields:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }


def _page(
    call: Call, things: list[tuple[str, Fields]], fields: Collection[str]
) -> tuple[list[tuple[str, Fields]], str | None]:
    test = filters.parse(call.query.get("filter", ""), fields)
    ordered, is_backwards = _ordered(call, [each for each in things if test(each[1])])
    after = _position(call.query.get("pageToken", ""))
    if after:
        ordered = [each for each in ordered if (_key(call, each) < after if is_backwards else _key(call, each) > after)]
    size = call.max_results
    chosen = ordered[:size]
    return chosen, _token(_key(call, chosen[-1])) if len(ordered) > size else None


def _ordered(call: Call, things: list[tuple[str, Fields]]) -> tuple[list[tuple[str, Fields]], bool]:
    order = call.query.get("orderBy", "") or "name"
    if order not in ("name", "creationTimestamp desc"):
        raise invalid("orderBy", order, "Only 'name' and 'creationTimestamp desc' are supported.")
    is_backwards = order != "name"
    return sorted(things, key=lambda each: _key(call, each), reverse=is_backwards), is_backwards


def _key(call: Call, each: tuple[str, Fields]) -> str:
    """A place in the order that stays, whatever comes and goes: a page begins behind the last one's end."""
    scope, thing = each
    if call.query.get("orderBy", "name") == "name":
        return _by_name(thing["name"], scope)
    return f"{thing.get('creationTimestamp', thing.get('insertTime', ''))} {scope} {thing['name']}"


def _by_name(name: str, scope: str = "") -> str:
    return f" {scope} {name}"


def _token(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


def _position(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("pageToken", token, "The token is not one of a page before.") from None
