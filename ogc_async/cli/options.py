"""The options and arguments that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogc_async.lazy import lazy_module
from ogc_async.types import NodeState

if TYPE_CHECKING:
    from ogc_async.cli import complete
    from ogc_async.spec import fields
else:
    complete = lazy_module("ogc_async.cli.complete")
    fields = lazy_module("ogc_async.spec.fields")


def _seconds(written: str | float) -> float:
    """A duration as specs write it, in seconds. The value that stands where the option is left out is one already."""
    if isinstance(written, float):
        return written
    try:
        return fields.duration(0)(written).total_seconds()
    except fields.Unfit as error:
        raise typer.BadParameter(str(error)) from None


def _node_names(incomplete: str) -> list[str]:
    return complete.node_names(incomplete)


def _layout_names(incomplete: str) -> list[str]:
    return complete.layout_names(incomplete)


def _tags(incomplete: str) -> list[str]:
    return complete.tags(incomplete)


SpecFiles = Annotated[
    list[Path] | None,
    typer.Option("--spec", metavar="FILE", help="Spec file; several merge left to right.  [default: ogc.yml]"),
]
Layouts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="LAYOUT",
        help="Layouts of the spec.  [default: all]",
        show_default=False,
        autocompletion=_layout_names,
    ),
]
Nodes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NODE",
        help="Names or unique parts, globs, ids, ranges (3-7).",
        show_default=False,
        autocompletion=_node_names,
    ),
]
OneNode = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="A name, a unique part of one, or an id.",
        show_default=False,
        autocompletion=_node_names,
    ),
]
OfLayout = Annotated[
    list[str] | None,
    typer.Option("--layout", metavar="GLOB", help="Nodes of this layout.", autocompletion=_layout_names),
]
WithTag = Annotated[
    list[str] | None, typer.Option("--tag", metavar="GLOB", help="Nodes with this tag.", autocompletion=_tags)
]
InState = Annotated[list[NodeState] | None, typer.Option("--state", help="Nodes in this state.", metavar="STATE")]
All = Annotated[bool, typer.Option("--all", help="Every node.")]
AlsoGone = Annotated[bool, typer.Option("--all", help="Also nodes that are gone or never came up.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Skip artifacts and teardown scripts.")]
OnlyDb = Annotated[bool, typer.Option("--only-db", help="Only mark the rows; leave the machines alone.")]
WithDeploy = Annotated[
    bool, typer.Option("--with-deploy/--no-deploy", help="Run new nodes' scripts too, or not.", show_default=False)
]
Export = Annotated[Path | None, typer.Option("--export", metavar="FILE", help="Also draw it into a .svg or .html.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show how outputs differ from the most common one.")]
Stream = Annotated[bool, typer.Option("--stream", help="Print lines as they come, each behind its node's name.")]
Rerun = Annotated[bool, typer.Option("--rerun", help="Run every script again, not only what did not pass.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="End the command after this long.")
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="DURATION",
        parser=_seconds,
        help="Wait this long for busy nodes, e.g. 5m.",
        show_default=False,
    ),
]
By = Annotated[
    float,
    typer.Argument(
        metavar="DURATION",
        parser=_seconds,
        help="How much longer they live: 30m, 2h, 1d.",
        show_default=False,
    ),
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Take busy nodes from whoever works on them.")]
