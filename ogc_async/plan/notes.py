"""What a sync leaves as it is, and whoever reads its plan may not have meant so: a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from ogc_async.plan.ends import life_of
from ogc_async.spec import Layout
from ogc_async.types import NodeSnapshot


def find_notes(
    layouts: Sequence[Layout], staying: Sequence[NodeSnapshot], satisfied: Mapping[str, int], strangers: int
) -> tuple[str, ...]:
    """The notes on nodes that stay.

    ``satisfied`` counts those that their ttl ended, by layout; ``strangers`` are so many machines of other databases.
    """
    notes = [*_of_layouts(layouts, staying, satisfied)] if layouts else []
    if strangers:
        notes.append(
            f"{_count(strangers, 'machine')} with your tag {_verb(strangers)} of another database, or of a lost one: "
            "`ogc reap --dry-run` lists them"
        )
    return tuple(notes)


def _of_layouts(
    layouts: Sequence[Layout], staying: Sequence[NodeSnapshot], satisfied: Mapping[str, int]
) -> Iterable[str]:
    for layout in layouts:
        if ended := satisfied.get(layout.name, 0):
            yield f"{layout.name}: its ttl ended {_count(ended, 'node')}; `ogc launch {layout.name}` launches it again"
        lives = Counter(life_of(node) for node in staying if node.layout == layout.name)
        for life, count in lives.items():
            if life != layout.ttl:
                yield (
                    f"{layout.name}: {_count(count, 'node')} {_verb(count, 'keeps', 'keep')} {_life(life)}, as it was"
                    f" launched with; the spec says {_life(layout.ttl)}: `ogc extend` puts an end off, `ogc rm` ends it"
                )
    known = {layout.name for layout in layouts}
    for name, count in sorted(Counter(node.layout for node in staying if node.layout not in known).items()):
        nodes = f"{_count(count, 'node')} {_verb(count)}"
        yield f"{nodes} of {name}, which is no layout of the spec: `ogc rm --layout {name}` ends what is left"


def _life(life: timedelta | None) -> str:
    if life is None:
        return "no ttl"
    then = str(getattr(life, "then", "end"))
    return f"a ttl of {life}" + ("" if then == "end" else f", then {then}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _verb(number: int, one: str = "is", many: str = "are") -> str:
    return one if number == 1 else many
