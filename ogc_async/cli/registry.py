"""How a command is declared: its options are its function's, and those that every command has are added here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ogc_async.cli.invocation import current
from ogc_async.lazy import lazy_module

if TYPE_CHECKING:
    from ogc_async.cli import logs
else:
    logs = lazy_module("ogc_async.cli.logs")

Work = Callable[..., int]

COMMON: dict[str, tuple[Any, Any]] = {
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")],
        False,
    ),
    "verbosity": (
        Annotated[
            int,
            typer.Option(
                "--verbose", "-v", count=True, show_default=False, help="Tell more on stderr; twice tells all."
            ),
        ],
        0,
    ),
    "log_file": (
        Annotated[Path | None, typer.Option("--log-file", metavar="FILE", help="Keep a full log here.")],
        None,
    ),
}


def command(group: typer.Typer, name: str, *, has_json: bool = True, **settings: Any) -> Callable[[Work], Work]:
    """Register a function as a command; what it returns is the exit code."""
    common = {key: value for key, value in COMMON.items() if has_json or key != "as_json"}

    def register(work: Work) -> Work:
        @functools.wraps(work)
        def call(**options: Any) -> None:
            given = {key: options.pop(key, default) for key, (_, default) in COMMON.items()}
            _note(name, **given)
            raise typer.Exit(work(**options))

        signature = inspect.signature(work, eval_str=True)
        more = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in common.items()
        ]
        del call.__wrapped__
        call.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by inspect.signature
            parameters=[*signature.parameters.values(), *more], return_annotation=None
        )
        call.__annotations__ = {
            each.name: each.annotation
            for each in call.__signature__.parameters.values()  # type: ignore[attr-defined]
        }
        group.command(name, **settings)(call)
        return work

    return register


def _note(name: str, *, as_json: bool, verbosity: int, log_file: Path | None) -> None:
    current.command = name
    current.is_json = as_json
    current.verbosity = verbosity
    current.log_file = log_file
    # With --json a warning, too, is a document: Python would print it bare.
    if verbosity or log_file or as_json:
        logs.set_up(verbosity, log_file, is_json=as_json)
