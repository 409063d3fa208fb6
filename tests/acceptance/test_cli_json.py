"""``--json``: one document on stdout and nothing else, one on stderr where something is wrong, all of one schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ogc_async.cli.schema import OUTPUT_SCHEMA
from ogc_async.spec import Spec
from tests.acceptance.conftest import Ogc

JUDGE = jsonschema.Draft202012Validator(OUTPUT_SCHEMA, format_checker=jsonschema.FormatChecker())


@pytest.fixture
def kind() -> str:
    return "sqlite"


def judged(text: str) -> dict[str, Any]:
    assert len(text.splitlines()) == 1, text
    document: dict[str, Any] = json.loads(text)
    JUDGE.validate(document)
    return document


def answered(ogc: Ogc, *words: str, code: int = 0) -> dict[str, Any]:
    """The document that a command answers with; nothing else is said anywhere."""
    done = ogc(*words, "--json")
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    document = judged(done.stdout)
    assert (document["ok"], document["exit_code"]) == (code == 0, code)
    return document


def refused(ogc: Ogc, *words: str, code: int, **variables: str) -> dict[str, Any]:
    done = ogc(*words, "--json", **variables)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    document = judged(done.stderr)
    assert (document["ok"], document["exit_code"]) == (False, code)
    error: dict[str, Any] = document["error"]
    return error


def test_the_schemas_are_schemas_and_printed(ogc: Ogc) -> None:
    jsonschema.Draft202012Validator.check_schema(OUTPUT_SCHEMA)
    assert json.loads(ogc("spec", "schema", "output").stdout) == OUTPUT_SCHEMA
    assert json.loads(ogc("spec", "schema").stdout) == json.loads(json.dumps(Spec.json_schema()))


def test_every_command_answers_with_one_document(ogc: Ogc, work_folder: Path) -> None:
    begun = answered(ogc, "init", "--name", "Ada")
    assert begun["user"] == {"name": "Ada", "slug": "ada", "is_new": True}
    assert all(each["written"] for each in begun["files"])
    assert answered(ogc, "db", "migrate")["command"] == "migrate"
    assert answered(ogc, "spec", "check")["problems"] == []
    assert answered(ogc, "rm-all", "--yes")["torn_down"] == []
    assert [each["kind"] for each in answered(ogc, "plan")["changes"]] == ["launch"] * 7

    launched = answered(ogc, "launch")
    assert launched["launched"] == [1, 2, 3, 4, 5, 6, 7]
    assert [each["state"] for each in launched["nodes"]] == ["running"] * 7
    assert all(each["ok"] and each["steps"] for each in launched["results"])
    assert answered(ogc, "ls", "--layout", "web")["nodes"] == launched["nodes"][:4]
    counts = {each["layout"]: (each["scale"], each["states"]) for each in answered(ogc, "status")["layouts"]}
    assert counts == {"web": (4, {"running": 4}), "worker": (3, {"running": 3})}
    assert len(answered(ogc, "inspect", "1")["actions"]) == 2
    timeline = answered(ogc, "inspect", "--all", "--timeline")
    assert {lane["node_id"] for lane in timeline["timeline"]} == set(range(1, 8))
    assert {"planned", "requested", "running", "connected", "ready"} <= {
        each["kind"] for each in timeline["milestones"]
    }
    (pair,) = answered(ogc, "ls-key-pairs")["key_pairs"]
    assert (pair["layout"], pair["in_use"]) == ("web", True)

    said = answered(ogc, "exec", "echo out; exit $((OGC_NODE_ID % 2))", "--all", code=1)
    assert [each["steps"][0]["exit_code"] for each in said["results"]] == [1, 0, 1, 0, 1, 0, 1]
    assert {each["steps"][0]["output"] for each in said["results"]} == {"out\n"}
    assert len(answered(ogc, "deploy", "--layout", "worker")["results"]) == 3
    assert len(answered(ogc, "exec-scripts", "scripts/worker", "1")["results"]) == 1
    assert answered(ogc, "exec", "echo streamed", "1", "--stream")["results"][0]["ok"]
    assert answered(ogc, "export-env", "fleet.json")["needs"]
    assert answered(ogc, "import-env", "fleet.json")["nodes"] == []
    assert answered(ogc, "sync")["changes"] == []
    endless = answered(ogc, "extend", "1", "2h", code=1)
    assert (endless["extended"], endless["failures"][0]["error"]["type"]) == ([], "CannotExtend")
    # Machines of other databases may be there, and none of them is a healthy one of this.
    assert {each["kind"] for each in answered(ogc, "reap", "--dry-run")["finds"]} <= {"stray"}
    assert answered(ogc, "rm", "1-2", "--force", "--yes")["torn_down"] == [1, 2]
    assert answered(ogc, "rm-key-pairs", "--all", "--yes")["key_pairs"] == []
    assert len(answered(ogc, "rm-all", "--force", "--yes")["torn_down"]) == 5
    assert json.loads((work_folder / "fleet.json").read_text())["format"] == "ogc-env/1"


def test_every_error_is_one_document(ogc: Ogc, work_folder: Path) -> None:
    nowhere = "postgresql://nobody:hidden@127.0.0.1:1/none"
    assert refused(ogc, "ls", code=1)["type"] == "NotMigrated"
    assert refused(ogc, "ls", code=1, OGC_DATABASE_URL=nowhere)["type"] == "DatabaseUnavailable"
    assert refused(ogc, "ls", code=2, OGC_DATABASE_URL="oracle://x/y")["type"] == "SettingsError"
    assert ogc("init").returncode == 0
    assert refused(ogc, "rm", code=2)["type"] == "SettingsError"
    assert refused(ogc, "rm", "nobody", code=3)["type"] == "UnknownNode"
    assert refused(ogc, "ls", "--tag", "nope", code=3)["type"] == "NothingMatched"
    assert refused(ogc, "frobnicate", code=2)["type"] == "UsageError"
    assert refused(ogc, "ls", "--nonsense", code=2)["type"] == "UsageError"
    assert refused(ogc, "exec", code=2)["type"] == "UsageError"
    (work_folder / "ogc.yml").write_text("name: x\nlayouts: 3\n")
    problems = refused(ogc, "launch", code=2)["problems"]
    assert {(each["where"], each["line"]) for each in problems} >= {("layouts", 2)}
    (work_folder / ".env").write_text("OGC_POLL_S=soon\n")
    assert refused(ogc, "ls", code=2, OGC_POLL_S="")["type"] == "SettingsError"


def test_what_would_ask_does_not_and_a_log_is_json_too(fleet: Ogc) -> None:
    assert refused(fleet, "rm-all", code=2)["type"] == "NotConfirmed"
    done = fleet("ls", "--json", "-v")
    assert len(judged(done.stdout)["nodes"]) == 7
    assert all(set(json.loads(line)) == {"log"} for line in done.stderr.splitlines())
    assert fleet("rm-all", "--yes", "--force").returncode == 0
