"""The program's entry: runs the command line and turns what went wrong into one message and an exit code."""

from __future__ import annotations

import sys

from ogc_async.cli.commands import cli
from ogc_async.errors import NotRunning, OgcError, SettingsError, SpecError, UnknownNode

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_MATCHED = 3
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run ``ogc`` on this process's arguments."""
    try:
        cli()
    except OgcError as error:
        print(f"ogc: {error}", file=sys.stderr)  # noqa: T201  # the program's own voice
        sys.exit(exit_code(error))
    except SystemExit as ended:
        # Typer has made it of a KeyboardInterrupt, without a word.
        if ended.code == EXIT_INTERRUPTED:
            print("ogc: interrupted; `ogc ls` shows what is on record", file=sys.stderr)  # noqa: T201
        raise


def exit_code(error: OgcError) -> int:
    """2 where the spec or the settings are wrong, 3 where no node matches, else 1."""
    if isinstance(error, SettingsError | SpecError):
        return EXIT_USAGE
    return EXIT_NOTHING_MATCHED if isinstance(error, UnknownNode | NotRunning) else EXIT_FAILED
