"""The ``fields`` parameter: a part of the reply.

Source: https://developers.google.com/workspace/drive/api/guides/fields-parameter (the same for all of Google's APIs)
"""

from __future__ import annotations

import re
from typing import Any

from ogc_async.sandbox.compute.errors import Refused

TOKEN = re.compile(r"\s*([\w*-]+|[(),/])\s*")

Mask = dict[str, Any]


def select(reply: dict[str, Any], text: str) -> dict[str, Any]:
    """What the mask lets through. Raises :class:`Refused` for what is no mask."""
    if not text:
        return reply
    tokens = TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise _bad(text)
    tokens.reverse()
    mask = _masks(tokens, text)
    if tokens:
        raise _bad(text)
    selected: dict[str, Any] = _selected(reply, mask)
    return selected


def _masks(tokens: list[str], text: str) -> Mask:
    mask: Mask = {}
    while True:
        _add(mask, tokens, text)
        if not tokens or tokens[-1] != ",":
            return mask
        tokens.pop()


def _add(mask: Mask, tokens: list[str], text: str) -> None:
    if not tokens or tokens[-1] in "(),/":
        raise _bad(text)
    inner = mask.setdefault(tokens.pop(), {})
    if tokens and tokens[-1] == "/":
        tokens.pop()
        _add(inner, tokens, text)
    elif tokens and tokens[-1] == "(":
        tokens.pop()
        inner.update(_masks(tokens, text))
        if not tokens or tokens.pop() != ")":
            raise _bad(text)


def _selected(thing: Any, mask: Mask) -> Any:
    if not mask:
        return thing
    if isinstance(thing, list):
        return [_selected(each, mask) for each in thing]
    if not isinstance(thing, dict):
        return thing
    chosen = {}
    for name, value in thing.items():
        for wanted in (name, "*"):
            if wanted in mask:
                chosen[name] = _selected(value, mask[wanted])
                break
    return chosen


def _bad(text: str) -> Refused:
    return Refused("invalidParameter", f"Invalid field selection {text}", status=400)
