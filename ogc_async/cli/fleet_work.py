"""What the commands about fleets do: choose nodes, ask before something is lost, call a verb, say what came of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from ogc_async import actions
from ogc_async.actions.context import AT_ONCE, Terms, default_app
from ogc_async.cli import canvas, report, show
from ogc_async.cli.fold import Answer, Member, called, fold
from ogc_async.cli.invocation import EXIT_FAILED, current
from ogc_async.cli.running import perform
from ogc_async.cli.select import Selection, find_nodes, select_nodes
from ogc_async.cli.stream import Streamed
from ogc_async.cli.tally import without_name
from ogc_async.cli.voice import answer, complain
from ogc_async.errors import NotConfirmed, SpecError
from ogc_async.plan.notes import find_notes
from ogc_async.spec import Spec, SpecLoader
from ogc_async.types import (
    LIVE,
    ChangeKind,
    DeployResult,
    LaunchResult,
    NodeSnapshot,
    NodeState,
    SyncPlan,
    TeardownResult,
)

RUNNING = frozenset({NodeState.RUNNING})
DESTROYING = (ChangeKind.REMOVE, ChangeKind.REAP)


def selection(
    words: Sequence[str] | None,
    layouts: Sequence[str] | None,
    tags: Sequence[str] | None,
    states: Sequence[NodeState] | None = None,
    *,
    is_all: bool = False,
) -> Selection:
    """What a command's options say of the nodes that are meant."""
    return Selection(tuple(words or ()), tuple(layouts or ()), tuple(tags or ()), tuple(states or ()), is_all)


def terms(wait_s: float, *, take_over: bool, no_claim: bool = False) -> Terms:
    """What a command's options say of nodes that another process works on."""
    return Terms(wait_s=wait_s, is_taking_over=take_over, is_claiming=not no_claim)


def launch(names: Sequence[str], files: Sequence[Path], *, with_deploy: bool, is_streamed: bool) -> int:
    """Launch layouts of the spec, then deploy to what came up."""
    app = default_app()
    app.spec = SpecLoader.load(list(files))
    chosen = [app.spec.layout(name) for name in names] if names else list(app.spec.layouts)
    scale = sum(layout.scale for layout in chosen)
    result = perform(app, lambda: actions.launch_async(chosen), title="launch", expected=scale, goal={"running"})
    if not current.is_json:
        show.launch_result(result)
    body = report.launch_json(result)
    results = _deploy(_records(result), is_streamed=is_streamed) if with_deploy and result else []
    body |= report.nodes_json(_records(result)) | (report.results_json(results) if with_deploy else {})
    return answer(body, lambda: None, ok=result.ok and all(results))


def deploy(chosen: Selection, *, rerun: bool, is_streamed: bool, terms: Terms) -> int:
    """Push and run the scripts of running nodes: those that did not pass before, or all again."""
    results = _deploy(select_nodes(chosen, RUNNING), rerun=rerun, is_streamed=is_streamed, terms=terms)
    return answer(report.results_json(results), lambda: None, ok=all(results))


def plan(files: Sequence[Path]) -> int:
    """What a sync would do."""
    default_app().spec = SpecLoader.load(list(files))
    found = actions.plan()
    return answer(report.plan_json(found), lambda: show.sync_plan(found), ok=not found.doubts)


def sync(files: Sequence[Path], *, with_deploy: bool, yes: bool) -> int:
    """Sync, then deploy to what was launched."""
    spec = default_app().spec = SpecLoader.load(list(files))
    return _sync(spec, with_deploy=with_deploy, yes=yes, is_silent=False)


def status(chosen: Selection, files: Sequence[Path], *, reconciles: bool, yes: bool, export: Path | None) -> int:
    """Count nodes by layout and state, after a sync where that is asked for."""
    spec = spec_if_any(files, is_needed=reconciles)
    is_well = True
    if reconciles and spec is not None:
        default_app().spec = spec
        is_well = _sync(spec, with_deploy=True, yes=yes, is_silent=current.is_json) == 0
    nodes = find_nodes(chosen, frozenset(NodeState) - {NodeState.TERMINATED})
    scales = {layout.name: layout.scale for layout in spec.layouts} if spec is not None else {}
    names = [*scales, *sorted({node.layout for node in nodes} - set(scales))] if chosen.is_empty else []
    counts: dict[str, dict[str, int]] = {name: {} for name in names} | _counts(nodes)
    problems = fold(
        Answer(Member(node.id, node.name, node.layout), "", without_name(node.reason, node.name))
        for node in nodes
        if node.reason and node.state is not NodeState.RUNNING
    )
    if export is not None:
        canvas.export(export, lambda console: show.counts(counts, scales, problems, console), "ogc status")
    # What needs no cloud to be said; a sync has said it, and more.
    staying = [node for node in nodes if node.state in LIVE - {NodeState.TERMINATING}]
    notes = find_notes(spec.layouts, staying, {}, 0) if spec is not None and chosen.is_empty and not reconciles else ()
    body = {"layouts": report.counts_json(counts, scales), "notes": list(notes)} | report.nodes_json(nodes)

    def shown() -> None:
        show.counts(counts, scales, problems)
        show.notes(notes)

    return answer(body, shown, ok=is_well)


def list_nodes(chosen: Selection, *, has_gone: bool, export: Path | None) -> int:
    """List nodes on record."""
    nodes = find_nodes(chosen, set(NodeState) if has_gone else LIVE)
    if export is not None:
        canvas.export(export, lambda console: show.nodes(nodes, console), "ogc ls")
    return answer(report.nodes_json(nodes), lambda: show.nodes(nodes))


def execute(
    command: str, chosen: Selection, *, timeout_s: float | None, is_diff: bool, is_streamed: bool, terms: Terms
) -> int:
    """Run a command on running nodes."""
    nodes = select_nodes(chosen, RUNNING)
    ids = [node.id for node in nodes]
    results = _run(
        nodes,
        "exec",
        lambda: actions.exec_async(
            ids,
            command,
            timeout_s=timeout_s,
            wait_s=terms.wait_s,
            take_over=terms.is_taking_over,
            claim=terms.is_claiming,
        ),
        is_streamed=is_streamed,
    )
    return _answer_outputs(nodes, results, is_diff=is_diff, is_streamed=is_streamed)


def execute_scripts(folder: Path, chosen: Selection, *, is_diff: bool, is_streamed: bool, terms: Terms) -> int:
    """Push and run another folder of scripts."""
    nodes = select_nodes(chosen, RUNNING)
    ids = [node.id for node in nodes]
    results = _run(
        nodes,
        "exec",
        lambda: actions.exec_scripts_async(ids, folder, wait_s=terms.wait_s, take_over=terms.is_taking_over),
        is_streamed=is_streamed,
    )
    return _answer_outputs(nodes, results, is_diff=is_diff, is_streamed=is_streamed)


def extend(chosen: Selection, by_s: float, *, terms: Terms) -> int:
    """Put off the ends of nodes."""
    nodes = select_nodes(chosen, RUNNING | {NodeState.STOPPED})
    ids = [node.id for node in nodes]
    result = perform(
        default_app(),
        lambda: actions.extend_async(ids, by_s, wait_s=terms.wait_s, take_over=terms.is_taking_over),
        title="extend",
        expected=len(ids),
        goal={"finished"},
    )
    return answer(report.extend_json(result), lambda: show.extend_result(result), ok=result.ok)


def remove(chosen: Selection, *, force: bool, only_db: bool, yes: bool, terms: Terms) -> int:
    """Tear chosen nodes down."""
    return _tear_down(select_nodes(chosen, LIVE), force=force, only_db=only_db, yes=yes, terms=terms)


def remove_all(*, force: bool, only_db: bool, yes: bool, terms: Terms) -> int:
    """Tear every node down; none is fine. What launches that failed have left behind goes, too."""
    nodes = actions.nodes(states=LIVE, app=default_app())
    if nodes:
        return _tear_down(nodes, force=force, only_db=only_db, yes=yes, terms=terms)
    leftovers = [] if only_db else actions.release()
    body = report.teardown_json(TeardownResult(leftovers=leftovers))
    return answer(body, lambda: show.nothing_torn_down(leftovers), ok=not leftovers)


def confirm(question: str, targets: Iterable[str], *, yes: bool) -> None:
    """List what is to go, and ask. Raises ``NotConfirmed`` where nobody can be asked."""
    if yes:
        return
    if current.is_json or not sys.stdin.isatty():
        raise NotConfirmed(f"{question} Nobody is there to be asked; say --yes")
    for target in targets:
        complain(target, "")
    if not typer.confirm(question, err=True):
        raise typer.Abort


def spec_if_any(files: Sequence[Path], *, is_needed: bool) -> Spec | None:
    """The spec, which nobody has to have here unless its files are named or it is to be synced to."""
    try:
        return SpecLoader.load(list(files))
    except SpecError:
        if files or is_needed or Path("ogc.yml").exists():
            raise
        return None


def _deploy(
    nodes: Sequence[NodeSnapshot], *, is_streamed: bool, rerun: bool = False, terms: Terms = AT_ONCE
) -> list[DeployResult]:
    ids = [node.id for node in nodes]
    results = _run(
        nodes,
        "deploy",
        lambda: actions.deploy_async(ids, rerun=rerun, wait_s=terms.wait_s, take_over=terms.is_taking_over),
        is_streamed=is_streamed,
    )
    if not current.is_json:
        show.deploy_results(results, _layouts(nodes))
    return results


def _run(
    nodes: Sequence[NodeSnapshot],
    title: str,
    work: Callable[[], Coroutine[Any, Any, list[DeployResult]]],
    *,
    is_streamed: bool,
) -> list[DeployResult]:
    listeners = [Streamed(nodes)] if is_streamed else []
    done: list[DeployResult] = perform(
        default_app(), work, title=title, expected=len(nodes), goal={"finished"}, listeners=listeners
    )
    for each in listeners:
        each.flush()
    return done


def _answer_outputs(
    nodes: Sequence[NodeSnapshot], results: Sequence[DeployResult], *, is_diff: bool, is_streamed: bool
) -> int:
    layouts = _layouts(nodes)

    def shown() -> None:
        if is_streamed:
            show.what_failed(results, layouts)
        else:
            show.outputs(results, layouts, is_diff=is_diff)

    return answer(report.results_json(results), shown, ok=all(results))


def _tear_down(nodes: Sequence[NodeSnapshot], *, force: bool, only_db: bool, yes: bool, terms: Terms) -> int:
    question = f"Let go of the rows of {_amount(nodes)}?" if only_db else f"Tear down {_amount(nodes)}?"
    confirm(question, _targets(nodes), yes=yes)
    ids = [node.id for node in nodes]
    result = perform(
        default_app(),
        lambda: actions.teardown_async(
            ids, force=force, only_db=only_db, wait_s=terms.wait_s, take_over=terms.is_taking_over
        ),
        title="let go" if only_db else "teardown",
        expected=len(ids),
        goal={"terminated"},
    )
    is_well = result.ok and not result.leftovers
    if only_db:
        done = set(result)
        left = [node for node in nodes if node.id in done and node.state in LIVE and node.instance_id is not None]
        return answer(report.let_go_json(result, left), lambda: show.let_go_result(result, left), ok=is_well)
    return answer(report.teardown_json(result), lambda: show.teardown_result(result), ok=is_well)


def _sync(spec: Spec, *, with_deploy: bool, yes: bool, is_silent: bool) -> int:
    expected = _agreed_plan(yes=yes)
    result = perform(
        default_app(),
        lambda: actions.sync_async(spec, plan=expected),
        title="sync",
        expected=sum(layout.scale for layout in spec.layouts),
        goal={"running", "terminated"},
    )
    if not current.is_json:
        show.sync_result(result)
    launched = _records(result.launched)
    results = _deploy(launched, is_streamed=False) if with_deploy and launched else []
    is_well = result.ok and all(results)
    if is_silent:
        return 0 if is_well else EXIT_FAILED
    return answer(report.sync_json(result) | report.results_json(results), lambda: None, ok=is_well)


def _agreed_plan(*, yes: bool) -> SyncPlan | None:
    """The plan that the user has agreed to, which is then done as it is; nothing where nothing is to be lost."""
    if yes:
        return None
    plan = actions.plan()
    doomed = plan.of(*DESTROYING)
    if not doomed:
        return None
    confirm(f"End {show.counted(len(doomed), 'machine')}?", [str(change) for change in doomed], yes=False)
    return plan


def _records(result: LaunchResult) -> list[NodeSnapshot]:
    wanted = set(result)
    return [node for node in actions.nodes(states=LIVE) if node.id in wanted] if wanted else []


def _counts(nodes: Iterable[NodeSnapshot]) -> dict[str, dict[str, int]]:
    counted = Counter((node.layout, str(node.state)) for node in nodes)
    by_layout: dict[str, dict[str, int]] = {}
    for (layout, state), count in sorted(counted.items()):
        by_layout.setdefault(layout, {})[state] = count
    return by_layout


def _layouts(nodes: Iterable[NodeSnapshot]) -> dict[int, str]:
    return {node.id: node.layout for node in nodes}


def _targets(nodes: Sequence[NodeSnapshot]) -> list[str]:
    """A line a node while they fit a screen, else a line a layout."""
    if len(nodes) <= show.SCREEN:
        return [f"  {node.name}  {node.state}  {node.public_ip or node.private_ip or ''}".rstrip() for node in nodes]
    members = [Member(node.id, node.name, node.layout) for node in nodes]
    return [f"  {part}" for part in called(members).split("; ")]


def _amount(nodes: Collection[NodeSnapshot]) -> str:
    return show.counted(len(nodes), "node")
