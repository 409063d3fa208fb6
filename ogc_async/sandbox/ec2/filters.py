"""Filters and pages, as every describing operation takes them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from ogc_async.sandbox.ec2.errors import Refused, invalid
from ogc_async.sandbox.ec2.wire import Parameters

MAX_VALUES = 200

T = TypeVar("T")

Field = Callable[[T], Iterable[str]]


def select(
    things: Iterable[T], parameters: Parameters, fields: Mapping[str, Field[T]], tags: Callable[[T], Mapping[str, str]]
) -> list[T]:
    """Those that every filter lets through; a filter's values are alternatives, with ``*`` and ``?`` as wildcards."""
    tests = [_test(each, fields, tags) for each in parameters.groups("Filter")]
    return [thing for thing in things if all(test(thing) for test in tests)]


def page(things: Sequence[T], parameters: Parameters, *, smallest: int, largest: int) -> tuple[list[T], str | None]:
    """One page of these, and the token for the next one, if there is one."""
    start = _position(parameters.text("NextToken"))
    if "MaxResults" not in parameters:
        return list(things[start:]), None
    size = parameters.number("MaxResults", largest)
    if not smallest <= size <= largest:
        raise invalid("MaxResults", size, f"It must be between {smallest} and {largest}.")
    end = start + size
    return list(things[start:end]), _token(end) if end < len(things) else None


def _test(
    group: Parameters, fields: Mapping[str, Field[T]], tags: Callable[[T], Mapping[str, str]]
) -> Callable[[T], bool]:
    name, values = group.required("Name"), group.texts("Value")
    if not values:
        raise Refused("InvalidParameterValue", f"The filter '{name}' has no values")
    if len(values) > MAX_VALUES:
        raise Refused(
            "FilterLimitExceeded", f"The maximum number of filter values specified on a single call is {MAX_VALUES}"
        )
    field = _field(name, fields, tags)
    exact = {value for value in values if not re.search(r"[*?\\]", value)}
    patterns = [_pattern(value) for value in values if value not in exact]
    return lambda thing: any(
        found in exact or any(pattern.fullmatch(found) for pattern in patterns) for found in field(thing)
    )


def _field(name: str, fields: Mapping[str, Field[T]], tags: Callable[[T], Mapping[str, str]]) -> Field[T]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda thing: (value for value in (tags(thing).get(key),) if value is not None)
    if name == "tag-key":
        return lambda thing: tags(thing)
    if name not in fields:
        raise Refused("InvalidParameterValue", f"The filter '{name}' is invalid")
    return fields[name]


@lru_cache(maxsize=1024)
def _pattern(value: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", value, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _token(position: int) -> str:
    return base64.urlsafe_b64encode(f"from {position}".encode()).decode()


def _position(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token).decode().removeprefix("from "))
    except ValueError:
        raise Refused("InvalidParameterValue", f"Invalid value '{token}' for NextToken") from None
