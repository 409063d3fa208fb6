"""The Query protocol's two sides: dotted parameters in, XML out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from ogc_async.sandbox.ec2.errors import Refused, invalid, missing

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
ALWAYS = {"Action", "Version", "DryRun"}
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Tree = dict[str, Any]


class Parameters:
    """The parameters of one call: ``Filter.1.Value.2=x`` is the second value of the first filter."""

    def __init__(self, tree: Tree, path: str = "") -> None:
        self._tree = tree
        self._path = path

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Parameters:
        """Read the pairs of a query or a form."""
        tree: Tree = {}
        for name, value in pairs:
            *above, last = name.split(".")
            here = tree
            for part in above:
                here = here.setdefault(part, {})
                if not isinstance(here, dict):
                    raise Refused("InvalidParameterCombination", f"The parameter {name} is given in two ways")
            here[last] = value
        return cls(tree)

    def check_known(self, names: Iterable[str]) -> None:
        """Refuse what the operation does not know: to ignore it would be a lie about its effect."""
        unknown = set(self._tree) - set(names) - ALWAYS
        if unknown:
            raise Refused("UnknownParameter", f"The parameter {min(unknown)} is not recognized")

    def __contains__(self, name: str) -> bool:
        return name in self._tree

    def text(self, name: str, default: str = "") -> str:
        """A value, or the default where it is absent."""
        value = self._tree.get(name, default)
        if not isinstance(value, str):
            raise invalid(self._path + name, "a structure")
        return value

    def required(self, name: str) -> str:
        """A value that must be there."""
        value = self.text(name)
        if not value:
            raise missing(self._path + name)
        return value

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        text = self.text(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise invalid(self._path + name, text, "It must be an integer.") from None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value."""
        text = self.text(name, str(default)).lower()
        if text not in ("true", "false", "1", "0"):
            raise invalid(self._path + name, text)
        return text in ("true", "1")

    def group(self, name: str) -> Parameters:
        """A structure; empty where it is absent."""
        value = self._tree.get(name, {})
        if not isinstance(value, dict):
            raise invalid(self._path + name, value)
        return Parameters(value, f"{self._path}{name}.")

    def texts(self, name: str) -> list[str]:
        """A list of values, in the order of their numbers; one value may go without a number."""
        if isinstance(alone := self._tree.get(name), str):
            return [alone]
        numbered = self.group(name)
        return [numbered.text(key) for key in numbered._keys()]

    def groups(self, name: str) -> list[Parameters]:
        """A list of structures, in the order of their numbers."""
        numbered = self.group(name)
        return [numbered.group(key) for key in numbered._keys()]

    def fingerprint(self, *, without: Iterable[str]) -> str:
        """Equal for calls that ask for the same."""
        ignored = set(without)
        return repr(sorted((name, _ordered(value)) for name, value in self._tree.items() if name not in ignored))

    def _keys(self) -> list[str]:
        if not all(key.isdecimal() for key in self._tree):
            raise Refused("InvalidParameterValue", f"{self._path.rstrip('.')} must be a numbered list")
        return sorted(self._tree, key=int)


def reply(operation: str, fields: Mapping[str, Any], request_id: str) -> bytes:
    """A successful reply."""
    body = _children({"requestId": request_id, **fields})
    name = f"{operation}Response"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{NAMESPACE}">{body}</{name}>'.encode()


def result_reply(operation: str, fields: Mapping[str, Any], request_id: str, namespace: str) -> bytes:
    """A successful reply as other services than EC2 frame it."""
    result, metadata = f"{operation}Result", {"RequestId": request_id}
    body = _children({result: fields, "ResponseMetadata": metadata})
    return f'<{operation}Response xmlns="{namespace}">{body}</{operation}Response>'.encode()


def error_reply(refused: Refused, request_id: str) -> bytes:
    """The reply to a call that was refused."""
    error = _children({"Code": refused.code, "Message": refused.message})
    body = f"<Errors><Error>{error}</Error></Errors><RequestID>{escape(request_id)}</RequestID>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{body}</Response>'.encode()


def timestamp(moment: datetime) -> str:
    """A time as EC2 writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _children(fields: Mapping[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in fields.items() if value is not None)


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        inside = _children(value)
    elif isinstance(value, list | tuple):
        inside = "".join(_element("item", each) for each in value)
    elif isinstance(value, bool):
        inside = str(value).lower()
    elif isinstance(value, datetime):
        inside = timestamp(value)
    else:
        inside = escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value)))
    return f"<{name}>{inside}</{name}>"


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _ordered(each)) for key, each in value.items())
    return value
