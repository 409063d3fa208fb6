"""Commands that carry files to nodes and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogc_async.cli.options import All, OfLayout, TakeOver, Wait, WithTag
from ogc_async.cli.registry import command
from ogc_async.lazy import lazy_module

if TYPE_CHECKING:
    from ogc_async.cli import file_work, fleet_work
else:
    file_work = lazy_module("ogc_async.cli.file_work")
    fleet_work = lazy_module("ogc_async.cli.fleet_work")

OnNodes = Annotated[
    list[str] | None, typer.Option("--node", metavar="NODE", help="Nodes by name, glob, id or range of ids.")
]
Into = Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where to put them, in a folder for each node.")]


def add_file_commands(cli: typer.Typer) -> None:
    """Add them to the program."""
    command(cli, "push-files", short_help="send files")(push_files)
    command(cli, "pull-files", short_help="fetch files")(pull_files)
    command(cli, "pull-artifacts", short_help="fetch artifacts")(pull_artifacts)


def push_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, folders or globs.", show_default=False)],
    node: OnNodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FOLDER", help="Folder on the nodes, from the login home.")
    ] = None,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Put files of this machine on running nodes; what a node holds already is not sent again."""
    return file_work.push_files(
        files, fleet_work.selection(node, layout, tag, is_all=every), to, fleet_work.terms(wait, take_over=take_over)
    )


def pull_files(
    patterns: Annotated[
        list[str], typer.Argument(metavar="PATTERN", help="From the login home, with * and ?.", show_default=False)
    ],
    node: OnNodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    into: Into = Path(),
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Fetch files and folders from running nodes, each node's into a folder of its name."""
    return file_work.pull_files(
        patterns,
        fleet_work.selection(node, layout, tag, is_all=every),
        into,
        fleet_work.terms(wait, take_over=take_over),
    )


def pull_artifacts(
    node: OnNodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    into: Into = Path("artifacts"),
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Fetch what the nodes' layouts name as artifacts."""
    return file_work.pull_artifacts(
        fleet_work.selection(node, layout, tag, is_all=every), into, fleet_work.terms(wait, take_over=take_over)
    )
