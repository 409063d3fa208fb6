"""Commands about what stands around a fleet: database, sandbox, key pairs, handing over, the shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ogc_async.cli.options import Yes
from ogc_async.cli.registry import command
from ogc_async.lazy import lazy_module

if TYPE_CHECKING:
    from ogc_async.cli import complete, demo, house_work, key_pair_work, sandbox_work
else:
    complete = lazy_module("ogc_async.cli.complete")
    demo = lazy_module("ogc_async.cli.demo")
    house_work = lazy_module("ogc_async.cli.house_work")
    key_pair_work = lazy_module("ogc_async.cli.key_pair_work")
    sandbox_work = lazy_module("ogc_async.cli.sandbox_work")

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command whose options are another program's."""


def add_house_commands(cli: typer.Typer) -> None:
    """Add them to the program."""
    cli.command("sandbox", context_settings=PASSED_ON, short_help="a pretend cloud")(sandbox)
    command(cli, "demo", has_json=False, short_help="see it all at work")(demonstrate)
    database = typer.Typer(help="Look after the database.", rich_markup_mode=None, no_args_is_help=True)
    command(database, "migrate")(migrate)
    cli.add_typer(database, name="db", short_help="migrate the database")
    command(cli, "export-env", short_help="hand a fleet over")(export_env)
    command(cli, "import-env", short_help="take a fleet over")(import_env)
    command(cli, "ls-key-pairs", short_help="list ours")(list_key_pairs)
    command(cli, "rm-key-pairs", short_help="remove ours")(remove_key_pairs)
    command(cli, "completion", has_json=False, short_help="for bash, zsh, fish")(completion)


def sandbox(context: typer.Context) -> None:
    """Serve pretend clouds and their SSH hosts on loopback; `ogc sandbox --help` shows its own options."""
    raise typer.Exit(sandbox_work.serve(context.args))


def demonstrate() -> int:
    """Show the whole of it on this machine alone: sandbox, launch, deploy, exec, teardown."""
    return demo.run()


def migrate() -> int:
    """Bring the database to this version's tables; starts from an empty one too."""
    return house_work.migrate()


def export_env(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; - is stdout.")] = Path(
        "ogc-env.json"
    ),
) -> int:
    """Write the user and the nodes on record to a file for a colleague, without any secret in it."""
    return house_work.export_env(file)


def import_env(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export-env wrote; - is stdin.")] = Path(
        "ogc-env.json"
    ),
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Private key that opens the nodes.")] = None,
) -> int:
    """Take over a fleet that a colleague has exported."""
    return house_work.import_env(file, key)


def list_key_pairs() -> int:
    """List the key pairs that launches have left with the clouds; ours only."""
    return key_pair_work.list_key_pairs()


def remove_key_pairs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names or globs.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every one that no live node's layout uses.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also those that live nodes' layouts use.")] = False,
    yes: Yes = False,
) -> int:
    """Remove key pairs from the clouds; ours only, and none in use. Machines that run keep their keys."""
    return key_pair_work.remove_key_pairs(names or [], is_all=every, force=force, yes=yes)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", show_default=False)],
) -> int:
    """Print a shell's completion script: eval "$(ogc completion bash)", or zsh; ogc completion fish | source."""
    typer.echo(complete.script(shell))
    return 0
