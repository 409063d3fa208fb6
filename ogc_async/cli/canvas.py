"""Pictures of what is printed, in a file: SVG or HTML, by the file's ending."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ogc_async.errors import SettingsError

WIDEST = 240
NARROWEST = 60
KINDS = (".svg", ".html")


def export(path: Path, draw: Callable[[Console], None], title: str = "ogc") -> None:
    """Draw into the file, as wide as what is drawn. Raises ``SettingsError`` where it can not be written."""
    kind = kind_of(path)
    console = _console(min(max(_width_of(draw), NARROWEST), WIDEST))
    draw(console)
    write(path, console.export_svg(title=title) if kind == ".svg" else console.export_html())


def kind_of(path: Path) -> str:
    """``.svg`` or ``.html``. Raises ``SettingsError`` for any other ending."""
    if path.suffix not in KINDS:
        raise SettingsError(f"--export {path}: write a file that ends in .svg or .html")
    return path.suffix


def write(path: Path, text: str) -> None:
    """Write the file."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--export {path}: can not be written: {error.strerror}") from None


def _width_of(draw: Callable[[Console], None]) -> int:
    console = Console(file=io.StringIO(), width=WIDEST, color_system=None)
    draw(console)
    file = console.file
    assert isinstance(file, io.StringIO)  # noqa: S101  # it was made so
    return max((len(each.rstrip()) for each in file.getvalue().splitlines()), default=0)


def _console(width: int) -> Console:
    return Console(file=io.StringIO(), record=True, width=width, force_terminal=True, highlight=False)
