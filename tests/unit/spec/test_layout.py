"""A layout on its own: to plain values and back."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from ogc_async.errors import SpecError
from ogc_async.spec import Layout, Spec, SshKeys, Timeouts
from ogc_async.types import Port
from tests.unit.spec.conftest import HEAD, Load

FULL = """\
    arch: aarch64
    fallback-sizes: [m5.large, m5a.large]
    username: admin
    scripts: scripts/web
    scale: 3
    min-ready: 1
    spare: 1
    remote-path: work/
    include: [files/*, "*.conf"]
    exclude: "*.tmp"
    artifacts: logs/*.txt
    tags: [front, 1.10]
    labels: {team: ops, version: 1.10, live: true}
    ports: [80, "8000-8100", 53/udp]
    ingress: [10.0.0.0/8, 2001:db8::/48]
    region: us-east-2
    zones: [us-east-2a, us-east-2b]
    spot: true
    ttl: 1h30m
    disk-size: 50GiB
    ssh-port: 2222
    env: [APP_VERSION]
    on-failure: continue
    ready: {cloud-init: true, port: 8080}
    platform: linux
    address: private
    jump-host: ops@bastion.example:2222
    timeouts: {boot: 5m, step: 1.5}
    ssh-keys: {private: own}
"""

MINIMAL: dict[str, object] = {
    "name": "web",
    "provider": "google",
    "runs-on": "debian-13",
    "instance-size": "e2-small",
    "ssh-keys": {"private": "/keys/id"},
}


def test_as_dict_is_plain_and_has_the_keys_of_a_spec(load: Load, tmp_path: Path) -> None:
    assert load(HEAD + FULL).layout("web").as_dict() == {
        "name": "web",
        "provider": "aws",
        "runs-on": "ubuntu-2404",
        "arch": "arm64",
        "instance-size": "t3.small",
        "username": "admin",
        "scripts": str(tmp_path / "scripts/web"),
        "scale": 3,
        "remote-path": "work",
        "include": ["files/*", "*.conf"],
        "exclude": ["*.tmp"],
        "fallback-sizes": ["m5.large", "m5a.large"],
        "min-ready": 1,
        "spare": 1,
        "artifacts": ["logs/*.txt"],
        "tags": ["front", "1.10"],
        "labels": {"team": "ops", "version": "1.10", "live": "true"},
        "ports": ["80", "8000-8100", "53/udp"],
        "ingress": ["10.0.0.0/8", "2001:db8::/48"],
        "region": "us-east-2",
        "zones": ["us-east-2a", "us-east-2b"],
        "spot": True,
        "ttl": 5400,
        "disk-size": 50,
        "ssh-port": 2222,
        "env": ["APP_VERSION"],
        "ready": {"cloud-init": True, "port": 8080, "command": None},
        "platform": "linux",
        "address": "private",
        "jump-host": "ops@bastion.example:2222",
        "on-failure": "continue",
        "timeouts": {"boot": 300.0, "ssh": None, "ready": None, "step": 1.5, "transfer": None, "terminate": None},
        "ssh-keys": {"private": str(tmp_path / "own"), "public": str(tmp_path / "own.pub")},
        "folder": str(tmp_path),
    }


def test_every_layout_comes_back_the_same_from_its_dict_and_from_json(load: Load) -> None:
    lines = FULL.splitlines(keepends=True)
    texts = [HEAD + "".join(chosen) for size in (0, 1, 2) for chosen in itertools.combinations(lines, size)]
    # All of them as layouts of one spec: parsing each by itself would take most of the time.
    bodies = [text.split("  web:\n")[1] for text in texts]
    text = HEAD.split("  web:\n")[0] + "".join(f"  web-{n}:\n{body}" for n, body in enumerate([*bodies, FULL_BODY]))
    layouts = load(text).layouts
    assert len(layouts) == len(texts) + 1
    for layout in layouts:
        plain = layout.as_dict()
        assert Layout.from_dict(plain) == layout
        assert Layout.from_dict(json.loads(json.dumps(plain))) == layout
        assert Layout.from_dict(plain).as_dict() == plain


FULL_BODY = HEAD.split("  web:\n")[1] + FULL


@pytest.mark.parametrize(
    "ttl", [30, 30.25, 90, 5400, 86400.5, "1h30m", timedelta(hours=2), {"after": "4h", "then": "stop"}, None]
)
def test_times_come_back_to_the_microsecond(ttl: object) -> None:
    layout = Layout.from_dict({**MINIMAL, "ttl": ttl, "timeouts": {"boot": 1.25}})
    assert Layout.from_dict(json.loads(json.dumps(layout.as_dict()))) == layout
    again = Layout.from_dict(layout.model_dump())
    assert again.ttl == pickle.loads(pickle.dumps(layout.ttl)) == copy.deepcopy(layout.ttl) == layout.ttl


def test_a_layout_written_by_hand_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layout = Layout.from_dict({**MINIMAL, "scripts": "scripts", "ports": (80, Port(53, 53, "udp")), "labels": {"n": 2}})
    assert layout.folder == tmp_path
    assert layout.scripts == tmp_path / "scripts"
    assert layout.ports == (Port(80, 80), Port(53, 53, "udp"))
    assert layout.labels == {"n": "2"}
    assert layout.ssh_keys == SshKeys(private=Path("/keys/id"), public=Path("/keys/id.pub"))


def test_relative_paths_of_a_dict_start_in_its_folder(tmp_path: Path) -> None:
    keys = {"private": "id", "public": Path("id.pub")}
    layout = Layout.from_dict({**MINIMAL, "folder": tmp_path, "scripts": Path("a/../b"), "ssh-keys": keys})
    assert layout.scripts == tmp_path / "b"
    assert (layout.ssh_keys.private, layout.ssh_keys.public) == (tmp_path / "id", tmp_path / "id.pub")


def test_a_folder_may_have_any_name_that_the_system_allows(tmp_path: Path) -> None:
    folder = tmp_path / "odd\nname"
    for _ in range(8):
        folder /= "d" * 200
    layout = Layout.from_dict({**MINIMAL, "folder": folder, "scripts": "x"})
    assert layout.scripts == folder / "x"
    assert Layout.from_dict(json.loads(json.dumps(layout.as_dict()))) == layout


def test_a_dict_that_is_no_layout_is_told_everything_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Layout.from_dict({"name": "web", "provider": "gcp", "runs-on": "x", "scael": 1, "ports": [80, "x"], 7: 7})  # type: ignore[dict-item] # a key that is no text
    assert [(problem.where, problem.file, problem.line) for problem in caught.value.problems] == [
        ("layouts.web.provider", "", 0),
        ("layouts.web.instance-size", "", 0),
        ("layouts.web.ports[1]", "", 0),
        ("layouts.web.ssh-keys", "", 0),
        ("layouts.web.scael", "", 0),
        ("layouts.web.7", "", 0),
    ]
    assert "layouts.web.scael: unknown key 'scael'; did you mean 'scale'?" in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "web", 7])
def test_what_is_no_dict_at_all_is_a_spec_error_too(value: object) -> None:
    with pytest.raises(SpecError, match=r"^layout: must be keys and values, not "):
        Layout.from_dict(value)  # type: ignore[arg-type] # the wrong type is what is tested


def test_a_dict_without_a_name_is_told_so() -> None:
    with pytest.raises(SpecError, match=r"^layout\.name: is missing; write one, for example `name: web`$"):
        Layout.from_dict({key: value for key, value in MINIMAL.items() if key != "name"})


def test_the_spelling_of_python_is_not_that_of_a_dict() -> None:
    with pytest.raises(SpecError, match=r"unknown key 'disk_size'; did you mean 'disk-size'\?"):
        Layout.from_dict({**MINIMAL, "disk_size": 5})


def test_of_takes_a_layout_or_its_dict() -> None:
    layout = Layout.from_dict(MINIMAL)
    assert Layout.of(layout) is layout
    assert Layout.of(layout.as_dict()) == layout


def test_changing_the_dict_does_not_change_the_layout() -> None:
    layout = Layout.from_dict({**MINIMAL, "labels": {"a": "b"}})
    plain = layout.as_dict()
    labels = plain["labels"]
    assert isinstance(labels, dict)
    labels["a"] = "c"
    assert layout.labels == {"a": "b"}


def test_a_layout_can_not_be_changed() -> None:
    layout = Layout.from_dict(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        layout.scale = 5  # type: ignore[misc] # that it is refused is what is tested


def test_layouts_can_be_made_in_python_by_the_names_of_the_attributes(tmp_path: Path) -> None:
    keys = SshKeys(private=tmp_path / "id")
    layout = Layout(
        name="web",
        provider="aws",
        runs_on="debian-13",
        instance_size="t3.small",
        ssh_keys=keys,
        folder=tmp_path,
        timeouts=Timeouts(boot=5),
    )
    assert layout.timeouts.boot == 5.0
    assert Spec(name="demo", ssh_keys=keys, layouts=(layout,)).layout("web") == Layout.from_dict(layout.as_dict())


def test_the_json_schema_knows_every_key_and_no_other(load: Load) -> None:
    schema = Spec.json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["name", "ssh-keys", "layouts"]
    keys = schema["$defs"]["LayoutEntry"]["properties"]
    assert set(keys) == set(load(HEAD + FULL).layout("web").as_dict()) - {"name", "folder"}
    assert schema["$defs"]["LayoutEntry"]["additionalProperties"] is False
    assert all("description" in key for key in keys.values())
    assert (keys["scale"]["minimum"], keys["scale"]["maximum"]) == (0, 10_000)
    assert keys["provider"]["enum"] == ["aws", "google"]
