"""The program's entry: runs the command line, says what went wrong in one message, and exits with its code."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from ogc_async.cli.commands import cli
from ogc_async.cli.invocation import EXIT_INTERRUPTED, EXIT_WELL, current
from ogc_async.cli.mistakes import Interrupted, error_document, exit_code, message_of
from ogc_async.errors import OgcError

OBJECTS_A_COLLECTION = 100_000
"""Importing makes 150,000 objects that all stay; Python's own 700 would have it look at them over and over."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``ogc`` on these arguments, or this process's, and exit."""
    gc.set_threshold(OBJECTS_A_COLLECTION)
    # At the end the process gives everything back at once: nothing has to be looked for.
    atexit.register(gc.freeze)
    words = list(sys.argv[1:] if arguments is None else arguments)
    # An error of the command line itself is told before its options are known.
    current.is_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    sys.exit(run(words))


def run(words: Sequence[str]) -> int:
    """Run one command line; returns its exit code, once all that is to be said is said."""
    try:
        code = program().main(list(words), prog_name="ogc", standalone_mode=False)
    except (OgcError, typer.TyperException, typer.Abort, Interrupted) as error:
        return _tell(error)
    if code == EXIT_INTERRUPTED:
        # Typer has made it of a KeyboardInterrupt, without a word.
        return _tell(Interrupted("interrupted; `ogc ls` shows what is on record"))
    return code if isinstance(code, int) else EXIT_WELL


@cache
def program() -> Any:
    """All commands with their options, as Typer reads them from the functions: it takes 0.02 s, once a process."""
    return typer.main.get_command(cli)


def _tell(error: BaseException) -> int:
    said = json.dumps(error_document(error)) if current.is_json else f"ogc: {message_of(error)}"
    print(said, file=sys.stderr)  # noqa: T201  # the program's own voice
    return exit_code(error)
