"""The answers as JSON: one shape for each thing, whichever command tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ogc_async.cli.mistakes import error_json
from ogc_async.db.results import ActionSnapshot
from ogc_async.types import (
    Change,
    DeployResult,
    Doubt,
    ExtendResult,
    Find,
    LaunchResult,
    Milestone,
    NodeFailure,
    NodeSnapshot,
    ReapResult,
    StepResult,
    SyncPlan,
    SyncResult,
    TeardownResult,
)

Json = dict[str, Any]

NODE_FIELDS = (
    *(
        "id",
        "name",
        "layout",
        "provider",
        "region",
        "zone",
        "account",
        "state",
        "instance_id",
        "public_ip",
        "private_ip",
    ),
    *("username", "ssh_port", "reason", "created_at", "updated_at", "running_at", "terminated_at"),
    *("size", "market", "ends_at", "ended_at", "ended_by"),
)


def node_json(node: NodeSnapshot) -> Json:
    """A node."""
    values = {name: _plain(getattr(node, name)) for name in NODE_FIELDS}
    return values | {"tags": list(node.tags), "labels": dict(node.labels)}


def result_json(result: DeployResult) -> Json:
    """What ran on one node."""
    return {
        "node_id": result.node_id,
        "node": result.name,
        "ok": bool(result),
        "steps": [step_json(step) for step in result.steps],
        "error": error_json(result.error) if result.error is not None else None,
    }


def step_json(step: StepResult | ActionSnapshot) -> Json:
    """One step; output that is not UTF-8 shows as U+FFFD."""
    return {
        "script": step.script,
        "state": str(step.state),
        "exit_code": step.exit_code,
        "signal": step.signal,
        "seconds": step.seconds,
        "output": step.output.decode("utf-8", "replace"),
        "output_bytes": step.output_bytes,
        "skipped": isinstance(step, StepResult) and step.is_skipped,
    }


def action_json(action: ActionSnapshot) -> Json:
    """A step on record."""
    more = {name: _plain(getattr(action, name)) for name in ("id", "node_id", "kind", "started_at", "finished_at")}
    return more | step_json(action)


def milestone_json(milestone: Milestone) -> Json:
    """A moment of a node's way."""
    names = ("node_id", "run", "work", "kind", "at", "detail")
    return {name: _plain(getattr(milestone, name)) for name in names}


def failure_json(failure: NodeFailure) -> Json:
    """Why a node failed."""
    return {
        "node_id": failure.node_id,
        "node": failure.name,
        "layout": failure.layout,
        "error": error_json(failure.error),
    }


def change_json(change: Change) -> Json:
    """One thing that a sync does."""
    names = ("kind", "layout", "provider", "region", "node_id", "node", "instance_id", "reason")
    return {name: _plain(getattr(change, name)) for name in names}


def launch_json(result: LaunchResult) -> Json:
    """What came of a launch."""
    return {
        "launched": list(result),
        "failures": [failure_json(each) for each in result.failures],
        "warnings": [failure_json(each) for each in result.warnings],
    }


def teardown_json(result: TeardownResult) -> Json:
    """What came of a teardown."""
    return {
        "torn_down": list(result),
        "failures": [failure_json(each) for each in result.failures],
        "leftovers": [error_json(each) for each in result.leftovers],
    }


def extend_json(result: ExtendResult) -> Json:
    """Whose ends were put off, and until when."""
    failures = {"failures": [failure_json(each) for each in result.failures]}
    return {"extended": list(result)} | nodes_json(result.nodes) | failures


def let_go_json(result: TeardownResult, left: Iterable[NodeSnapshot]) -> Json:
    """Whose rows were given up; ``left`` are those of them whose machines run on."""
    machines = [node.instance_id for node in left]
    return teardown_json(TeardownResult(failures=result.failures)) | {"let_go": list(result), "running_on": machines}


def plan_json(plan: SyncPlan) -> Json:
    """What a sync would do."""
    return {
        "changes": [change_json(each) for each in plan.changes],
        "busy": [node.name for node in plan.busy],
        "doubts": [failure_json(_failure(each)) for each in plan.doubts],
        "notes": list(plan.notes),
    }


def _failure(doubt: Doubt) -> NodeFailure:
    return NodeFailure(doubt.node.layout, doubt.node.id, doubt.node.name, doubt.error)


def sync_json(result: SyncResult) -> Json:
    """What a sync did, and what of it did not work."""
    failures = (*result.launched.failures, *result.torn_down.failures)
    own = [each for each in result.failures if isinstance(each, NodeFailure)]
    rest = [each for each in result.failures if not isinstance(each, NodeFailure)]
    return plan_json(result.plan) | {
        "launched": list(result.launched),
        "torn_down": list(result.torn_down),
        "failures": [failure_json(each) for each in (*failures, *own)],
        "leftovers": [error_json(each) for each in (*result.torn_down.leftovers, *rest)],
    }


def find_json(find: Find) -> Json:
    """A machine or volume that a reap has found."""
    names = ("kind", "id", "provider", "region", "layout", "scope", "node_id", "node", "since", "reason", "command")
    return {name: _plain(getattr(find, name)) for name in names}


def reap_json(result: ReapResult) -> Json:
    """What a reap has found and ended, and where it could not look."""
    return {
        "finds": [find_json(each) for each in result.finds],
        "ended": list(result.ended),
        "failures": [failure_json(each) for each in result.failures if isinstance(each, NodeFailure)],
        "leftovers": [error_json(each) for each in result.failures if not isinstance(each, NodeFailure)],
        "not_looked_at": [
            {"provider": each.provider, "region": each.region, "in_use": each.is_used, "error": error_json(each.error)}
            for each in result.not_looked_at
        ],
        "notes": list(result.warnings),
    }


def results_json(results: Iterable[DeployResult]) -> Json:
    """What ran on many nodes."""
    return {"results": [result_json(each) for each in results]}


def nodes_json(nodes: Sequence[NodeSnapshot]) -> Json:
    """Many nodes."""
    return {"nodes": [node_json(node) for node in nodes]}


def counts_json(counts: Mapping[str, Mapping[str, int]], scales: Mapping[str, int]) -> list[Json]:
    """How many nodes of each layout are in which state."""
    return [
        {"layout": layout, "scale": scales.get(layout), "states": dict(states)} for layout, states in counts.items()
    ]


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
