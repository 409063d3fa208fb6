"""Tables and lines: the answers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ogc_async.types import (
    DeployResult,
    LaunchResult,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    StepResult,
    SyncPlan,
    SyncResult,
    TeardownResult,
)

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)
if not out.is_terminal:
    # Who reads a file or a pipe wants every word; only a window has an edge.
    out.width = 1000

STYLES = {
    NodeState.RUNNING: "green",
    NodeState.FAILED: "red",
    NodeState.LOST: "red",
    NodeState.TERMINATED: "dim",
}


def line(text: str) -> None:
    """One plain line."""
    out.print(text, markup=False)


def nodes(rows: Sequence[NodeSnapshot]) -> None:
    """A table of nodes."""
    if not rows:
        line("no nodes on record")
        return
    table = _table("id", "name", "layout", "state", "address", "instance", "zone", "age")
    for node in rows:
        table.add_row(
            str(node.id),
            node.name,
            node.layout,
            Text(node.state, style=STYLES.get(node.state, "yellow")),
            node.public_ip or node.private_ip or "-",
            node.instance_id or "-",
            node.zone or node.region,
            _age(node.created_at),
        )
    out.print(table)


def launch_result(result: LaunchResult) -> None:
    """How many came up, and why others did not."""
    line(f"launched {len(result)} of {len(result) + len(result.failures)} nodes")
    _failures(result.failures)


def deploy_results(results: Sequence[DeployResult]) -> None:
    """A table of what ran where, then the output of what went wrong."""
    table = _table("node", "step", "exit", "seconds", "last line of output")
    for result in results:
        for step in result.steps:
            table.add_row(result.name, step.script, _outcome(step), f"{step.seconds:.2f}", escape(_last_line(step)))
    if table.row_count:
        out.print(table)
    good = sum(map(bool, results))
    line(f"deployed {good} of {len(results)} nodes")
    for result in results:
        if not result:
            _explain(result)


def outputs(results: Iterable[DeployResult]) -> None:
    """Each node's output under its name."""
    for result in results:
        for step in result.steps:
            out.print(f"── {result.name} ({_outcome(step)})", style="dim", markup=False)
            out.print(step.text, end="" if step.text.endswith("\n") else "\n", markup=False)
        if result.error is not None:
            err.print(str(result.error), style="red", markup=False)


def teardown_result(result: TeardownResult) -> None:
    """How many are gone, and what is left."""
    line(f"tore down {len(result)} of {len(result) + len(result.failures)} nodes")
    _failures(result.failures)
    for error in result.leftovers:
        err.print(f"left behind: {error}", style="yellow", markup=False)


def sync_plan(plan: SyncPlan) -> None:
    """A line a change, and what is left to others."""
    for change in plan.changes:
        line(str(change))
    for node in plan.busy:
        line(f"leave alone: {node.name} (a process works on it)")
    if not plan.changes:
        line("cloud, database and spec agree, nothing to do")


def sync_result(result: SyncResult) -> None:
    """What was done, and what did not work."""
    sync_plan(result.plan)
    _failures(result.launched.failures)
    _failures(result.torn_down.failures)
    for error in (*result.failures, *result.torn_down.leftovers):
        err.print(str(error), style="red", markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "last line of output")
    return table


def _failures(failures: Iterable[NodeFailure]) -> None:
    for each in failures:
        err.print(str(each), style="red", markup=False)


def _explain(result: DeployResult) -> None:
    if result.error is not None:
        err.print(str(result.error), style="red", markup=False)
    for step in result.steps:
        if not step.ok:
            err.print(f"{result.name}: {step.script}: {_outcome(step)}", style="red", markup=False)
            err.print(step.text.rstrip(), markup=False)


def _outcome(step: StepResult) -> str:
    if step.exit_code is not None:
        return str(step.exit_code)
    return f"{step.state} ({step.signal})" if step.signal else str(step.state)


def _last_line(step: StepResult) -> str:
    lines = step.text.strip().splitlines()
    return lines[-1] if lines else ""


def _age(since: datetime | None) -> str:
    if since is None:
        return "-"
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
