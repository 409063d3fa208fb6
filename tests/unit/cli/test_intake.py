"""A fleet's file from somebody else: whatever stands in whatever place, one error tells it, and nothing comes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ogc_async.cli.handover import hand_over, rows_of
from ogc_async.cli.intake import MAX_BYTES, MAX_PROBLEMS, read_file, take_in
from ogc_async.cli.main import run
from ogc_async.errors import HANDOVER_TOLD, HandoverError
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import NodeSnapshot, UserSnapshot
from tests.unit.cli.nodes import node

Place = tuple[str | int, ...]

KEYS = {"private": "/home/ada/.ssh/id_ed25519", "public": "/home/ada/.ssh/id_ed25519.pub"}
EVERYTHING = {
    "name": "web",
    "provider": "aws",
    "runs-on": "ubuntu-2404",
    "instance-size": "t3.small",
    "fallback-sizes": ["t3.medium"],
    "username": "ubuntu",
    "ssh-keys": KEYS,
    "scripts": "scripts/web",
    "scale": 2,
    "min-ready": 1,
    "include": ["files/*"],
    "exclude": ["*.bak"],
    "artifacts": ["/var/log/*.log", "out/*"],
    "tags": ["edge"],
    "labels": {"note": "of value"},
    "ports": ["80", "53/udp"],
    "region": "us-east-2",
    "zones": ["us-east-2a"],
    "ttl": "4h",
    "disk-size": 50,
    "ssh-port": 2222,
    "env": ["MY_TOKEN"],
    "ready": {"cloud-init": True, "port": 80, "command": "true"},
    "jump-host": "ops@bastion:22",
    "timeouts": {"step": 60},
}
"""Every key of a layout that has no one value by itself."""

CONTROL = {
    "a line's end": "x\n    ProxyCommand touch pwned",
    "a return": "x\rProxyCommand touch pwned",
    "NUL": "x\0y",
    "ESC": "x\x1b]52;c;dG91Y2g=\x07",
    "C1": "x\x9b2J",
    "100,000 characters": "x" * 100_000,
    "right to left": "x\u202egnp.exe",
    "a line separator": "x\u2028ProxyCommand touch pwned",
    "half a character": "x\ud800",
    "blank": "  ",
}
"""No text of the file may be any of these."""

TYPES: dict[str, object] = {
    "a deep list": [[[["x"]]]],
    "a mapping": {"touch": {"pwned": 1}},
    "a huge number": 1e20,
    "an endless number": float("1e999"),
    "a huge whole number": 10**400,
    "true": True,
    "zero": 0,
    "a fraction": 1.5,
}
WAYS = {
    "a dash": "-oProxyCommand=touch${IFS}pwned",
    "up": "../../../pwned",
    "absolute": "/etc/pwned",
    "up within": "./a/../../pwned",
    "a home": "~/pwned",
    "a pattern": "*",
    "a command": "$(touch pwned)",
    "a percent": "%h",
    "quotes": '"x" y',
    "full width": "\uff4f\uff47\uff43-web",
    "Cyrillic": "\u043egc-web-aaaaaaaa",
    "a final line's end": "ogc-web-bbbbbbbb\n",
}
"""No name, address, user, key, id, place or word of a list may be any of these."""

FREE = {
    ("user", "name"),
    ("needs", 0),
    ("needs", 1),
    ("settings", "AWS_REGION"),
    ("settings", "OGC_SSH_PORT"),
    ("nodes", 0, "reason"),
    ("nodes", 0, "tags", 0),
    ("nodes", 0, "labels", "note"),
    *(("nodes", 0, "spec", *rest) for rest in (
        ("runs-on",), ("instance-size",), ("fallback-sizes", 0), ("remote-path",), ("tags", 0), ("labels", "note"),
        ("ready", "command"),
    )),
}  # fmt: skip
"""Text of one line that is only ever shown, compared, or sent to a cloud or a node as what it is."""

PATTERNS = {("nodes", 0, "spec", name, place) for name in ("include", "exclude", "artifacts") for place in (0, 1)}
HARMLESS_PATTERNS = {"a dash", "a home", "a pattern", "a command", "a percent", "quotes", "full width", "Cyrillic"}
"""A pattern is text, quoted for the node's shell, so long as it does not lead out of its folder."""

ABSOLUTE = {("nodes", 0, "spec", *rest) for rest in (
    ("ssh-keys", "private"), ("ssh-keys", "public"), ("artifacts", 0), ("artifacts", 1), ("remote-path",),
)}  # fmt: skip

DEADLINES = ("boot", "ssh", "ready", "step", "transfer", "terminate")
WORDS = {"a huge number", "an endless number", "a huge whole number", "true", "zero", "a fraction"}
BY_THE_SPEC: dict[Place, set[str]] = {
    ("nodes", 0, "launch_index"): {"zero"},
    ("nodes", 0, "spec", "tags"): WORDS,
    ("nodes", 0, "spec", "tags", 0): WORDS,
    ("nodes", 0, "spec", "labels", "note"): {*WORDS, "blank"},
    ("nodes", 0, "spec", "spare"): {"zero"},
    ("nodes", 0, "spec", "spot"): {"true"},
    ("nodes", 0, "spec", "ready", "cloud-init"): {"true"},
    **{("nodes", 0, "spec", "timeouts", name): {"a fraction"} for name in DEADLINES},
}
"""Wrong types that are none here: YAML writes words without quotes."""


def ada() -> UserSnapshot:
    return UserSnapshot(1, "Ada Lovelace", "ada-lovelace", "0123456789abcdef0123456789abcdef")


def fleet(folder: Path) -> list[NodeSnapshot]:
    layout = Layout.from_dict({**EVERYTHING, "folder": str(folder)})
    given: dict[str, Any] = {
        "token": "7e6b4c1a-2f55-4e0b-9a52-0d1f54d0a1b2",
        "account": "123456789012",
        "private_ip": "10.0.0.7",
        "username": "ubuntu",
        "ssh_port": 2222,
        "tags": ("edge",),
        "labels": {"note": "of value"},
        "spec": layout.as_dict(),
        "reason": "the cloud said:\n  all well",
        "created_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "running_at": datetime(2026, 1, 31, 12, 1, tzinfo=UTC),
        "size": "t3.small",
        "market": "spot",
        "launch_id": "0123456789abcdef0123456789abcdef",
        "ends_at": datetime(2026, 1, 31, 16, 1, tzinfo=UTC),
    }
    key = new_host_key().public
    first = node(1, "ogc-web-bbbbbbbb", instance_id="i-0123456789abcdef0", host_key=key, **given)
    return [first, node(2, "ogc-web-cccccccc", instance_id="i-0123456789abcdef1", **given)]


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A file as export-env writes it; the working folder and the home are the test's own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OGC_DATA_DIR", str(tmp_path / "data"))
    settings = Settings(_env_file=None, aws_region="us-east-2")
    document: dict[str, Any] = json.loads(hand_over(ada(), fleet(folder), settings, folder))
    return document


def places(value: object, path: Place = ()) -> Iterator[Place]:
    """Every place of the document but the second node's, whose kinds the first one has."""
    if path[:2] == ("nodes", 1):
        return
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in inner:
        yield from places(each, (*path, part))


def with_value(document: dict[str, Any], place: Place, value: object) -> bytes:
    changed = deepcopy(document)
    at: Any = changed
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    return json.dumps(changed).replace("Infinity", "1e999").encode()


def is_refused(data: bytes, folder: Path) -> bool:
    try:
        take_in(data, "fleet.json", folder, None)
    except HandoverError as error:
        said = str(error)
    else:
        return False
    assert all(map(str.isprintable, said.splitlines())), said
    assert len(said) < 10_000, said
    return True


def allowed(place: Place, kind: str, value: object) -> bool:
    """The value is right there, whatever it is elsewhere."""
    if place in PATTERNS:
        is_absolute = kind == "absolute" and "artifacts" in place
        return kind in HARMLESS_PATTERNS or is_absolute
    if kind in WAYS and place in ABSOLUTE:
        return kind == "absolute" or (
            place[-1] == "remote-path" and kind not in {"up", "up within", "a home", "a final line's end"}
        )
    if kind in WAYS and place in FREE:
        return kind != "a final line's end"
    return kind in BY_THE_SPEC.get(place, ())


def test_a_good_file_is_what_was_handed_over(good: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (first, second) = rows_of(take_in(json.dumps(good).encode(), "fleet.json", folder, None))
    before = fleet(folder)[0]
    assert first["spec"] == before.spec
    assert {
        name: first[name]
        for name in ("name", "token", "instance_id", "account", "public_ip", "created_at", "running_at")
    } == {
        name: getattr(before, name)
        for name in ("name", "token", "instance_id", "account", "public_ip", "created_at", "running_at")
    }
    assert first["reason"] == "the cloud said: all well"
    assert (first["labels"], first["tags"], second["host_key"]) == ({"note": "of value"}, ["edge"], None)
    elsewhere = rows_of(take_in(json.dumps(good).encode(), "fleet.json", tmp_path / "there", tmp_path / "key"))[0][
        "spec"
    ]
    assert elsewhere["scripts"] == str(tmp_path / "there/scripts/web")
    assert elsewhere["ssh-keys"] == {"private": str(tmp_path / "key"), "public": str(tmp_path / "key.pub")}


def test_whatever_stands_in_whatever_place_is_refused_there(good: dict[str, Any], tmp_path: Path) -> None:
    del good["nodes"][1:]
    everywhere = list(places(good))
    assert len(everywhere) > 90
    mistaken: list[tuple[Place, str]] = []
    for place in everywhere:
        at: Any = good
        for part in place:
            at = at[part]
        hostile = CONTROL | TYPES | (WAYS if not isinstance(at, dict | list) else {})
        for kind, value in hostile.items():
            is_container = isinstance(at, list) and isinstance(value, str)
            # In a layout, a word stands for a list of one.
            if is_container and "spec" in place and kind not in CONTROL:
                continue
            data = with_value(good, place, value)
            if is_refused(data, tmp_path / "work") == allowed(place, kind, value):
                mistaken.append((place, kind))
    assert mistaken == []


def test_nothing_in_place_of_a_value_is_refused_but_where_a_row_may_lack_it(
    good: dict[str, Any], tmp_path: Path
) -> None:
    lacking = {
        ".".join(map(str, place[2:]))
        for place in places(good)
        if len(place) > 2 and not is_refused(with_value(good, place, None), tmp_path / "work")
    }
    row = {"zone", "instance_id", "account", "public_ip", "private_ip", "host_key", "reason", "running_at"}
    row |= {"size", "market", "launch_id", "ends_at"}
    layout = {"username", "scripts", "min-ready", "region", "ttl", "disk-size", "ssh-port", "jump-host"}
    inner = {"ready.port", "ready.command", *(f"timeouts.{name}" for name in DEADLINES)}
    assert lacking == row | {f"spec.{name}" for name in layout | inner}


@pytest.mark.parametrize("key", ["__proto__", "-o", "a\nb", "\x1b[2J", "k" * 100_000, "", "ogc:owner"])
def test_a_key_that_nobody_writes_is_refused_in_every_mapping(good: dict[str, Any], tmp_path: Path, key: str) -> None:
    mappings: list[Place] = [(), ("user",), ("settings",), ("nodes", 0), ("nodes", 0, "spec")]
    mappings += [("nodes", 0, "spec", name) for name in ("ssh-keys", "ready", "timeouts")]
    if not key.startswith(("__", "-o")):
        mappings += [("nodes", 0, "labels"), ("nodes", 0, "spec", "labels")]
    for place in mappings:
        assert is_refused(with_value(good, (*place, key), "x"), tmp_path / "work"), place


def test_all_that_is_wrong_is_told_at_once_each_at_its_place(good: dict[str, Any], tmp_path: Path) -> None:
    first, second = good["nodes"]
    first |= {"name": "../up", "ssh_port": 10**20, "username": "u\n  ProxyCommand x"}
    first["spec"] |= {"scripts": "/root/.ssh", "env": ["A=B"], "ssh-keys": [1]}
    second |= {"instance_id": first["instance_id"], "layout": "other"}
    with pytest.raises(HandoverError) as caught:
        take_in(json.dumps(good).encode(), "fleet.json", tmp_path, None)
    assert [each.where for each in caught.value.problems] == [
        "nodes[0].name",
        "nodes[0].username",
        "nodes[0].ssh_port",
        "nodes[0].spec.env[0]",
        "nodes[0].spec.ssh-keys",
        "nodes[0].spec.scripts",
        "nodes[1].layout",
        "nodes[1].instance_id",
    ]
    assert str(caught.value).startswith("fleet.json: nodes[0].name: must be a node's name")
    assert str(caught.value).endswith("nothing was taken over; let its writer export the fleet again")


def test_a_file_of_a_release_that_noted_no_account_is_taken_over(good: dict[str, Any], tmp_path: Path) -> None:
    for each in good["nodes"]:
        del each["account"]
    assert [row["account"] for row in rows_of(take_in(json.dumps(good).encode(), "", tmp_path, None))] == [None, None]


def test_tags_that_no_launch_would_take_any_more_are_those_of_a_machine(good: dict[str, Any], tmp_path: Path) -> None:
    first = good["nodes"][0]
    for each in (first, first["spec"]):
        each["provider"], each["labels"] = "google", {"Note": "Of Value"}
    (taken, _) = rows_of(take_in(json.dumps(good).encode(), "", tmp_path, None))
    assert taken["labels"] == taken["spec"]["labels"] == {"Note": "Of Value"}


def test_two_nodes_of_one_name_are_refused(good: dict[str, Any], tmp_path: Path) -> None:
    data = with_value(good, ("nodes", 1, "name"), good["nodes"][0]["name"])
    with pytest.raises(HandoverError, match=r"nodes\[1\].name: 'ogc-web-bbbbbbbb' is another node's name as well"):
        take_in(data, "fleet.json", tmp_path, None)


def test_problems_without_end_are_told_to_an_end(good: dict[str, Any], tmp_path: Path) -> None:
    good["nodes"] = [{"no": number} for number in range(5_000)]
    with pytest.raises(HandoverError) as caught:
        take_in(json.dumps(good).encode(), "fleet.json", tmp_path, None)
    assert len(caught.value.problems) == MAX_PROBLEMS
    assert f"and {MAX_PROBLEMS - HANDOVER_TOLD} more problems" in str(caught.value)
    good["nodes"] = [dict.fromkeys(map(str, range(50_000)))]
    with pytest.raises(HandoverError, match="holds 50000 values; 1000 at most"):
        take_in(json.dumps(good).encode(), "fleet.json", tmp_path, None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Expecting value"),
        (b"spec: web", "Expecting value"),
        (b"[]", "must be keys and values, not a list"),
        (b"null", "must be keys and values, not nothing"),
        (b'"x"', "must be keys and values, not 'x'"),
        (b"{}", "format: is missing"),
        (b'{"nodes": NaN}', "NaN is no number"),
        (b'{"nodes": -Infinity}', "-Infinity is no number"),
        (b'{"nodes": ' + b"9" * 5000 + b"}", "4300"),
        (b'{"nodes": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"nodes": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"nodes": "\xff\xfe"}', "byte 11 is not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "byte 0 is not UTF-8"),
        (b'{"format": "ogc-env/2"}', "format: must be 'ogc-env/1', not 'ogc-env/2'"),
        (b'{"nodes": {"0": {}}}', "nodes: "),
        (b'{"nodes": [[]]}', "nodes[0]: must be keys and values, not a list"),
    ],
)  # fmt: skip
def test_what_is_no_fleet_s_file_is_told_in_one_error(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(HandoverError) as caught:
        take_in(data, "fleet.json", tmp_path, None)
    assert says in str(caught.value)
    assert str(caught.value).startswith("fleet.json: ")


def test_what_is_no_file_is_not_waited_for_and_not_read_without_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", MAX_BYTES + 1)
    for name in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(HandoverError, match="is a folder, a pipe or a device; name a file, or write - for stdin"):
            read_file(name)
    with pytest.raises(HandoverError, match="is larger than"):
        read_file(tmp_path / "large")


def test_the_program_refuses_with_one_error_and_leaves_no_trace(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "work/fleet.json"
    leaves = [place for place in places(good) if place[-1] in ("name", "username", "public_ip", "host_key", "scripts")]
    assert len(leaves) > 5
    for place in leaves:
        for value in ("x\n    ProxyCommand touch pwned", "x\0y", "\x1b[2J", "x" * 100_000, [[["x"]]], 10**20):
            file.write_bytes(with_value(good, place, value))
            before = sorted(tmp_path.rglob("*"))
            assert run(["import-env", "fleet.json"]) == 1, (place, value)
            said = capsys.readouterr()
            assert said.out == ""
            assert said.err.count("ogc: ") == 1
            assert "Traceback" not in said.err
            assert all(line.isprintable() for line in said.err.splitlines())
            # No database, no folder of it, no file: nothing was begun.
            assert sorted(tmp_path.rglob("*")) == before


def test_the_problems_are_told_to_programs_too(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work/fleet.json").write_bytes(with_value(good, ("nodes", 1, "zone"), "../x"))
    assert run(["import-env", "fleet.json", "--json"]) == 1
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "HandoverError"
    assert [(each["where"], each["file"]) for each in error["problems"]] == [("nodes[1].zone", "fleet.json")]
