"""``ogc``: the verbs as a program. Prints, asks and chooses the exit code; all else is done below."""

from ogc_async.cli.main import main

__all__ = ["main"]
