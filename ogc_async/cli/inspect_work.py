"""What ``ogc inspect`` does: one node's facts and history, many nodes' folded, or the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from ogc_async.actions.context import connected_engine, default_app
from ogc_async.aio.blocking import blocking
from ogc_async.cli import canvas, report, show
from ogc_async.cli.chart import draw_timeline
from ogc_async.cli.chart_svg import timeline_svg
from ogc_async.cli.fold import Answer, Member
from ogc_async.cli.phases import Lane, lanes_of
from ogc_async.cli.select import Selection, select_nodes
from ogc_async.cli.tables import ends_in
from ogc_async.cli.voice import answer, out
from ogc_async.db.history import find_last_actions
from ogc_async.db.milestones import find_milestones
from ogc_async.db.results import ActionSnapshot, node_actions
from ogc_async.types import Milestone, NodeSnapshot, NodeState

EVERY = frozenset(NodeState)
HTML = '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>ogc timeline</title><body>\n{}</body></html>\n'


def inspect(chosen: Selection, *, step: str | None, is_diff: bool, export: Path | None) -> int:
    """Show what is on record of the nodes chosen."""
    nodes = select_nodes(chosen, EVERY)
    is_one = len(nodes) == 1
    actions = history_of([node.id for node in nodes], is_whole=is_one)
    if step is not None:
        actions = [action for action in actions if fnmatchcase(action.script, step)]

    def draw(console: Console) -> None:
        if is_one:
            _one(nodes[0], actions, console)
        else:
            _many(nodes, actions, console, is_diff=is_diff)

    if export is not None:
        canvas.export(export, draw, "ogc inspect")
    body = report.nodes_json(nodes) | {"actions": [report.action_json(action) for action in actions]}
    return answer(body, lambda: draw(out))


def timeline(chosen: Selection, export: Path | None) -> int:
    """Draw who was how long in which phase."""
    nodes = select_nodes(chosen, EVERY)
    milestones = milestones_of([node.id for node in nodes])
    lanes = lanes_of(milestones, {node.id: node.name for node in nodes})
    if export is not None:
        picture = timeline_svg(lanes)
        canvas.write(export, picture if canvas.kind_of(export) == ".svg" else HTML.format(picture))
    body = {
        "timeline": [_lane_json(lane) for lane in lanes],
        "milestones": [report.milestone_json(each) for each in milestones],
    }
    return answer(body, lambda: draw_timeline(out, lanes))


async def history_of_async(node_ids: Sequence[int], *, is_whole: bool) -> list[ActionSnapshot]:
    """Every action of the one node, or the last of each script of many."""
    engine = connected_engine(default_app())
    return await node_actions(engine, node_ids[0]) if is_whole else await find_last_actions(engine, node_ids)


async def milestones_of_async(node_ids: Sequence[int]) -> list[Milestone]:
    """The nodes' milestones."""
    return await find_milestones(connected_engine(default_app()), node_ids)


history_of = blocking(history_of_async)
milestones_of = blocking(milestones_of_async)


def _one(node: NodeSnapshot, actions: Sequence[ActionSnapshot], console: Console) -> None:
    facts = [
        ("node", f"{node.name} (id {node.id})"),
        ("state", node.state + (f": {node.reason}" if node.reason else "")),
        ("layout", node.layout),
        ("cloud", f"{node.provider} {node.zone or node.region}"),
        ("instance", node.instance_id or "-"),
        ("size", f"{node.size or '-'}, {node.market or 'market not on record'}"),
        ("address", f"{node.public_ip or '-'} public, {node.private_ip or '-'} private"),
        ("login", f"{node.username or '-'}, port {node.ssh_port}"),
        ("host key", node.host_key or "none on record yet"),
        ("tags", ", ".join(node.tags) or "-"),
        ("labels", ", ".join(f"{key}={value}" for key, value in node.labels.items()) or "-"),
        ("created", _moment(node.created_at)),
        ("running", _moment(node.running_at)),
        ("ends", _end(node)),
        ("ended", f"{_moment(node.ended_at)}{f', by {node.ended_by}' if node.ended_by else ''}"),
    ]
    for title, value in facts:
        console.print(f"[bold]{title:<9}[/bold]", end="")
        console.print(value, markup=False)
    for action in actions:
        took = f"{action.seconds:.2f}s" if action.seconds is not None else "not ended"
        head = f"── {action.script} ({_outcome(action)}) {action.kind}, {took}, {action.started_at:%Y-%m-%d %H:%M:%S}"
        console.print(head, style="dim", markup=False)
        text = _text(action)
        console.print(text, end="" if text.endswith("\n") or not text else "\n", markup=False)


def _many(nodes: Sequence[NodeSnapshot], actions: Sequence[ActionSnapshot], console: Console, *, is_diff: bool) -> None:
    members = {node.id: Member(node.id, node.name, node.layout) for node in nodes}
    by_script: dict[str, list[Answer]] = {}
    for action in actions:
        said = Answer(members[action.node_id], _outcome(action), _text(action))
        by_script.setdefault(action.script, []).append(said)
    if not by_script:
        console.print(f"{len(nodes)} nodes, and no step on record", markup=False)
    for script, answers in by_script.items():
        show.folded(answers, is_diff=is_diff, title=f"{script}: ", console=console)


def _end(node: NodeSnapshot) -> str:
    """When its time to live is over, and how far that is away while it lives."""
    away = ends_in(node)
    if away == "-":
        return _moment(node.ends_at)
    return f"{_moment(node.ends_at)}, {'' if node.is_over() else 'in '}{away}"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else "-"


def _outcome(action: ActionSnapshot) -> str:
    return str(action.exit_code) if action.exit_code is not None else str(action.state)


def _text(action: ActionSnapshot) -> str:
    return action.output.decode("utf-8", "replace")


def _lane_json(lane: Lane) -> dict[str, object]:
    phases = [
        {"name": each.name, "start_s": round(each.start_s, 3), "seconds": round(each.seconds, 3), "ok": each.ok}
        for each in lane.phases
    ]
    return {"node_id": lane.node_id, "node": lane.name, "phases": phases}
