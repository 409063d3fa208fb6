"""Every method, and everything that is no reply of its: none of it is an answer, and none is a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import libcloud
import pytest

from ogc_async.errors import OutcomeUnknown, Throttled, TokenSpent, Unauthorized, UnreadableReply
from ogc_async.providers.google.limits import Limits
from ogc_async.providers.google.methods import LAUNCH, METHODS
from ogc_async.providers.google.replies import KINDS, Fields, Many, Named, Part, decoded, fault_of, unreached
from tests import discovery
from tests.unit.providers.google.stub import StubbedClient, Time, instance, no, operation, page

RECORDED = Path(libcloud.__file__).parent / "test/compute/fixtures/gce"

DISK = {"name": "web-1", "status": "READY", "sizeGb": "10", "users": ["x"], "labels": {"ogc-owner": "adam"}}
MACHINE: dict[str, Any] = {
    **instance("web-1"),
    "machineType": "zones/us-central1-a/machineTypes/e2-small",
    "scheduling": {"provisioningModel": "SPOT", "preemptible": True, "terminationTime": "2026-01-01T00:00:00Z"},
    "resourceStatus": {"scheduling": {"terminationTimestamp": "2026-01-01T00:00:00Z"}},
    "lastStopTimestamp": "2026-01-01T00:00:00Z",
    "lastSuspendedTimestamp": "2026-01-01T00:00:00Z",
    "labelFingerprint": "abc=",
}
WELL: dict[str, dict[str, Any]] = {
    "diskAggregatedList": {"items": {"zones/us-central1-a": {"disks": [DISK]}}},
    "firewall": {"name": "f", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}], "sourceRanges": ["0.0.0.0/0"]},
    "guestAttributes": {"queryValue": {"items": [{"namespace": "hostkeys", "key": "ssh-ed25519", "value": "AAAA"}]}},
    "image": {"name": "i", "architecture": "X86_64"},
    "instance": MACHINE,
    "instanceAggregatedList": {"items": {"zones/us-central1-a": {"instances": [instance("web-1")]}}},
    "instanceList": {"items": [instance("web-1")]},
    "machineType": {"name": "e2-small", "architecture": "X86_64"},
    "operation": operation(("QUOTA_EXCEEDED", "CPUS")),
    "operationList": {"items": [operation()]},
    "project": {"name": "p", "commonInstanceMetadata": {"items": [{"key": "enable-oslogin", "value": "TRUE"}]}},
    "zone": {"name": "us-central1-a"},
}

LIES: dict[str, tuple[int, object]] = {
    "a login page": (200, b"<html><body>Please log in</body></html>"),
    "a login page as a refusal": (403, b"<html><body>Please log in</body></html>"),
    "plain words as a refusal": (400, b"bad request"),
    "another one's refusal": (404, {"error": "not_found", "error_description": "no"}),
    "too many, by a proxy": (429, b"slow down"),
    "nothing": (200, b""),
    "nothing, on purpose": (204, b""),
    "a redirect": (302, b""),
    "a redirect that keeps the method": (307, b""),
    "JSON of another kind": (200, {"status": "login required"}),
    "another kind of resource": (200, {"kind": "compute#disk", "name": "d", "status": "READY", "zone": "z"}),
    "another service's kind": (200, {"kind": "storage#object", "name": "d"}),
    "a list": (200, []),
    "a list of what is asked for": (200, [instance("web-1")]),
    "a number": (200, 7),
    "null": (200, None),
    "words": (200, "ok"),
    "an error that says all is well": (200, {"error": {"code": 403, "message": "no", "errors": []}}),
    "depth": (200, b"[" * 200_000),
    "no text": (200, b"\xff\xfe\x00"),
}

WRONG = (None, "x", 7, True, ["x"], {"x": "y"}, [None], {"x": None})


def arguments(name: str) -> dict[str, str]:
    given = {"zone": "us-central1-a", "instance": "web-1", "operation": "operation-1", "machineType": "e2-small"}
    given |= {"firewall": "f", "image": "i", "family": "f", "disk": "web-1"}
    return {key: value for key, value in given.items() if f"{{{key}}}" in METHODS[name].path}


async def answer_to(name: str, said: tuple[int, object], folder: Path) -> dict[str, Any]:
    client = StubbedClient(folder, {name: said})
    return await client.call(name, **arguments(name))


@pytest.mark.parametrize("name", METHODS)
async def test_a_reply_of_the_methods_kind_is_its_answer(name: str, tmp_path: Path) -> None:
    kind = METHODS[name].kind
    reply = {**WELL[kind], "kind": f"compute#{kind}"}
    assert await answer_to(name, (200, reply), tmp_path) == reply


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", METHODS)
async def test_whatever_else_answers_a_method_is_no_answer(name: str, lie: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableReply) as caught:
        await answer_to(name, LIES[lie], tmp_path)
    assert caught.value.retryable
    assert caught.value.operation == name
    assert "OGC_GOOGLE_ENDPOINT" in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
async def test_a_reply_with_its_tail_cut_off_is_no_answer(name: str, tmp_path: Path) -> None:
    kind = METHODS[name].kind
    whole = json.dumps({**WELL[kind], "kind": f"compute#{kind}"}).encode()
    for length in (1, len(whole) // 2, len(whole) - 1):
        with pytest.raises(UnreadableReply):
            await answer_to(name, (200, whole[:length]), tmp_path)


def spoilt(value: Any, part: Part) -> Iterator[Any]:
    """Everything that a value becomes by one field that is missing, or of another type."""
    if isinstance(part, Fields):
        known = {**part.needs, **part.may}
        for key in part.needs:
            yield {each: value[each] for each in value if each != key}
        for key in set(known) & set(value):
            yield from ({**value, key: each} for each in spoilt(value[key], known[key]))
    elif isinstance(part, Many):
        yield from ([each] for each in spoilt(value[0], part.of))
    elif isinstance(part, Named):
        for key in value:
            yield from ({**value, key: each} for each in spoilt(value[key], part.of))
    kinds = {str: str, int: int, bool: bool, Many: list}.get(part if isinstance(part, type) else type(part), dict)
    for each in WRONG:
        is_like_it = isinstance(each, kinds) and isinstance(each, bool) is (kinds is bool)
        if not is_like_it:
            yield each


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_that_is_read_is_of_its_type_or_the_reply_is_no_answer(kind: str) -> None:
    whole = {**WELL[kind], "kind": f"compute#{kind}"}
    assert fault_of(whole, kind) == ""
    cases = [each for each in spoilt(whole, KINDS[kind]) if isinstance(each, dict)]
    assert len(cases) > len(KINDS[kind].needs)
    assert [each for each in cases if not fault_of(each, kind)] == []


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_kind_is_the_one_that_the_api_gives_its_reply(name: str) -> None:
    schema = discovery.document()["schemas"][discovery.method(name)["response"]["$ref"]]
    assert schema["properties"]["kind"]["default"] == f"compute#{METHODS[name].kind}"
    assert unknown(schema, KINDS[METHODS[name].kind], METHODS[name].kind) == []


def unknown(schema: dict[str, Any], part: Part, where: str) -> list[str]:
    """Fields that the API's description does not have, or has of another type."""
    schema = discovery.document()["schemas"][schema["$ref"]] if "$ref" in schema else schema
    if isinstance(part, Fields):
        known = {**part.needs, **part.may}
        there = schema.get("properties", {})
        return [f"{where}.{key}" for key in known if key not in there] + [
            fault for key in known if key in there for fault in unknown(there[key], known[key], f"{where}.{key}")
        ]
    if isinstance(part, Many):
        return unknown(schema["items"], part.of, f"{where}[]") if schema["type"] == "array" else [where]
    if isinstance(part, Named):
        return unknown(schema["additionalProperties"], part.of, f"{where}.*") if schema["type"] == "object" else [where]
    return [] if schema["type"] == {str: "string", int: "integer", bool: "boolean"}[part] else [where]


def test_what_was_once_recorded_is_of_its_kind() -> None:
    seen: set[str] = set()
    for path in sorted(RECORDED.glob("*.json")):
        reply = decoded(path.read_bytes())
        kind = str(reply.get("kind", "")).removeprefix("compute#") if isinstance(reply, dict) else ""
        if kind in KINDS:
            seen.add(kind)
            assert fault_of(reply, kind) == "", path.name
    assert seen >= {"instance", "instanceAggregatedList", "instanceList", "operation", "firewall", "image", "project"}


@pytest.mark.parametrize(
    ("values", "is_whole"),
    [
        ({}, True),
        ({"warning": {"code": "NO_RESULTS_ON_PAGE"}}, True),
        ({"warning": {"code": "UNREACHABLE"}}, False),
        ({"warning": {"code": "PARTIAL_SUCCESS"}}, False),
        ({"unreachables": ["zones/us-central1-a"]}, False),
        ({"unreachables": ["projects/p/regions/us-central1"]}, False),
        ({"unreachables": ["somewhere"]}, False),
        ({"unreachables": ["zones/europe-west1-b"]}, True),
        ({"unreachables": ["zones/europe-west1-b"], "warning": {"code": "PARTIAL_SUCCESS"}}, True),
        ({"items": {"zones/us-central1-a": {"warning": {"code": "UNREACHABLE"}}}}, False),
        ({"items": {"zones/europe-west1-b": {"warning": {"code": "UNREACHABLE"}}}}, True),
        ({"items": {"zones/us-central1-a": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}}, True),
    ],
)
async def test_a_list_that_did_not_reach_all_of_the_region_is_none(
    values: dict[str, Any], is_whole: bool, tmp_path: Path
) -> None:
    listing = {"kind": "compute#instanceAggregatedList", **values}
    assert (unreached(listing, "us-central1") == "") is is_whole
    instances = StubbedClient(tmp_path, {"instances.aggregatedList": (200, listing)}).instances()
    if is_whole:
        assert await instances.list_owned("adam") == []
    else:
        with pytest.raises(UnreadableReply, match="not whole"):
            await instances.list_owned("adam")


async def test_pages_that_go_round_in_a_circle_end(tmp_path: Path) -> None:
    listing = {"kind": "compute#instanceAggregatedList", "nextPageToken": "again"}
    with pytest.raises(UnreadableReply, match="followed by itself"):
        await StubbedClient(tmp_path, {"instances.aggregatedList": (200, listing)}).instances().list_owned("adam")


async def test_a_lie_that_passes_is_asked_again(tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"instances.list": [LIES["a login page"], (200, page("instance"))]})
    assert await client.call("instances.list", zone="us-central1-a") == page("instance")
    assert client.calls["instances.list"] == 2


async def test_a_token_that_is_over_before_its_time_is_renewed_once(tmp_path: Path) -> None:
    client = StubbedClient(tmp_path, {"instances.list": [no(401, "authError"), (200, page("instance"))]})
    await client.call("instances.list", zone="us-central1-a")
    assert client.bearers == ["token-1", "token-2"]

    client = StubbedClient(tmp_path, {"instances.list": no(401, "authError")})
    with pytest.raises(Unauthorized):
        await client.call("instances.list", zone="us-central1-a")
    assert client.bearers == ["token-1", "token-2"]


@pytest.mark.parametrize("lie", ["a login page", "nothing", "a redirect"])
@pytest.mark.parametrize("last", [no(403, "forbidden"), no(403, "rateLimitExceeded"), no(400, "invalid")])
async def test_a_refused_repeat_says_nothing_of_the_launch_call_before_it(
    lie: str, last: tuple[int, object], tmp_path: Path
) -> None:
    client = StubbedClient(tmp_path, {LAUNCH: [LIES[lie], last]})
    with pytest.raises(OutcomeUnknown) as caught:
        await client.call(LAUNCH, zone="us-central1-a")
    assert caught.value.retryable


async def test_a_launch_calls_first_refusal_is_certain_and_names_that_are_taken_are_told_as_such(
    tmp_path: Path,
) -> None:
    with pytest.raises(Unauthorized):
        await StubbedClient(tmp_path, {LAUNCH: no(403, "forbidden")}).call(LAUNCH, zone="us-central1-a")
    client = StubbedClient(tmp_path, {LAUNCH: [LIES["a login page"], no(409, "alreadyExists")]})
    with pytest.raises(TokenSpent):
        await client.call(LAUNCH, zone="us-central1-a")


async def test_a_call_that_was_refused_for_its_rate_stands_still_within_its_budget_only(tmp_path: Path) -> None:
    time = Time()

    async def never(_seconds: float) -> None:
        await anyio.sleep_forever()

    limits = Limits(wall_clock=time, sleep=never)
    said = no(403, "rateLimitExceeded")
    client = StubbedClient(tmp_path, {"instances.get": said}, limits=limits, ogc_api_retry_s=0.01)
    with pytest.raises(Throttled):
        await client.call("instances.get", zone="us-central1-a", instance="web-1")
