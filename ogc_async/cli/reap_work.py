"""What ``ogc reap`` does: list what an account holds beside the fleet at work, ask, and end it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from ogc_async import actions
from ogc_async.actions.context import default_app
from ogc_async.cli import report, show
from ogc_async.cli.fleet_work import confirm, spec_if_any
from ogc_async.cli.invocation import current
from ogc_async.cli.running import perform
from ogc_async.cli.tables import Column, table
from ogc_async.cli.voice import answer, complain, line, out
from ogc_async.errors import SpecError
from ogc_async.plan.strays import to_end
from ogc_async.types import Find, FindKind, NodeFailure, ReapResult

STYLES = {FindKind.OVERDUE: "red", FindKind.STOPPED: "yellow"}


def reap(files: Sequence[Path], *, dry_run: bool, strays: bool, yes: bool) -> int:
    """List, and end what is to end."""
    app = default_app()
    notes = []
    try:
        app.spec = spec_if_any(files, is_needed=False)
    except SpecError as error:
        if files:
            raise
        # What is overdue costs money, whatever is wrong with a spec that happens to be here.
        notes.append(f"the spec here was left out, and layouts that it does not have are not listed: {error}")
    if yes and not dry_run:
        return _end(notes, strays=strays, only=None)
    listed = _noted(actions.reap(dry_run=True), notes)
    doomed = [] if dry_run else to_end(listed.finds, strays=strays)
    if not doomed:
        return answer(report.reap_json(listed), lambda: _show(listed), ok=listed.ok)
    if not current.is_json:
        _show(listed)
    confirm(f"End {_amount(doomed)}?", [f"  {each}" for each in doomed], yes=False)
    return _end([], strays=strays, only=[each.id for each in doomed])


def _noted(result: ReapResult, notes: Sequence[str]) -> ReapResult:
    return replace(result, warnings=(*notes, *result.warnings))


def _end(notes: Sequence[str], *, strays: bool, only: Sequence[str] | None) -> int:
    """What was not agreed to is not ended, though it be over by now."""
    result = perform(
        default_app(),
        lambda: actions.reap_async(strays=strays, only=only),
        title="reap",
        expected=0,
        goal={"terminated"},
    )
    result = _noted(result, notes)
    meant = to_end(result.finds, strays=strays, only=only)

    def shown() -> None:
        if only is None:
            _show(result)
        else:
            _show_troubles(result)
        if meant:
            line(f"ended {len(result.ended)} of {len(meant)}")

    return answer(report.reap_json(result), shown, ok=result.ok)


def _show(result: ReapResult) -> None:
    if result.finds:
        out.print(table(_columns(result), out.width))
    elif result.ok:
        line("nothing found beside the fleet that is at work")
    _show_troubles(result)


def _show_troubles(result: ReapResult) -> None:
    for warning in result.warnings:
        complain(warning, "yellow")
    for place in result.not_looked_at:
        complain(str(place), "red" if place.is_used else "yellow")
    show.failures(each for each in result.failures if isinstance(each, NodeFailure))
    for error in result.failures:
        if not isinstance(error, NodeFailure):
            complain(str(error))


def _columns(result: ReapResult) -> list[Column]:
    finds, ended = result.finds, set(result.ended)
    return [
        Column("kind", [Text(each.kind, style=STYLES.get(each.kind, "")) for each in finds], 1),
        Column("what", [Text(each.node or each.id) for each in finds], 0),
        Column("where", [f"{each.provider} {each.region}" for each in finds], 4),
        Column("why", [Text(each.reason) for each in finds], 3, is_flexible=True),
        Column("ended by", ["ended" if each.id in ended else each.command for each in finds], 2),
    ]


def _amount(finds: Sequence[Find]) -> str:
    volumes = sum(each.kind is FindKind.VOLUME for each in finds)
    machines = len(finds) - volumes
    parts = [show.counted(number, noun) for number, noun in ((machines, "machine"), (volumes, "volume")) if number]
    return " and ".join(parts)
