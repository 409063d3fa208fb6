"""Several files made one: mappings merge deeply, single values and lists replace, ``{}`` removes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from ogc_async.spec.tree import Entry, Table


def merge_all(tables: Iterable[Table]) -> Table:
    """Merge from left to right; every value keeps the place where it was written."""
    return reduce(merge, tables)


def merge(base: Table, over: Table) -> Table:
    """``base`` with what ``over`` says on top.

    A key whose value is ``{}`` in ``over`` is removed where ``base`` has it, and is an empty mapping where not. Keys
    of ``base`` keep their order; new ones follow.
    """
    entries = dict(base.entries)
    for name, entry in over.entries.items():
        merged = _entry(entries.get(name), entry)
        if merged is None:
            del entries[name]
        else:
            entries[name] = merged
    return Table(entries, base.mark)


def _entry(base: Entry | None, over: Entry) -> Entry | None:
    """The entry that results; None: removed."""
    if base is None or not isinstance(over.value, Table):
        return over
    if not over.value.entries:
        return None
    if isinstance(base.value, Table):
        return Entry(base.key, merge(base.value, over.value))
    return over
