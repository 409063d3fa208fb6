"""The answers as people read them: lines, tables, and what went wrong, folded where it is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.text import Text

from ogc_async.cli.fold import Answer, Group, Member, called, difference, fold, headline
from ogc_async.cli.tables import STYLES, Column, ends_in, node_columns, table
from ogc_async.cli.tally import without_name
from ogc_async.cli.voice import complain, err, line, out
from ogc_async.errors import OgcError
from ogc_async.types import (
    Change,
    DeployResult,
    Doubt,
    ExtendResult,
    LaunchResult,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    StepResult,
    SyncPlan,
    SyncResult,
    TeardownResult,
)

SCREEN = 16
"""Rows that leave room for what stands around them on a terminal of 24 lines."""
LAST_LINE = "last line of output"


def nodes(rows: Sequence[NodeSnapshot], console: Console = out) -> None:
    """A table of nodes."""
    if not rows:
        console.print("no nodes on record")
        return
    console.print(table(node_columns(rows), console.width))


def counts(
    by_layout: Mapping[str, Mapping[str, int]],
    scales: Mapping[str, int],
    problems: Sequence[Group],
    console: Console = out,
) -> None:
    """A row a layout, and what is wrong."""
    layouts = list(by_layout)
    if not layouts:
        console.print("no nodes on record")
        return
    columns = [Column("layout", [Text(each) for each in layouts], 0)]
    if scales:
        columns.append(Column("scale", [str(scales.get(each, "-")) for each in layouts], 2, is_number=True))
    for state in NodeState:
        figures = [by_layout[each].get(state, 0) for each in layouts]
        if any(figures):
            cells = [Text(str(figure or "-"), style=STYLES.get(state, "yellow")) for figure in figures]
            columns.append(Column(state, cells, 1, is_number=True))
    console.print(table(columns, console.width))
    for group in problems:
        console.print(f"{_how_many(group)}: {group.text}", style="red", markup=False)


def launch_result(result: LaunchResult) -> None:
    """How many came up, and why others did not."""
    line(f"launched {len(result)} of {len(result) + len(result.failures)} nodes")
    failures([*result.failures, *result.warnings])


def deploy_results(results: Sequence[DeployResult], layouts: Mapping[int, str]) -> None:
    """What ran where: a row a step of each node while they fit a screen, else a row a step; then what went wrong."""
    rows = [(result, step) for result in results for step in result.steps]
    if rows:
        out.print(table(_each_step(rows) if len(rows) <= SCREEN else _all_steps(rows, layouts), out.width))
    line(f"deployed {sum(map(bool, results))} of {len(results)} nodes")
    what_failed(results, layouts)


def what_failed(results: Sequence[DeployResult], layouts: Mapping[int, str]) -> None:
    """Errors, and the output of steps that failed, each once."""
    bad = [result for result in results if not result]
    for group in fold(Answer(_member(each, layouts), *_failure_of(each)) for each in bad):
        complain(f"{_how_many(group)}: {group.outcome}")
        if group.text:
            err.print(group.text, markup=False)


def outputs(results: Sequence[DeployResult], layouts: Mapping[int, str], *, is_diff: bool) -> None:
    """What a command said on each node, folded."""
    answers = [
        Answer(_member(result, layouts), " ".join(map(outcome, result.steps)), result.output)
        for result in results
        if result.steps
    ]
    folded(answers, is_diff=is_diff)
    broken = [result for result in results if result.error is not None]
    for group in fold(Answer(_member(each, layouts), without_name(str(each.error), each.name), "") for each in broken):
        complain(f"{_how_many(group)}: {group.outcome}")


def folded(answers: Sequence[Answer], *, is_diff: bool, title: str = "", console: Console = out) -> None:
    """Equal answers once, the most common first; or, beside that one, only what differs from it."""
    groups = fold(answers)
    if not groups:
        return
    if len(answers) > 1:
        console.print(f"{title}{headline(groups)}", style="bold", markup=False)
    if not is_diff and len(answers) > 1 and _are_short(groups):
        width = max(len(group.members[0].name) for group in groups)
        for group in groups:
            ended = "" if group.outcome == "0" else f" ({group.outcome})"
            console.print(f"{group.members[0].name:<{width}}  {group.text.rstrip()}{ended}", markup=False)
        return
    for place, group in enumerate(groups):
        console.print(f"── {_called(group)} ({group.outcome})", style="dim", markup=False)
        if is_diff and place:
            _show_difference(groups[0], group, console)
        else:
            console.print(group.text, end="" if group.text.endswith("\n") or not group.text else "\n", markup=False)


def teardown_result(result: TeardownResult) -> None:
    """How many are gone, and what is left."""
    line(f"tore down {len(result)} of {len(result) + len(result.failures)} nodes")
    failures(result.failures)
    _left_behind(result.leftovers)


def extend_result(result: ExtendResult) -> None:
    """How long the nodes have left now, while they fit a screen, and why others have no more than before."""
    if 0 < len(result.nodes) <= SCREEN:
        columns = [
            Column("name", [Text(node.name) for node in result.nodes], 0),
            Column("ends", [f"{node.ends_at:%Y-%m-%d %H:%M:%S} UTC" for node in result.nodes], 2),
            Column("ends in", [ends_in(node) for node in result.nodes], 1),
        ]
        out.print(table(columns, out.width))
    line(f"extended {len(result)} of {counted(len(result) + len(result.failures), 'node')}")
    failures(result.failures)


def let_go_result(result: TeardownResult, left: Sequence[NodeSnapshot]) -> None:
    """How many rows are given up; ``left`` are those of them whose machines run on."""
    rows = f"let go of {counted(len(result), 'row')}"
    if left:
        which = ", ".join(f"{node.name} ({node.instance_id})" for node in left[:SCREEN])
        more = f" and {len(left) - SCREEN} more" if len(left) > SCREEN else ""
        verb, them = ("runs", "it") if len(left) == 1 else ("run", "them")
        line(f"{rows}; {counted(len(left), 'machine')} {verb} on: {which}{more}; `ogc reap` lists {them}")
    else:
        line(f"{rows}; no machine of theirs was on record")
    failures(result.failures)


def counted(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nothing_torn_down(leftovers: Iterable[OgcError]) -> None:
    """There was no node, and what is left of former ones."""
    line("no nodes on record, nothing to do")
    _left_behind(leftovers)


def _left_behind(leftovers: Iterable[OgcError]) -> None:
    for error in leftovers:
        complain(f"left behind: {error}", "yellow")


def sync_plan(plan: SyncPlan) -> None:
    """A line for changes of one kind, layout and reason; what is left to others; and what nothing can be said of."""
    _changes(plan)
    doubts(plan.doubts)
    if not plan.changes and not plan.doubts:
        _nothing_to_do(plan)
    notes(plan.notes)


def doubts(found: Iterable[Doubt]) -> None:
    """Nodes that nothing can be said of, each reason once."""
    failures(NodeFailure(each.node.layout, each.node.id, each.node.name, each.error) for each in found)


def _changes(plan: SyncPlan) -> None:
    groups: dict[tuple[str, str, str], list[Change]] = {}
    for change in plan.changes:
        groups.setdefault((change.kind, change.layout, change.reason), []).append(change)
    for (kind, layout, reason), changes in groups.items():
        what = _changed(layout, changes)
        line(f"{kind}: {what}" + (f" ({reason})" if reason else ""))
    for node in plan.busy:
        line(f"leave alone: {node.name} (a process works on it)")


def _nothing_to_do(plan: SyncPlan) -> None:
    line("nothing to do" if plan.notes else "cloud, database and spec agree, nothing to do")


def notes(said: Iterable[str]) -> None:
    """What is to be known and is no change."""
    for note in said:
        line(note)


def sync_result(result: SyncResult) -> None:
    """What was done, and what did not work."""
    _changes(result.plan)
    if result.ok and not result.plan.changes:
        _nothing_to_do(result.plan)
    notes(result.plan.notes)
    own = [each for each in result.failures if isinstance(each, NodeFailure)]
    failures([*result.launched.failures, *result.torn_down.failures, *own])
    for error in (*result.failures, *result.torn_down.leftovers):
        if not isinstance(error, NodeFailure):
            complain(str(error))


def failures(failed: Iterable[NodeFailure]) -> None:
    """Why nodes failed, each reason once."""
    for group in fold(failure_answer(each) for each in failed):
        complain(f"{_how_many(group)}: {group.text}")


def failure_answer(failure: NodeFailure) -> Answer:
    """A failure as it is folded."""
    member = Member(failure.node_id, failure.name, failure.layout)
    return Answer(member, "", without_name(str(failure.error), failure.name))


def outcome(step: StepResult) -> str:
    """The exit code, or how else it ended, or that it had passed before."""
    if step.is_skipped:
        return "skipped"
    if step.exit_code is not None:
        return str(step.exit_code)
    return f"{step.state} ({step.signal})" if step.signal else str(step.state)


def _each_step(rows: Sequence[tuple[DeployResult, StepResult]]) -> list[Column]:
    return [
        Column("node", [Text(result.name) for result, _ in rows], 1),
        Column("step", [Text(step.script) for _, step in rows], 0),
        Column("exit", [outcome(step) for _, step in rows], 2),
        Column("seconds", [f"{step.seconds:.2f}" for _, step in rows], 4),
        Column(LAST_LINE, [Text(_last_line(step)) for _, step in rows], 3, is_flexible=True),
    ]


def _all_steps(rows: Sequence[tuple[DeployResult, StepResult]], layouts: Mapping[int, str]) -> list[Column]:
    groups: dict[tuple[str, str], list[StepResult]] = {}
    for result, step in rows:
        groups.setdefault((layouts.get(result.node_id, ""), step.script), []).append(step)
    steps = list(groups.values())
    passed = [sum(step.ok for step in each) for each in steps]
    failed = [len(each) - good for each, good in zip(steps, passed, strict=True)]
    return [
        Column("layout", [Text(layout) for layout, _ in groups], 3),
        Column("step", [Text(script) for _, script in groups], 0),
        Column("passed", [str(each) for each in passed], 1, is_number=True),
        Column("failed", [Text(str(each), style="red" if each else "") for each in failed], 1, is_number=True),
        Column("median", [f"{median(step.seconds for step in each):.2f}" for each in steps], 5, is_number=True),
        Column("slowest", [f"{max(step.seconds for step in each):.2f}" for each in steps], 4, is_number=True),
        Column(LAST_LINE, [Text(_common_line(each)) for each in steps], 2, is_flexible=True),
    ]


def _common_line(steps: Sequence[StepResult]) -> str:
    lines = Counter(map(_last_line, steps))
    ((most, _),) = lines.most_common(1)
    return most if len(lines) == 1 else f"{len(lines)} different: {most}"


def _last_line(step: StepResult) -> str:
    lines = step.text.strip().splitlines()
    return lines[-1] if lines else ""


def _failure_of(result: DeployResult) -> tuple[str, str]:
    """What went wrong on a node, as any other would say it; and the output of the step that failed."""
    if result.error is not None:
        return without_name(str(result.error), result.name), ""
    step = next(step for step in result.steps if not step.ok)
    return f"{step.script}: {outcome(step)}", step.text.rstrip()


def _member(result: DeployResult, layouts: Mapping[int, str]) -> Member:
    return Member(result.node_id, result.name, layouts.get(result.node_id, ""))


def _how_many(group: Group) -> str:
    names = called(group.members)
    return names if len(group.members) == 1 else f"{len(group.members)} nodes ({names})"


def _called(group: Group) -> str:
    names = called(group.members)
    return names if len(group.members) == 1 else f"{len(group.members)} nodes: {names}"


def _are_short(groups: Sequence[Group]) -> bool:
    """Every node says one line of its own: a list says that best."""
    return all(len(group.members) == 1 and len(group.text.strip().splitlines()) == 1 for group in groups)


def _show_difference(base: Group, other: Group, console: Console) -> None:
    names = f"most ({base.outcome})", f"{other.members[0].name} ({other.outcome})"
    for each in difference(base.text, other.text, names):
        style = {"+": "green", "-": "red", "@": "cyan"}.get(each[:1], "")
        console.print(each, style=style, markup=False)


def _changed(layout: str, changes: Sequence[Change]) -> str:
    named = [change.node or change.instance_id for change in changes]
    if not any(named):
        return f"{len(changes)} nodes of {layout}" if len(changes) > 1 else f"a node of {layout}"
    if all(change.node for change in changes):
        members = [Member(change.node_id, change.node, change.layout) for change in changes]
        return called(members) if len(members) == 1 else f"{len(members)} nodes ({called(members)})"
    return ", ".join(named)
