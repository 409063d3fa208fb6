"""The ``filter`` parameter: AIP-160 as far as Compute Engine's clients use it, and the older regular expressions.

Sources: the parameter's description in the discovery document of compute.v1; https://google.aip.dev/160
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ogc_async.sandbox.compute.errors import Refused

TOKEN = re.compile(
    r"""\s*(?:
        (?P<paren>[()])
      | (?P<op>!=|<=|>=|=|<|>|:)
      | "(?P<double>(?:\\.|[^"\\])*)"
      | '(?P<single>(?:\\.|[^'\\])*)'
      | (?P<word>[^\s()"'=!<>:]+)
    )""",
    re.VERBOSE,
)
OLD = re.compile(r"""\s*([\w.-]+)\s+(eq|ne)\s+(?:"([^"]*)"|'([^']*)'|(\S+))\s*""")
FIELD = re.compile(r"[a-zA-Z][\w-]*(\.[\w-]+)*")

Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def parse(text: str, fields: Collection[str]) -> Test:
    """The filter as a test of a described resource; its fields begin with one of these. Raises :class:`Refused`."""
    if not text.strip():
        return lambda _: True
    tests = _old(text, fields)
    if tests is not None:
        return lambda thing: all(test(thing) for test in tests)
    return _Parser(text, fields).parse()


def _bad(text: str) -> Refused:
    return Refused("invalid", f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")


def _old(text: str, fields: Collection[str]) -> list[Test] | None:
    """``a eq regex``, or several in parentheses; ``None`` where it is not of that form."""
    stripped = text.strip()
    if not stripped.startswith("("):
        match = OLD.fullmatch(stripped)
        return [_old_test(match, text, fields)] if match else None
    parts = re.findall(r"\(((?:\"[^\"]*\"|'[^']*'|[^()\"'])*)\)", stripped)
    matches = [OLD.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        return None
    if re.sub(r"\s", "", stripped) != re.sub(r"\s", "", "".join(f"({part})" for part in parts)):
        return None
    return [_old_test(match, text, fields) for match in matches if match]


def _old_test(match: re.Match[str], text: str, fields: Collection[str]) -> Test:
    path = _path(match[1], text, fields)
    try:
        pattern = re.compile(match[3] or match[4] or match[5] or "")
    except re.error:
        raise _bad(text) from None
    is_equal = match[2] == "eq"
    return lambda thing: any(bool(pattern.fullmatch(value)) for value in _values(thing, path) or [""]) == is_equal


class _Parser:
    """A descent through the expression; OR binds tighter than AND, as in AIP-160."""

    def __init__(self, text: str, fields: Collection[str]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = self._split()
        self._at = 0

    def parse(self) -> Test:
        test = self._all()
        if self._at != len(self._tokens):
            raise _bad(self._text)
        return test

    def _split(self) -> list[_Token]:
        tokens, at, end = [], 0, len(self._text.rstrip())
        while at < end:
            match = TOKEN.match(self._text, at)
            if match is None:
                raise _bad(self._text)
            kind = match.lastgroup or ""
            text = match[kind]
            if kind in ("double", "single"):
                kind, text = "quoted", re.sub(r"\\(.)", r"\1", text)
            tokens.append(_Token(kind, text))
            at = match.end()
        return tokens

    def _all(self) -> Test:
        tests = [self._any()]
        while self._at < len(self._tokens) and not self._is("paren", ")"):
            if self._is("word", "AND"):
                self._at += 1
            tests.append(self._any())
        return lambda thing: all(test(thing) for test in tests)

    def _any(self) -> Test:
        tests = [self._one()]
        while self._is("word", "OR"):
            self._at += 1
            tests.append(self._one())
        return lambda thing: any(test(thing) for test in tests)

    def _one(self) -> Test:
        token = self._next()
        if token == _Token("paren", "("):
            test = self._all()
            if self._next() != _Token("paren", ")"):
                raise _bad(self._text)
            return test
        if token.kind != "word" or token.text in ("AND", "OR", "NOT"):
            raise _bad(self._text)
        path = _path(token.text, self._text, self._fields)
        operator, value = self._next(), self._next()
        if operator.kind != "op" or value.kind not in ("word", "quoted"):
            raise _bad(self._text)
        return self._comparison(path, operator.text, value)

    def _comparison(self, path: tuple[str, ...], operator: str, value: _Token) -> Test:
        wanted = value.text
        is_bare = value.kind == "word"
        if operator == ":" and is_bare and wanted == "*":
            return lambda thing: bool(_values(thing, path))
        if is_bare and ("*" in wanted or wanted in ("AND", "OR")):
            raise _bad(self._text)
        if operator == "=":
            return lambda thing: wanted in _values(thing, path)
        if operator == "!=":
            return lambda thing: wanted not in _values(thing, path)
        if operator == ":":
            return lambda thing: any(wanted in each for each in _values(thing, path))
        raise _bad(self._text)

    def _is(self, kind: str, text: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] == _Token(kind, text)

    def _next(self) -> _Token:
        if self._at >= len(self._tokens):
            raise _bad(self._text)
        self._at += 1
        return self._tokens[self._at - 1]


def _path(name: str, text: str, fields: Collection[str]) -> tuple[str, ...]:
    parts = _parts(name)
    if parts[0] not in fields:
        raise _bad(text)
    return parts


@lru_cache(maxsize=1024)
def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")) if FIELD.fullmatch(name) else ("",)


def _values(thing: Any, path: tuple[str, ...]) -> list[str]:
    """What stands there, as text; of a list, each element's."""
    if isinstance(thing, list):
        return [value for each in thing for value in _values(each, path)]
    if not path:
        if isinstance(thing, Mapping):
            return ["{}"] if thing else []
        return [str(thing).lower() if isinstance(thing, bool) else str(thing)]
    if not isinstance(thing, Mapping) or path[0] not in thing:
        return []
    return _values(thing[path[0]], path[1:])
