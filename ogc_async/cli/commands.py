"""The commands: each reads its options, calls one verb, prints the answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ogc_async import actions, db
from ogc_async.actions.context import connected_engine, default_app
from ogc_async.cli import demo as demo_program
from ogc_async.cli import show
from ogc_async.cli.progress import shown_progress
from ogc_async.cli.select import Selection, select_nodes
from ogc_async.cli.starter import write_starter
from ogc_async.spec import Layout, SpecLoader
from ogc_async.types import LIVE, NodeState

cli = typer.Typer(
    name="ogc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db_cli = typer.Typer(help="Look after the database.", no_args_is_help=True)
cli.add_typer(db_cli, name="db")

SpecFiles = Annotated[
    list[Path] | None, typer.Option("--spec", help="Spec file; several merge left to right.  [default: ogc.yml]")
]
Nodes = Annotated[list[str] | None, typer.Argument(help="Names, globs or ids of nodes.", show_default=False)]
OfLayout = Annotated[str | None, typer.Option("--layout", help="Nodes of this layout.")]
WithTag = Annotated[str | None, typer.Option("--tag", help="Nodes with this tag.")]
All = Annotated[bool, typer.Option("--all", help="Every node.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Skip artifacts and teardown scripts.")]
OnlyDb = Annotated[bool, typer.Option("--only-db", help="Only mark the rows; leave the machines alone.")]


@cli.callback()
def connect(context: typer.Context) -> None:
    """Launch, deploy to and tear down fleets of cloud nodes from one YAML spec."""
    if context.invoked_subcommand not in ("sandbox", "demo"):
        default_app()


@cli.command()
def init(
    name: Annotated[str | None, typer.Option(help="Your name on record and in tags.  [default: login name]")] = None,
    folder: Annotated[Path, typer.Option(help="Where to write the starter spec.")] = Path(),
) -> None:
    """Prepare the database and the user, and write a starter spec; overwrites nothing."""
    db.migrate(connected_engine(default_app()))
    user, is_new = actions.create_user(name)
    show.line(f"user {user.name} ({user.slug}): {'created' if is_new else 'exists, nothing to do'}")
    for path, was_written in write_starter(folder):
        show.line(f"{path}: {'written' if was_written else 'exists, left alone'}")


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Serve pretend clouds and their SSH hosts on loopback; `ogc sandbox --help` shows its own options."""
    # Imported here: no other command needs it, and it costs each of them a third of a second.
    from ogc_async.sandbox.__main__ import main as serve

    sys.exit(serve(context.args))


@cli.command()
def launch(
    layouts: Annotated[list[str] | None, typer.Argument(help="Layouts to launch.  [default: all]")] = None,
    spec: SpecFiles = None,
    with_deploy: Annotated[bool, typer.Option("--with-deploy/--no-deploy", help="Run the scripts as well.")] = True,
) -> None:
    """Launch the spec's layouts at their scale and deploy their scripts."""
    chosen = _chosen_layouts(spec or [], layouts or [])
    app = default_app()
    with shown_progress(app.events, expected=sum(layout.scale for layout in chosen)):
        result = actions.launch(chosen)
    show.launch_result(result)
    is_well = result.ok
    if with_deploy and result:
        is_well = _deploy(list(result)) and is_well
    raise typer.Exit(0 if is_well else 1)


@cli.command()
def plan(spec: SpecFiles = None) -> None:
    """Show what `ogc sync` would do; changes nothing."""
    app = default_app()
    app.spec = SpecLoader.load(spec or [])
    show.sync_plan(actions.plan())


@cli.command()
def sync(
    spec: SpecFiles = None,
    with_deploy: Annotated[bool, typer.Option("--with-deploy/--no-deploy", help="Run new nodes' scripts too.")] = True,
) -> None:
    """Mend what broke off or got lost, and bring each layout of the spec to its scale."""
    app = default_app()
    app.spec = SpecLoader.load(spec or [])
    with shown_progress(app.events, expected=sum(layout.scale for layout in app.spec.layouts)):
        result = actions.sync()
    show.sync_result(result)
    is_well = result.ok
    if with_deploy and result.launched:
        is_well = _deploy(list(result.launched)) and is_well
    raise typer.Exit(0 if is_well else 1)


@cli.command()
def deploy(nodes: Nodes = None, layout: OfLayout = None, tag: WithTag = None, every: All = False) -> None:
    """Push and run the scripts of running nodes."""
    chosen = select_nodes(Selection(nodes or (), layout, tag, every), {NodeState.RUNNING})
    raise typer.Exit(0 if _deploy([node.id for node in chosen]) else 1)


@cli.command("ls")
def list_nodes(
    every: Annotated[bool, typer.Option("--all", help="Also nodes that are gone or never came up.")] = False,
) -> None:
    """List the nodes on record."""
    show.nodes(actions.nodes(states=None if every else LIVE))


@cli.command("exec")
def execute(
    command: Annotated[str, typer.Argument(help="A shell command.", show_default=False)],
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
) -> None:
    """Run a command on running nodes."""
    chosen = select_nodes(Selection(nodes or (), layout, tag, every), {NodeState.RUNNING})
    results = actions.exec([node.id for node in chosen], command)
    show.outputs(results)
    raise typer.Exit(0 if all(results) else 1)


@cli.command("rm")
def remove(  # one parameter an option
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    force: Force = False,
    only_db: OnlyDb = False,
    yes: Yes = False,
) -> None:
    """Tear nodes down: artifacts, teardown script, machine, row."""
    chosen = select_nodes(Selection(nodes or (), layout, tag, is_all=False), LIVE)
    _tear_down([node.id for node in chosen], [node.name for node in chosen], force=force, only_db=only_db, yes=yes)


@cli.command("rm-all")
def remove_all(force: Force = False, only_db: OnlyDb = False, yes: Yes = False) -> None:
    """Tear every node down."""
    chosen = actions.nodes(states=LIVE)
    if not chosen:
        show.line("no nodes on record, nothing to do")
        return
    _tear_down([node.id for node in chosen], [node.name for node in chosen], force=force, only_db=only_db, yes=yes)


@cli.command()
def demo() -> None:
    """Show the whole of it on this machine alone: sandbox, launch, deploy, exec, teardown."""
    raise typer.Exit(demo_program.run())


@db_cli.command("migrate")
def migrate() -> None:
    """Bring the database to this version's tables; starts from an empty one too."""
    engine = connected_engine(default_app())
    db.migrate(engine)
    show.line(f"{engine}: up to date")


def _chosen_layouts(files: list[Path], names: list[str]) -> list[Layout]:
    spec = SpecLoader.load(files)
    default_app().spec = spec
    return [spec.layout(name) for name in names] if names else list(spec.layouts)


def _deploy(node_ids: list[int]) -> bool:
    with shown_progress(default_app().events, expected=len(node_ids)):
        results = actions.deploy(node_ids)
    show.deploy_results(results)
    return all(results)


def _tear_down(node_ids: list[int], names: list[str], *, force: bool, only_db: bool, yes: bool) -> None:
    if not yes:
        show.line("\n".join(names))
        typer.confirm(f"Tear down {len(names)} nodes?", abort=True)
    with shown_progress(default_app().events, expected=len(node_ids)):
        result = actions.teardown(node_ids, force=force, only_db=only_db)
    show.teardown_result(result)
    raise typer.Exit(0 if result.ok and not result.leftovers else 1)
