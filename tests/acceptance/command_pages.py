"""The README's section about commands, made of the program's own help texts: `make readme` writes it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ogc_async.cli.commands import cli
from ogc_async.cli.help import listed_commands

README = Path(__file__).parents[2] / "README.md"
SECTION = re.compile(r"(?<=<!-- commands -->\n).*?(?=<!-- /commands -->)", re.DOTALL)
WIDTH = 80


def command_section() -> str:
    """What stands between the marks: the program's help, then each command's."""
    program = typer.main.get_command(cli)
    pages = [page for name in listed_commands() for page in _pages(program, name)]
    details = "\n\n".join(f"```text\n$ {path} --help\n{text}\n```" for path, text in pages)
    return (
        f"```text\n$ ogc --help\n{_help(program, 'ogc')}\n```\n\n"
        f"<details>\n<summary>Every command and its options</summary>\n\n{details}\n\n</details>\n"
    )


def help_pages() -> list[tuple[str, str]]:
    """Every command's path and help text, the program's own first."""
    program = typer.main.get_command(cli)
    return [("ogc", _help(program, "ogc")), *(page for name in listed_commands() for page in _pages(program, name))]


def _pages(program: Any, name: str) -> Iterator[tuple[str, str]]:
    command = program.commands.get(name)
    if command is None or name == "sandbox":
        # The sandbox has a help of its own, and a section.
        return
    for inner, each in getattr(command, "commands", {"": command}).items():
        path = f"ogc {name} {inner}".rstrip()
        yield path, _help(each, path)


def _help(command: Any, path: str) -> str:
    context = command.context_class(command, info_name=path, terminal_width=WIDTH - 2, max_content_width=WIDTH)
    text: str = command.get_help(context)
    return "\n".join(line.rstrip() for line in text.splitlines())


if __name__ == "__main__":
    README.write_text(SECTION.sub(lambda _: command_section(), README.read_text(encoding="utf-8")), encoding="utf-8")
