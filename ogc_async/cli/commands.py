"""The program: its commands, read from four modules, and what is said before any of them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from ogc_async.cli.file_commands import add_file_commands
from ogc_async.cli.help import OgcGroup
from ogc_async.cli.house_commands import add_house_commands
from ogc_async.cli.node_commands import add_node_commands
from ogc_async.cli.spec_commands import add_spec_commands

cli = typer.Typer(
    name="ogc",
    cls=OgcGroup,
    # For the shells; the options that it adds are left out of the help, since `ogc completion` says more.
    add_completion=True,
    pretty_exceptions_enable=False,
    # Plain help is written without the library that draws boxes, which takes longer to import than all the rest.
    rich_markup_mode=None,
    invoke_without_command=True,
)
add_spec_commands(cli)
add_node_commands(cli)
add_file_commands(cli)
add_house_commands(cli)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"ogc {version('ogc-async')}")
        raise typer.Exit


@cli.callback()
def begin(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Launch, deploy to and tear down fleets of cloud nodes from one YAML spec."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
