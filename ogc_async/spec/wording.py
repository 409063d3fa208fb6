"""How a problem's sentence names values, keys and near misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from ogc_async.spec.tree import Scalar

SHOWN_CHARS = 60
KEY_CHARS = 512
"""A key is told whole, to be found again: the longest that a cloud carries have 256 characters."""


def value_of(given: object) -> object:
    """The value itself, whether it comes from a file or from Python."""
    return given.value if isinstance(given, Scalar) else given


def shown(given: object) -> str:
    """A value as a reader of the file knows it, cut to a readable length."""
    value = value_of(given)
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set):
        return "a list"
    if isinstance(value, str):
        return repr(value) if len(value) <= SHOWN_CHARS else f"{value[:SHOWN_CHARS]!r}…"
    text = given.text if isinstance(given, Scalar) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'scale'?`` where a known word is near, else nothing."""
    near = get_close_matches(word.lower().replace("_", "-"), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def dotted(path: Sequence[str | int]) -> str:
    """``layouts.web.ports[1]``."""
    text = ""
    for part in path:
        name = str(part)
        name = name if name and name.isprintable() and len(name) <= KEY_CHARS else shown(name)
        text += f"[{part}]" if isinstance(part, int) else f".{name}" if text else name
    return text


def listed(words: Iterable[str], *, last: str = "or") -> str:
    """``'a', 'b' or 'c'``."""
    quoted = [repr(word) for word in words]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
