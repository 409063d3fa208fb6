"""Help that fits a screen: the commands in two columns, with a few words each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from typer.core import TyperGroup

COLUMN = 39
"""Two of these fill a terminal of 80 columns, whose last one stays free."""

UNTOLD = ("install_completion", "show_completion")
"""What Typer adds for the shells: `ogc completion` says more."""

Family = tuple[str, Sequence[str]]

LEFT: tuple[Family, ...] = (
    ("The spec's fleet", ("init", "launch", "deploy", "status", "plan", "sync", "spec")),
    ("Around it", ("reap", "sandbox", "demo", "db", "export-env", "import-env", "completion")),
)
RIGHT: tuple[Family, ...] = (
    (
        "Its nodes",
        (
            *("ls", "inspect", "exec", "exec-scripts", "ssh", "ssh-config"),
            *("push-files", "pull-files", "pull-artifacts", "extend", "rm", "rm-all"),
        ),
    ),
    ("Its key pairs", ("ls-key-pairs", "rm-key-pairs")),
)


class OgcGroup(TyperGroup):
    """The program itself."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Commands first: they are what one looks for. Options below them."""
        words = {name: each.get_short_help_str(COLUMN) for name, each in self.commands.items()}
        left, right = _lines(LEFT, words), _lines(RIGHT, words)
        has_room = formatter.width >= 2 * COLUMN
        rows = _side_by_side(left, right) if has_room else [*left, *right]
        formatter.write("\n" + "".join(f"{row}\n" for row in rows))
        options = [each.get_help_record(ctx) for each in self.get_params(ctx) if each.name not in UNTOLD]
        # A section of the library's own begins with a blank line, for which a screen has no room.
        formatter.write("Options:\n")
        with formatter.indentation():
            formatter.write_dl([each for each in options if each is not None])


def listed_commands() -> list[str]:
    """Every command of the help, in its order."""
    return [name for family in (*LEFT, *RIGHT) for name in family[1]]


def _lines(families: Sequence[Family], words: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for title, names in families:
        lines += [f"{title}:", *(f"  {name:<14} {words[name]}" for name in names if name in words)]
    return lines


def _side_by_side(left: Sequence[str], right: Sequence[str]) -> list[str]:
    return [f"{one:<{COLUMN}}{other}".rstrip() for one, other in zip_longest(left, right, fillvalue="")]
