"""Commands about nodes on record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogc_async.cli.options import (
    All,
    AlsoGone,
    By,
    Diff,
    Export,
    Force,
    InState,
    Nodes,
    OfLayout,
    OneNode,
    OnlyDb,
    SpecFiles,
    Stream,
    TakeOver,
    Timeout,
    Wait,
    WithTag,
    Yes,
)
from ogc_async.cli.registry import command
from ogc_async.lazy import lazy_module

if TYPE_CHECKING:
    from ogc_async.cli import fleet_work, inspect_work, reap_work, ssh_work
else:
    fleet_work = lazy_module("ogc_async.cli.fleet_work")
    inspect_work = lazy_module("ogc_async.cli.inspect_work")
    reap_work = lazy_module("ogc_async.cli.reap_work")
    ssh_work = lazy_module("ogc_async.cli.ssh_work")


def add_node_commands(cli: typer.Typer) -> None:
    """Add them to the program."""
    command(cli, "ls", short_help="list")(list_nodes)
    command(cli, "inspect", short_help="history and timeline")(inspect)
    command(cli, "exec", short_help="run a command")(execute)
    command(cli, "exec-scripts", short_help="run other scripts")(execute_scripts)
    command(cli, "ssh", has_json=False, short_help="log in")(ssh)
    command(cli, "ssh-config", has_json=False, short_help="for other tools")(ssh_config)
    command(cli, "extend", short_help="put ends off")(extend)
    command(cli, "rm", short_help="tear down")(remove)
    command(cli, "rm-all", short_help="tear down everything")(remove_all)
    command(cli, "reap", short_help="find what was left")(reap)


def list_nodes(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    state: InState = None,
    every: AlsoGone = False,
    export: Export = None,
) -> int:
    """List the nodes on record."""
    chosen = fleet_work.selection(nodes, layout, tag, state)
    return fleet_work.list_nodes(chosen, has_gone=every, export=export)


def inspect(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    state: InState = None,
    every: All = False,
    step: Annotated[str | None, typer.Option("--step", metavar="GLOB", help="Only these steps' output.")] = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw who was slow, and in which phase.")] = False,
    diff: Diff = False,
    export: Export = None,
) -> int:
    """Show nodes' facts and the output of their steps, folded where it is the same; or their timeline."""
    chosen = fleet_work.selection(nodes, layout, tag, state, is_all=every)
    if timeline:
        return inspect_work.timeline(chosen, export)
    return inspect_work.inspect(chosen, step=step, is_diff=diff, export=export)


def execute(
    shell_command: Annotated[str, typer.Argument(metavar="COMMAND", help="A shell command.", show_default=False)],
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    timeout: Timeout = None,
    diff: Diff = False,
    stream: Stream = False,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
    no_claim: Annotated[bool, typer.Option("--no-claim", help="Run beside whatever goes on there.")] = False,
) -> int:
    """Run a command on running nodes; what they say is folded where it is the same."""
    chosen = fleet_work.selection(nodes, layout, tag, is_all=every)
    return fleet_work.execute(
        shell_command,
        chosen,
        timeout_s=timeout,
        is_diff=diff,
        is_streamed=stream,
        terms=fleet_work.terms(wait, take_over=take_over, no_claim=no_claim),
    )


def execute_scripts(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of scripts, or one script.", show_default=False)
    ],
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    diff: Diff = False,
    stream: Stream = False,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Push another folder of scripts to running nodes and run it."""
    chosen = fleet_work.selection(nodes, layout, tag, is_all=every)
    return fleet_work.execute_scripts(
        folder, chosen, is_diff=diff, is_streamed=stream, terms=fleet_work.terms(wait, take_over=take_over)
    )


def ssh(
    node: OneNode,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="A command to run instead of a shell.")
    ] = None,
) -> int:
    """Log in to a node with the system's OpenSSH, which trusts the host key on record and no other."""
    return ssh_work.ssh(node, words or [])


def ssh_config(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Put the block into this file, over an older one.")
    ] = None,
) -> int:
    """Print a block of OpenSSH's configuration with every node, for scp, rsync, Ansible and editors."""
    return ssh_work.ssh_config(fleet_work.selection(nodes, layout, tag), write)


def extend(
    nodes: Nodes = None,
    *,
    by: By,
    layout: OfLayout = None,
    tag: WithTag = None,
    every: All = False,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Put off the ends of nodes that have a ttl; `ogc ls` shows how long each has left.

    Compute Engine moves the end of a stopped machine only.
    """
    chosen = fleet_work.selection(nodes, layout, tag, is_all=every)
    return fleet_work.extend(chosen, by, terms=fleet_work.terms(wait, take_over=take_over))


def remove(
    nodes: Nodes = None,
    layout: OfLayout = None,
    tag: WithTag = None,
    state: InState = None,
    force: Force = False,
    only_db: OnlyDb = False,
    yes: Yes = False,
    wait: Wait = 0.0,
    take_over: TakeOver = False,
) -> int:
    """Tear nodes down: artifacts, teardown script, machine, row."""
    chosen = fleet_work.selection(nodes, layout, tag, state)
    return fleet_work.remove(
        chosen, force=force, only_db=only_db, yes=yes, terms=fleet_work.terms(wait, take_over=take_over)
    )


def remove_all(
    force: Force = False, only_db: OnlyDb = False, yes: Yes = False, wait: Wait = 0.0, take_over: TakeOver = False
) -> int:
    """Tear every node down."""
    return fleet_work.remove_all(
        force=force, only_db=only_db, yes=yes, terms=fleet_work.terms(wait, take_over=take_over)
    )


def reap(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, each with what would end it.")] = False,
    strays: Annotated[
        bool, typer.Option("--strays", help="Also end strays, what was let go, and what no spec has.")
    ] = False,
    spec: SpecFiles = None,
    yes: Yes = False,
) -> int:
    """Find what the accounts at hand hold of yours beside the fleet at work, and end what is overdue.

    With nothing but the account: machines of a lost database are found too.
    """
    return reap_work.reap(spec or [], dry_run=dry_run, strays=strays, yes=yes)
