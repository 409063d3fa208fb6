"""What went wrong, as the program tells it: its exit code, one message, and a JSON document of both."""

from __future__ import annotations

import re
from datetime import datetime

import typer

from ogc_async.cli.invocation import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_MATCHED,
    EXIT_USAGE,
    FORMAT,
    current,
)
from ogc_async.errors import (
    AmbiguousNode,
    HandoverError,
    NotConfirmed,
    NothingMatched,
    NotRunning,
    OgcError,
    SettingsError,
    SpecError,
    UnknownNode,
)

POSSIBLE = re.compile(r" \(Possible options: ([^)]*)\)")
"""How Typer says what else an option could have been."""


class Interrupted(Exception):
    """Work was stopped by its user; the message says what remains."""


def exit_code(error: BaseException) -> int:
    """2 where the call, the spec or the settings are wrong, 3 where no node matches, else 1."""
    match error:
        case Interrupted():
            return EXIT_INTERRUPTED
        case UnknownNode() | NotRunning() | NothingMatched():
            return EXIT_NOTHING_MATCHED
        case SettingsError() | SpecError() | AmbiguousNode() | NotConfirmed():
            return EXIT_USAGE
        case typer.TyperException(exit_code=code):
            return code
        case _:
            return EXIT_FAILED


def error_document(error: BaseException) -> dict[str, object]:
    """An error as ``--json`` tells it on stderr."""
    code = exit_code(error)
    told = error_json(error)
    return {"format": FORMAT, "command": current.command, "ok": False, "exit_code": code, "error": told}


def error_json(error: BaseException) -> dict[str, object]:
    """An error's kind and message, and what else it says of itself."""
    told: dict[str, object] = {"type": _kind(error), "message": message_of(error)}
    for name in (
        "node",
        "field",
        "holder",
        "claimed_for",
        "since",
        "provider",
        "operation",
        "code",
        "request_id",
        "retryable",
    ):
        if isinstance(error, OgcError) and hasattr(error, name):
            value = getattr(error, name)
            told[name] = value.isoformat() if isinstance(value, datetime) else value
    if isinstance(error, SpecError | HandoverError):
        told["problems"] = [
            {"where": each.where, "message": each.message, "file": each.file, "line": each.line, "column": each.column}
            for each in error.problems
        ]
    return told


def message_of(error: BaseException) -> str:
    """What the program says of it."""
    if isinstance(error, typer.Abort):
        return "stopped, and nothing was done"
    if isinstance(error, typer.TyperException):
        said = POSSIBLE.sub(r". Did you mean \1?", error.format_message()).rstrip(".")
        path = getattr(getattr(error, "ctx", None), "command_path", "ogc")
        return f"{said}{'' if said.endswith('?') else '.'} `{path} --help` shows how"
    return str(error)


def _kind(error: BaseException) -> str:
    if isinstance(error, typer.Abort):
        return "Aborted"
    return "UsageError" if isinstance(error, typer.TyperException) else type(error).__name__
