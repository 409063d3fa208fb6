"""The two streams as rich writes them, and what may be said on each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from rich.console import Console

from ogc_async.cli.invocation import EXIT_FAILED, EXIT_WELL, FORMAT, current

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)
if not out.is_terminal:
    # Who reads a file or a pipe wants every word; only a window has an edge.
    out.width = 1000


def answer(body: Mapping[str, object], show: Callable[[], None], *, ok: bool = True) -> int:
    """Say what came of a command, as one JSON document or as people read it; returns the exit code."""
    code = EXIT_WELL if ok else EXIT_FAILED
    if current.is_json:
        document = {"format": FORMAT, "command": current.command, "ok": ok, "exit_code": code, **body}
        print(json.dumps(document, ensure_ascii=False))  # noqa: T201  # the one document
    else:
        show()
    return code


def line(text: str, style: str = "") -> None:
    """One plain line on stdout."""
    out.print(text, style=style, markup=False)


def complain(text: str, style: str = "red") -> None:
    """One plain line on stderr."""
    err.print(text, style=style, markup=False)
