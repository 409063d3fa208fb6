"""The one JSON Schema of everything that ``--json`` prints: answers on stdout, errors on stderr."""

from __future__ import annotations

from typing import Any

from ogc_async.cli.invocation import FORMAT
from ogc_async.types import ChangeKind, EndedBy, FindKind, Market, MilestoneKind, NodeState, StepState

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
TEXTS: Schema = {"type": "array", "items": TEXT}
COUNTS: Schema = {"type": "array", "items": COUNT}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _many(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


_STEP: Schema = {
    "script": TEXT,
    "state": {"enum": [str(each) for each in StepState]},
    "exit_code": {"type": ["integer", "null"]},
    "signal": MAYBE_TEXT,
    "seconds": MAYBE_NUMBER,
    "output": TEXT,
    "output_bytes": COUNT,
    "skipped": FLAG,
}

DEFS: Schema = {
    "node": _object(
        {
            "id": COUNT,
            "name": TEXT,
            "layout": TEXT,
            "provider": TEXT,
            "region": TEXT,
            "zone": MAYBE_TEXT,
            "account": MAYBE_TEXT,
            "state": {"enum": [str(each) for each in NodeState]},
            "instance_id": MAYBE_TEXT,
            "public_ip": MAYBE_TEXT,
            "private_ip": MAYBE_TEXT,
            "username": TEXT,
            "ssh_port": COUNT,
            "reason": MAYBE_TEXT,
            "created_at": MAYBE_TIME,
            "updated_at": MAYBE_TIME,
            "running_at": MAYBE_TIME,
            "terminated_at": MAYBE_TIME,
            "size": MAYBE_TEXT,
            "market": {"enum": [*(str(each) for each in Market), None]},
            "ends_at": MAYBE_TIME,
            "ended_at": MAYBE_TIME,
            "ended_by": {"enum": [*(str(each) for each in EndedBy), None]},
            "tags": TEXTS,
            "labels": {"type": "object", "additionalProperties": TEXT},
        }
    ),
    "error": _object(
        {"type": TEXT, "message": TEXT},
        {
            "node": TEXT,
            "field": TEXT,
            "holder": TEXT,
            "claimed_for": {"type": ["string", "null"]},
            "since": MAYBE_TIME,
            "provider": TEXT,
            "operation": TEXT,
            "code": TEXT,
            "request_id": TEXT,
            "retryable": FLAG,
            "problems": {
                "type": "array",
                "items": _object({"where": TEXT, "message": TEXT, "file": TEXT, "line": COUNT, "column": COUNT}),
            },
        },
    ),
    "step": _object(_STEP),
    "action": _object(
        {"id": COUNT, "node_id": COUNT, "kind": TEXT, "started_at": MAYBE_TIME, "finished_at": MAYBE_TIME} | _STEP
    ),
    "result": _object(
        {
            "node_id": COUNT,
            "node": TEXT,
            "ok": FLAG,
            "steps": _many("step"),
            "error": {"oneOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
        }
    ),
    "failure": _object({"node_id": COUNT, "node": TEXT, "layout": TEXT, "error": {"$ref": "#/$defs/error"}}),
    "change": _object(
        {
            "kind": {"enum": [str(each) for each in ChangeKind]},
            "layout": TEXT,
            "provider": TEXT,
            "region": TEXT,
            "node_id": COUNT,
            "node": TEXT,
            "instance_id": TEXT,
            "reason": TEXT,
        }
    ),
    "find": _object(
        {
            "kind": {"enum": [str(each) for each in FindKind]},
            "id": TEXT,
            "provider": TEXT,
            "region": TEXT,
            "layout": TEXT,
            "scope": TEXT,
            "node_id": COUNT,
            "node": TEXT,
            "since": MAYBE_TIME,
            "reason": TEXT,
            "command": TEXT,
        }
    ),
    "place": _object({"provider": TEXT, "region": TEXT, "in_use": FLAG, "error": {"$ref": "#/$defs/error"}}),
    "layout": _object(
        {
            "layout": TEXT,
            "scale": {"type": ["integer", "null"]},
            "states": {"type": "object", "additionalProperties": COUNT},
        }
    ),
    "lane": _object(
        {
            "node_id": COUNT,
            "node": TEXT,
            "phases": {
                "type": "array",
                "items": _object({"name": TEXT, "start_s": NUMBER, "seconds": NUMBER, "ok": FLAG}),
            },
        }
    ),
    "milestone": _object(
        {
            "node_id": COUNT,
            "run": TEXT,
            "work": TEXT,
            "kind": {"enum": [str(each) for each in MilestoneKind]},
            "at": MAYBE_TIME,
            "detail": TEXT,
        }
    ),
    "key_pair": _object({"name": TEXT, "layout": TEXT, "provider": TEXT, "region": TEXT, "in_use": FLAG}),
}

ANSWERS: Schema = {
    "nodes": _many("node"),
    "results": _many("result"),
    "actions": _many("action"),
    "launched": COUNTS,
    "torn_down": COUNTS,
    "extended": COUNTS,
    "finds": _many("find"),
    "ended": TEXTS,
    "not_looked_at": _many("place"),
    "let_go": COUNTS,
    "running_on": TEXTS,
    "failures": _many("failure"),
    "warnings": _many("failure"),
    "doubts": _many("failure"),
    "leftovers": _many("error"),
    "changes": _many("change"),
    "busy": TEXTS,
    "notes": TEXTS,
    "layouts": _many("layout"),
    "timeline": _many("lane"),
    "milestones": _many("milestone"),
    "key_pairs": _many("key_pair"),
    "files": {"type": "array", "items": {"oneOf": [TEXT, _object({"path": TEXT, "written": FLAG})]}},
    "problems": TEXTS,
    "user": _object({"name": TEXT, "slug": TEXT, "is_new": FLAG}),
    "database": TEXT,
    "needs": TEXTS,
    "error": {"$ref": "#/$defs/error"},
}
"""Which of these an answer has, depends on the command."""

OUTPUT_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "What ogc prints with --json: an answer on stdout, or an error on stderr",
    **_object({"format": {"const": FORMAT}, "command": TEXT, "ok": FLAG, "exit_code": COUNT}, ANSWERS),
    "$defs": DEFS,
}
