"""Commands about the spec and the fleet that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ogc_async.cli.options import (
    All,
    Export,
    InState,
    Layouts,
    Nodes,
    OfLayout,
    Rerun,
    SpecFiles,
    Stream,
    TakeOver,
    Wait,
    WithDeploy,
    WithTag,
    Yes,
)
from ogc_async.cli.registry import command
from ogc_async.lazy import lazy_module

if TYPE_CHECKING:
    from ogc_async.cli import fleet_work, spec_work
else:
    fleet_work = lazy_module("ogc_async.cli.fleet_work")
    spec_work = lazy_module("ogc_async.cli.spec_work")


def add_spec_commands(cli: typer.Typer) -> None:
    """Add them to the program."""
    command(cli, "init", short_help="start here")(init)
    command(cli, "launch", short_help="launch and deploy")(launch)
    command(cli, "deploy", short_help="run the scripts")(deploy)
    command(cli, "status", short_help="how it stands")(status)
    command(cli, "plan", short_help="what sync would do")(plan)
    command(cli, "sync", short_help="mend and scale")(sync)
    spec = typer.Typer(help="Check specs, and describe them to editors.", rich_markup_mode=None, no_args_is_help=True)
    command(spec, "check")(check)
    command(spec, "schema", has_json=False)(schema)
    cli.add_typer(spec, name="spec", short_help="check; JSON Schema")


def init(
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name on record and in tags.  [default: login name]")
    ] = None,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the starter spec.")] = Path(),
) -> int:
    """Prepare the database and the user, and write a starter spec; overwrites nothing."""
    return spec_work.init(name, folder)


def launch(
    layouts: Layouts = None, spec: SpecFiles = None, with_deploy: WithDeploy = True, stream: Stream = False
) -> int:
    """Launch the spec's layouts at their scale and run their scripts."""
    return fleet_work.launch(layouts or [], spec or [], with_deploy=with_deploy, is_streamed=stream)


def deploy(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    rerun: Rerun = False,
    stream: Stream = False,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Push and run the scripts of running nodes; what passed before, unchanged, is skipped."""
    chosen = fleet_work.selection(nodes, layout, tag, is_all=every)
    return fleet_work.deploy(chosen, rerun=rerun, is_streamed=stream, terms=fleet_work.terms(wait, take_over=take_over))


def status(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    state: InState = None,
    reconcile: Annotated[bool, typer.Option("--reconcile", help="Sync first, as `ogc sync` does.")] = False,
    spec: SpecFiles = None,
    yes: Yes = False,
    export: Export = None,
) -> int:
    """Show how many nodes of each layout are in which state, and what is wrong."""
    chosen = fleet_work.selection(nodes, layout, tag, state)
    return fleet_work.status(chosen, spec or [], reconciles=reconcile, yes=yes, export=export)


def plan(spec: SpecFiles = None) -> int:
    """Show what `ogc sync` would do; changes nothing."""
    return fleet_work.plan(spec or [])


def sync(spec: SpecFiles = None, with_deploy: WithDeploy = True, yes: Yes = False) -> int:
    """Mend what broke off or got lost, and bring each layout of the spec to its scale."""
    return fleet_work.sync(spec or [], with_deploy=with_deploy, yes=yes)


def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Spec files.  [default: ogc.yml]")] = None,
) -> int:
    """Check a spec, its keys and its script folders; tells everything that is wrong at once."""
    return spec_work.check(files or [])


def schema(
    of: Annotated[
        Literal["spec", "output"], typer.Argument(metavar="spec|output", help="Of a spec, or of what --json prints.")
    ] = "spec",
) -> int:
    """Print a JSON Schema: of specs, for editors, or of this program's own output."""
    return spec_work.schema(of)
