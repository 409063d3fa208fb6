"""Compute Engine's discovery document as a judge: strict JSON Schemas for every request, reply and error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import googleapiclient
import jsonschema

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "compute.v1.json"
BASE = "/compute/v1/"
FORMATS = {
    "int64": r"^-?[0-9]{1,19}$",
    "uint64": r"^[0-9]{1,20}$",
    "byte": r"^[A-Za-z0-9+/_-]*={0,2}$",
}
TEXT = {"type": "string", "minLength": 1}
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "additionalProperties": False,
            "required": ["code", "message", "errors"],
            "properties": {
                "code": {"type": "integer"},
                "message": TEXT,
                "status": TEXT,
                "errors": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["message", "domain", "reason"],
                        "properties": {"message": TEXT, "domain": {"enum": ["global", "usageLimits"]}, "reason": TEXT},
                    },
                },
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["@type", "reason", "domain"],
                        "properties": {
                            "@type": {"const": "type.googleapis.com/google.rpc.ErrorInfo"},
                            "reason": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]+[A-Z0-9]$"},
                            "domain": TEXT,
                            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                },
            },
        }
    },
}


class Judge:
    """Hears what a client says and is told, and notes what the document does not know."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.heard: set[str] = set()

    def hear(self, verb: str, url: str, body: str | bytes | None, status: int, reply: str) -> None:
        """Judge one exchange."""
        address = urlsplit(url)
        if not address.path.startswith(BASE):
            return
        found = find(verb, address.path.removeprefix(BASE))
        if found is None:
            self.faults.append(f"there is no {verb} {address.path}")
            return
        name, described = found
        self.heard.add(name)
        known = {*described["parameters"], *document()["parameters"]}
        asked = {key for key, _ in parse_qsl(address.query) if not key.startswith("$")}
        self.faults += [f"{name}: parameter {each}" for each in sorted(asked - known)]
        if body and "request" in described and status < 300:
            # What is refused may be wrong; what is accepted must be right.
            self._note(f"{name}'s request", faults(described["request"]["$ref"], without_nulls(json.loads(body))))
        self._judge_reply(name, described, status, json.loads(reply))

    def _judge_reply(self, name: str, described: Mapping[str, Any], status: int, reply: Any) -> None:
        if status >= 300:
            self._note(f"{name}'s error", _messages(jsonschema.Draft202012Validator(ERROR_SCHEMA), reply))
            if reply.get("error", {}).get("code") != status:
                self.faults.append(f"{name}: the error's code is not {status}")
            return
        schema = described["response"]["$ref"]
        self._note(f"{name}'s reply", faults(schema, reply))
        kind = document()["schemas"][schema]["properties"].get("kind", {}).get("default")
        if kind and reply.get("kind", kind) != kind:
            self.faults.append(f"{name}: kind {reply['kind']} is not {kind}")

    def _note(self, what: str, found: list[str]) -> None:
        self.faults += [f"{what}: {each}" for each in found]


def faults(schema: str, value: object) -> list[str]:
    """What a schema has against a value; a property that it does not know is a fault."""
    return _messages(_validator(schema), value)


def method(name: str) -> dict[str, Any]:
    """A method's description, such as that of ``instances.list``."""
    resource, _, verb = name.partition(".")
    found: dict[str, Any] = document()["resources"][resource]["methods"][verb]
    return found


def _messages(validator: jsonschema.Draft202012Validator, value: object) -> list[str]:
    return [f"{each.json_path}: {each.message[:300]}" for each in validator.iter_errors(value)]


def without_nulls(thing: Any) -> Any:
    """``null`` is as good as absent in a request."""
    if isinstance(thing, dict):
        return {name: without_nulls(value) for name, value in thing.items() if value is not None}
    return [without_nulls(each) for each in thing] if isinstance(thing, list) else thing


@lru_cache
def document() -> dict[str, Any]:
    """The discovery document."""
    loaded: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return loaded


@lru_cache
def _methods() -> list[tuple[str, str, re.Pattern[str], dict[str, Any]]]:
    found = []
    for resource, content in document()["resources"].items():
        for name, described in content.get("methods", {}).items():
            pattern = re.sub(r"\{\+?(\w+)\}", r"[^/]+", described["path"])
            found.append((f"{resource}.{name}", described["httpMethod"], re.compile(pattern), described))
    # What names more of the path is the one that is meant: images/family/x is no image of the name "family".
    return sorted(found, key=lambda each: len(re.sub(r"\[[^/]*\]\+", "", each[2].pattern)), reverse=True)


def find(verb: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The method of that path."""
    for name, its_verb, pattern, described in _methods():
        if verb == its_verb and pattern.fullmatch(path):
            return name, described
    return None


@lru_cache
def _definitions() -> dict[str, Any]:
    return {name: _strict(schema) for name, schema in document()["schemas"].items()}


@lru_cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": _definitions()})


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema.get("type", "any")
    if kind == "any":
        return {}
    strict: dict[str, Any] = {"type": kind}
    if kind == "object":
        strict["properties"] = {name: _strict(each) for name, each in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        strict["additionalProperties"] = _strict(more) if more else False
    elif kind == "array":
        strict["items"] = _strict(schema["items"])
    elif kind == "string":
        strict |= _strict_text(schema)
    elif schema.get("format") == "int32":
        strict |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    return strict


def _strict_text(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        return {"enum": schema["enum"]}
    if schema.get("format") in FORMATS:
        return {"pattern": FORMATS[schema["format"]]}
    return {"pattern": f"^(?:{schema['pattern']})$"} if "pattern" in schema else {}
