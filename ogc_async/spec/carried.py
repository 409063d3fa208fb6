"""What tags and labels may be: machines carry them as they are written, so what their cloud would not take is refused.

A layout on record is of a machine that exists: its tags and labels are read as they are (``ON_RECORD``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping

from pydantic import ValidationInfo

from ogc_async.spec.fields import Unfit, as_text, text
from ogc_async.spec.wording import shown
from ogc_async.types.carried import COMPUTE_ENGINE, EC2, Room, packed
from ogc_async.types.launch import TAG_ENDS

ON_RECORD = "is_on_record"
"""The key of a validation's context that says so of a layout."""

_RESERVED = ("ogc:", "ogc-", "ogc_", "aws:")
_ROOMS: Mapping[object, tuple[str, Room]] = {"aws": ("EC2", EC2), "google": ("Compute Engine", COMPUTE_ENGINE)}
_LETTERS = frozenset({"Ll", "Lo"})
"""Unicode's categories of lowercase letters, and of letters that have no case: Compute Engine takes both."""


def tag(given: object, info: ValidationInfo) -> str:
    """A single value as text that is not empty, and that a machine can carry whole."""
    value = text(as_text(given))
    return _checked(value, "a tag", info)


def label_key(given: object, info: ValidationInfo) -> str:
    """A label's name; those that begin like our own tags are ours."""
    value = text(as_text(given))
    if value.lower().startswith(_RESERVED):
        raise Unfit(f"{shown(value)}: labels that begin so are kept for the cloud's and this program's own use")
    return _checked(value, "a label's key", info, is_key=True)


def label_value(given: object, info: ValidationInfo) -> str:
    """A label's value, which may be empty."""
    return _checked(as_text(given), "a label's value", info)


def check_room(tags: Iterable[str], labels: Collection[str], info: ValidationInfo, *, has_end: bool = False) -> None:
    """Refuse more than a machine can carry beside what this program writes there: its end, too, if ``has_end``."""
    cloud, room = _room(info)
    if room is None:
        return
    ours = room.ours | ({TAG_ENDS} if has_end else frozenset())
    count = len({*ours, *packed(tags, room), *labels})
    if count > room.entries:
        things = "tags" if room is EC2 else "labels"
        raise Unfit(
            f"a machine would carry {count} {things}, {len(ours)} of them this program's own,"
            f" and {cloud} takes at most {room.entries}; leave out {count - room.entries}"
        )


def _checked(value: str, kind: str, info: ValidationInfo, *, is_key: bool = False) -> str:
    cloud, room = _room(info)
    if room is None:
        return value
    longest = room.key_chars if is_key else room.value_chars
    if room is COMPUTE_ENGINE and not _is_legal(value, is_key=is_key):
        raise Unfit(f"{shown(value)}: {_rule(kind, longest, is_key=is_key)}; {_instead(value, longest, is_key=is_key)}")
    if len(value) > longest:
        raise Unfit(f"{shown(value)} has {len(value)} characters; {cloud} takes {kind} of at most {longest}")
    return value


def _room(info: ValidationInfo) -> tuple[str, Room | None]:
    """The layout's cloud and what that takes; nothing where the layout is on record, or its cloud is not known."""
    context = info.context if isinstance(info.context, Mapping) else {}
    return ("", None) if context.get(ON_RECORD) else _ROOMS.get(info.data.get("provider"), ("", None))


def _rule(kind: str, longest: int, *, is_key: bool) -> str:
    first = " that begins with a letter" if is_key else ""
    return f"Compute Engine takes {kind} of at most {longest} lowercase letters, digits, '-' and '_'{first}"


def _instead(value: str, longest: int, *, is_key: bool) -> str:
    legal = "".join(each if _is_legal(each) else "-" for each in value.lower())
    if is_key and (legal.startswith(_RESERVED) or not _is_legal(legal, is_key=True)):
        legal = f"x-{legal}"
    return f"write {legal!r}" if len(legal) <= longest else f"this has {len(value)} characters"


def _is_legal(value: str, *, is_key: bool = False) -> bool:
    kinds = [unicodedata.category(each) for each in value]
    if is_key and kinds[0] not in _LETTERS:
        return False
    return all(
        kind in _LETTERS or kind.startswith("N") or each in "-_" for each, kind in zip(value, kinds, strict=True)
    )
