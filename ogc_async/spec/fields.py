"""What each kind of value in a spec may be: from what was written to what it means, or a sentence why not."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationInfo

from ogc_async.spec.tree import Scalar
from ogc_async.spec.wording import did_you_mean, listed, shown, value_of
from ogc_async.types import Port, Then, Ttl

MAX_TEXT = 1024
MAX_DURATION = timedelta(days=120)
"""The longest life that Compute Engine lets a machine be limited to (``maxRunDuration``)."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_TIME_S = 1e12
"""Beyond every duration that is meant, and what a float still holds: YAML has numbers of any length."""
_JUMP_HOST = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*@(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_DISK = re.compile(r"(\d{1,7})\s*(?:([gt])(?:i?b)?)?", re.IGNORECASE)
_PORT = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_LAYOUT_NAME = re.compile("[a-z][a-z0-9-]{0,39}")
_PORT_FORMS = "write a port such as 80, '8000-8100' or '53/udp'"

_LIFE = ("after", "then")
_THEN_HINTS = {
    "delete": "end",
    "terminate": "end",
    "remove": "end",
    "restart": "replace",
    "renew": "replace",
    "halt": "stop",
}

T = TypeVar("T")
Reader = Callable[[object], object]


class Unfit(ValueError):
    """A value is not what its key takes; the message says what it takes."""


def optional(read: Reader) -> Reader:
    """Nothing stays nothing; anything else is read by ``read``."""
    return lambda given: None if value_of(given) is None else read(given)


def text(given: object) -> str:
    """Text of one line."""
    value = value_of(given)
    if not isinstance(value, str):
        quoted = "" if value is None or isinstance(value, list | tuple | Mapping) else "; put it in quotes"
        raise Unfit(f"must be text, not {shown(given)}{quoted}")
    if not value.strip():
        raise Unfit("must not be empty")
    if len(value) > MAX_TEXT:
        raise Unfit(f"must be at most {MAX_TEXT} characters, not {len(value)}")
    if not value.isprintable():
        raise Unfit(f"must be one line without control characters, not {shown(value)}")
    return value


def matching(pattern: str, meaning: str) -> Reader:
    """Text that ``pattern`` describes as a whole; ``meaning`` says so in words."""
    wanted = re.compile(pattern)

    def read(given: object) -> str:
        value = text(given)
        if not wanted.fullmatch(value):
            raise Unfit(f"must be {meaning}, not {shown(value)}")
        return value

    return read


def as_text(given: object) -> str:
    """A single value as text: ``1.10`` and ``true`` just as they are written."""
    value = value_of(given)
    if value is None or isinstance(value, list | tuple | Mapping):
        raise Unfit(f"must be text, not {shown(given)}")
    written = value if isinstance(value, str) else shown(given)
    if written and not written.isprintable():
        raise Unfit(f"must be one line without control characters, not {shown(written)}")
    if len(written) > MAX_TEXT:
        raise Unfit(f"must be at most {MAX_TEXT} characters, not {len(written)}")
    return written


def choice(known: tuple[str, ...], synonyms: Mapping[str, str], hints: Mapping[str, str]) -> Reader:
    """One of ``known``, or a synonym of one; ``hints`` lead from wrong words to right ones."""

    def read(given: object) -> str:
        value = value_of(given)
        if not isinstance(value, str) or value not in (*known, *synonyms):
            word = value.lower() if isinstance(value, str) else ""
            hint = f"; did you mean {hints[word]!r}?" if word in hints else did_you_mean(word, known)
            raise Unfit(f"must be {listed(known)}, not {shown(given)}{hint}")
        return synonyms.get(value, value)

    return read


def whole(low: int, high: int) -> Reader:
    """A whole number from ``low`` to ``high``."""

    def read(given: object) -> int:
        value = value_of(given)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unfit(f"must be a whole number from {low} to {high}, not {shown(given)}")
        return value

    return read


def flag(given: object) -> bool:
    """True or false."""
    value = value_of(given)
    if not isinstance(value, bool):
        raise Unfit(f"must be true or false, not {shown(given)}")
    return value


def several(given: object) -> object:
    """A list; a single value stands for a list of one."""
    if isinstance(given, Mapping) or value_of(given) is None:
        raise Unfit(f"must be a list, not {shown(given)}")
    return given if isinstance(given, list | tuple) else [given]


def without_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each value once, in order: a cloud refuses a firewall rule that is given twice."""
    return tuple(dict.fromkeys(values))


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """At least one value."""
    if not values:
        raise Unfit("must not be an empty list: nothing could reach the nodes, SSH neither; name a network")
    return values


def duration(shortest_s: float) -> Callable[[object], timedelta]:
    """A time of ``shortest_s`` or more: seconds, or numbers with the units s, m, h and d."""

    def read(given: object) -> timedelta:
        value = value_of(given)
        seconds = value.total_seconds() if isinstance(value, timedelta) else _seconds(value)
        if seconds is None or math.isnan(seconds):
            raise Unfit(f"must be a time such as 90 (seconds), 30m, 4h or 2d, not {shown(given)}")
        if not shortest_s <= seconds <= MAX_DURATION.total_seconds():
            raise Unfit(f"must be a time from {shortest_s:g}s to {MAX_DURATION.days}d, not {shown(given)}")
        return timedelta(seconds=seconds)

    return read


SHORTEST_LIFE_S = 30
"""The shortest life that Compute Engine lets a machine be limited to."""


def ttl(given: object) -> Ttl:
    """A machine's life: a time, or a time ``after`` which it ends, and what happens ``then``."""
    if isinstance(given, Ttl):
        return given
    if not isinstance(given, Mapping):
        return Ttl.of(duration(SHORTEST_LIFE_S)(given))
    keys = {str(value_of(key)): value for key, value in given.items()}
    for key in keys:
        if key not in _LIFE:
            raise Unfit(f"has no key {shown(key)}, only after and then{did_you_mean(key, _LIFE)}")
    if "after" not in keys:
        raise Unfit("needs the key after: a time such as 4h")
    return Ttl.of(
        _part("after", duration(SHORTEST_LIFE_S), keys["after"]),
        Then(str(_part("then", choice(tuple(each.value for each in Then), {}, _THEN_HINTS), keys.get("then", "end")))),
    )


def _part(key: str, read: Callable[[object], T], given: object) -> T:
    try:
        return read(given)
    except Unfit as error:
        raise Unfit(f"{key}: {error}") from None


def seconds(given: object) -> float:
    """A time of a second or more, in seconds."""
    return duration(1)(given).total_seconds()


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return math.inf if abs(value) > _NO_TIME_S else float(value)
    if not isinstance(value, str):
        return None
    written = value.strip().lower().replace(" ", "")
    if written.isascii() and written.isdigit():
        return float(written)
    if not _DURATION.fullmatch(written):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(written))


def disk_size(given: object) -> int:
    """A disk's size in GiB: ``50``, ``50GiB``, ``50GB`` (which clouds count in GiB too) or ``1TiB``."""
    value = value_of(given)
    match = _DISK.fullmatch(str(value).strip()) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool):
        raise Unfit(f"must be a disk's size in GiB, such as 50 or 50GiB, not {shown(given)}")
    size_gib = int(match[1]) * (1024 if (match[2] or "g").lower() == "t" else 1)
    if not 1 <= size_gib <= 65536:
        raise Unfit(f"must be from 1 to 65536 GiB, not {shown(given)}")
    return size_gib


def port(given: object) -> Port:
    """A port or a range of ports; ``80:80`` is 80, and any other mapping is refused."""
    value = value_of(given)
    if isinstance(value, Port):
        value = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Unfit(f"must be a port, not {shown(given)}; {_PORT_FORMS}")
    span, slash, protocol = str(value).strip().partition("/")
    if slash and protocol.lower() not in ("tcp", "udp"):
        raise Unfit(f"{shown(value)}: the protocol must be tcp or udp; {_PORT_FORMS}")
    first, last = _span(_unmapped(span, value), value)
    return Port(first, last, protocol.lower() or "tcp")


def _unmapped(span: str, value: object) -> str:
    outside, colon, inside = span.partition(":")
    if colon and outside != inside:
        raise Unfit(
            f"{shown(value)} maps one port to another, and a machine has no port mapping;"
            f" write the port that the program listens on, {shown(inside or outside)}"
        )
    return outside


def _span(span: str, value: object) -> tuple[int, int]:
    match = _PORT.fullmatch(span)
    if match is None or not span.isascii():
        raise Unfit(f"must be a port, not {shown(value)}; {_PORT_FORMS}")
    first, last = int(match[1]), int(match[2] or match[1])
    if not (1 <= first <= 65535 and 1 <= last <= 65535):
        raise Unfit(f"{shown(value)}: a port is a number from 1 to 65535")
    if first > last:
        raise Unfit(f"{shown(value)}: the first port of a range is its lower one; write '{last}-{first}'")
    return first, last


def network(given: object) -> str:
    """An IPv4 or IPv6 network in CIDR notation; an address alone is a network of one."""
    value = text(given).strip()
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise Unfit(f"must be a network such as 10.0.0.0/8, not {shown(value)}{_masked(value)}") from None


def _masked(value: str) -> str:
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return ""
    return f", which is an address inside of one; did you mean '{meant}'?"


def remote_path(given: object) -> str:
    """A folder on a node that is the program's to fill: below the login home, or absolute."""
    value = text(given)
    path = PurePosixPath(value)
    if value.startswith("~"):
        raise Unfit(f"starts in the login user's home by itself; write {shown(value.lstrip('~/') or 'ogc')}")
    if ".." in path.parts:
        raise Unfit(f"must not contain '..', as {shown(value)} does")
    if str(path) in (".", "/", "//"):
        raise Unfit(f"must be a folder of its own, such as 'ogc', not {shown(value)}")
    return str(path)


def local_path(given: object, info: ValidationInfo) -> Path:
    """An absolute path; a relative one starts in the folder of the file it is written in, ``~`` in the user's home."""
    value = value_of(given)
    path = value if isinstance(value, Path) else Path(_path_text(value))
    context = info.context if isinstance(info.context, Mapping) else {}
    folder = given.mark.folder if isinstance(given, Scalar) else context.get("folder") or Path.cwd()
    try:
        return Path(os.path.normpath(folder / path.expanduser()))
    except RuntimeError:
        raise Unfit(f"{shown(str(path))}: there is no such user's home") from None


def _path_text(value: object) -> str:
    """Text that can be a path: a folder's own name may hold what no other text of a spec may."""
    if not isinstance(value, str):
        raise Unfit(f"must be a path, not {shown(value)}")
    if not value.strip() or "\0" in value:
        raise Unfit(f"must be a path, not {shown(value)}")
    return value


def gate(given: object) -> object:
    """A node's gate: keys and values, or one of the two words that need none."""
    if isinstance(given, Mapping):
        return given
    words: dict[str, dict[str, object]] = {"ssh": {}, "cloud-init": {"cloud-init": True}}
    value = value_of(given)
    if isinstance(value, str):
        if value not in words:
            raise Unfit(f"must be ssh, cloud-init, or keys and values, not {shown(given)}")
        return words[value]
    if value is None or isinstance(value, bool | int | float | list | tuple):
        raise Unfit(f"must be ssh, cloud-init, or keys and values, not {shown(given)}")
    return value


def jump_host(given: object) -> str:
    """``user@host`` or ``user@host:port``."""
    value = text(given)
    if not _JUMP_HOST.fullmatch(value):
        raise Unfit(f"must be user@host or user@host:port, not {shown(value)}")
    return value


def optional_path(given: object, info: ValidationInfo) -> Path | None:
    """Nothing, or what :func:`local_path` reads."""
    return None if value_of(given) is None else local_path(given, info)


def layout_name(given: object) -> str:
    """A name that node names of every cloud can begin with."""
    value = text(given)
    if not _LAYOUT_NAME.fullmatch(value):
        raise Unfit(
            f"{shown(value)} can not name a layout: nodes are named after it, in every cloud, so it must begin with a"
            " lowercase letter, hold only lowercase letters, digits and '-', and have at most 40 characters"
        )
    return value
