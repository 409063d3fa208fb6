"""Whole specs: what is read, in which order, and what a spec can not do without."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ogc_async.errors import Problem, SpecError
from ogc_async.spec import SpecLoader
from tests.unit.spec.conftest import HEAD, Load, Problems

NAME_RULE = (
    "can not name a layout: nodes are named after it, in every cloud, so it must begin with a lowercase letter, hold"
    " only lowercase letters, digits and '-', and have at most 40 characters"
)
MISSING_KEYS = "is missing; name the key pair that opens the nodes:\nssh-keys:\n  private: ~/.ssh/id_ed25519"


def test_a_spec_of_eight_lines_is_whole_and_defaults_do_the_rest(load: Load, tmp_path: Path) -> None:
    spec = load(HEAD)
    (web,) = spec.layouts
    assert (spec.name, spec.files) == ("demo", (tmp_path / "ogc.yml",))
    assert spec.ssh_keys.private == tmp_path / "keys/id_ed25519"
    assert spec.ssh_keys.public == tmp_path / "keys/id_ed25519.pub"
    assert web == spec.layout("web")
    assert (web.provider, web.runs_on, web.instance_size, web.arch) == ("aws", "ubuntu-2404", "t3.small", "x86_64")
    assert (web.scale, web.remote_path, web.ingress, web.on_failure) == (1, "ogc", ("0.0.0.0/0",), "stop")
    assert (web.username, web.scripts, web.region, web.ttl, web.disk_size, web.ssh_port) == (None,) * 6
    assert (web.include, web.exclude, web.artifacts, web.tags, web.ports, web.zones, web.env) == ((),) * 7
    assert (web.labels, web.spot, web.ssh_keys, web.folder) == ({}, False, spec.ssh_keys, tmp_path)


def test_no_files_named_means_ogc_yml_of_the_working_folder(load: Load) -> None:
    spec = load(HEAD)
    assert SpecLoader.load() == spec
    assert SpecLoader.load([]) == spec


def test_a_list_of_files_is_exactly_that_list(load: Load, tmp_path: Path) -> None:
    load(HEAD)
    (tmp_path / "other.yml").write_text(HEAD.replace("demo", "other"))
    assert SpecLoader.load(["other.yml"]).name == "other"


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_may_be_given_as_it_is(load: Load, kind: type[str] | type[Path]) -> None:
    load(HEAD)
    assert SpecLoader.load(kind("ogc.yml")).name == "demo"


def test_the_working_folder_may_have_any_name(load: Load, tmp_path: Path) -> None:
    load(HEAD)
    odd = tmp_path / "odd\nname"
    odd.mkdir()
    (odd / "ogc.yml").write_text(HEAD + "    scripts: x\n")
    assert SpecLoader.load(["odd\nname/ogc.yml"]).layouts[0].scripts == odd / "x"


def test_a_tilde_in_a_file_s_name_is_the_home(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load(HEAD)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SpecLoader.load(["~/ogc.yml"]) == spec
    with pytest.raises(SpecError, match=r"^~nobody-here/ogc\.yml: no such file$"):
        SpecLoader.load(["~nobody-here/ogc.yml"])


def test_only_the_yaml_files_are_touched(load: Load, tmp_path: Path) -> None:
    load(HEAD + "    scripts: nowhere\n    include: [none/*]\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ogc.yml"]


def test_a_layout_may_have_keys_of_its_own(load: Load, tmp_path: Path) -> None:
    spec = load(HEAD + "    ssh-keys: {private: own, public: shared.pub}\n")
    keys = spec.layout("web").ssh_keys
    assert (keys.private, keys.public) == (tmp_path / "own", tmp_path / "shared.pub")
    assert spec.ssh_keys.private == tmp_path / "keys/id_ed25519"


def test_a_layout_that_is_not_there_is_told_with_the_nearest_one(load: Load) -> None:
    spec = load(HEAD + "  db:\n    provider: aws\n    runs-on: x\n    instance-size: y\n")
    with pytest.raises(SpecError, match=r"^layouts\.wbe: no such layout; did you mean 'web'\?$"):
        spec.layout("wbe")
    with pytest.raises(SpecError, match=r"^layouts\.zzz: no such layout; the spec has 'web' and 'db'$"):
        spec.layout("zzz")


def test_what_a_spec_lacks_is_told_all_at_once(problems: Problems) -> None:
    assert problems("name: demo\nlayouts:\n  web: {scale: 1}\n") == [
        f"ogc.yml:1:1: ssh-keys: {MISSING_KEYS}",
        "ogc.yml:3:3: layouts.web.provider: is missing; write one, for example `provider: aws`",
        "ogc.yml:3:3: layouts.web.runs-on: is missing; write one, for example `runs-on: ubuntu-2404`",
        "ogc.yml:3:3: layouts.web.instance-size: is missing; write one, for example `instance-size: t3.small`",
    ]
    assert problems("ssh-keys: {private: k}\n") == [
        "ogc.yml:1:1: name: is missing; write one, for example `name: my-project`",
        "ogc.yml:1:1: layouts: is missing; write one",
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (" {}", "ogc.yml:4:10: layouts: is empty; a spec needs at least one layout"),
        ("", "ogc.yml:4:1: layouts: is empty; a spec needs at least one layout"),
        (" [web]", "ogc.yml:4:10: layouts: must be keys and values, not a list"),
        (" web", "ogc.yml:4:10: layouts: must be keys and values, not 'web'"),
        ("\n  web: small", "ogc.yml:5:8: layouts.web: must be keys and values, not 'small'"),
        ("\n  web:", "ogc.yml:5:3: layouts.web: is empty; give it a provider, runs-on and instance-size"),
    ],
)
def test_a_spec_without_a_layout_is_none(problems: Problems, written: str, told: str) -> None:
    (problem,) = problems(HEAD.split("layouts:")[0] + f"layouts:{written}\n")
    assert problem.split(" (`{}`")[0] == told


@pytest.mark.parametrize("name", ["Web", "1web", "-web", "web_1", "web.example", "wéb", "w" * 41, "we b"])
def test_a_name_that_a_cloud_would_refuse_is_refused_at_the_key(problems: Problems, name: str) -> None:
    text = HEAD.replace("  web:", f"  {name}:")
    assert problems(text) == [f"ogc.yml:5:3: layouts.{name}: {name!r} {NAME_RULE}"]


def test_a_name_of_forty_characters_is_legal(load: Load) -> None:
    assert load(HEAD.replace("web:", "w" * 40 + ":")).layouts[0].name == "w" * 40


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("layout: {}", "9:1: layout: unknown key 'layout'; did you mean 'layouts'?"),
        ("ssh_keys: {}", "9:1: ssh_keys: unknown key 'ssh_keys'; did you mean 'ssh-keys'?"),
        ("providers: aws", "9:1: providers: unknown key 'providers'; known here are 'layouts', 'name' and 'ssh-keys'"),
        ('"\\e[31m": 1', "9:1: '\\x1b[31m': unknown key '\\x1b[31m'; known here are 'layouts', 'name' and 'ssh-keys'"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_one_or_all(problems: Problems, line: str, told: str) -> None:
    assert problems(f"{HEAD}{line}\n") == [f"ogc.yml:{told}"]


def test_an_empty_name_is_refused(problems: Problems) -> None:
    assert problems(HEAD.replace("demo", "''")) == ["ogc.yml:1:7: name: must not be empty"]
    assert problems(HEAD.replace("demo", "5")) == ["ogc.yml:1:7: name: must be text, not 5; put it in quotes"]


def test_each_problem_carries_its_place_apart_from_its_sentence(load: Load) -> None:
    with pytest.raises(SpecError) as caught:
        load(HEAD + "    scale: many\n")
    assert caught.value.problems == (
        Problem("layouts.web.scale", "must be a whole number from 0 to 10000, not 'many'", "ogc.yml", 9, 12),
    )


def test_all_problems_come_at_once_in_the_order_of_the_file(problems: Problems) -> None:
    text = HEAD + "    spot: 1\n    foo: 1\n    ports: [0]\n  db:\n    provider: aws\n    arch: z80\n"
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert lines == sorted(lines)
    assert len(lines) == 6


def test_no_sentence_of_the_validation_library_is_ever_shown(load: Load) -> None:
    values = ["x", "1", "-1", "1.5", "true", "~", "[]", "[x]", "[[x]]", "{}", "{a: b}", "[{a: b}]", "''", "2024-01-01"]
    keys = [
        *("provider", "runs-on", "arch", "instance-size", "username", "scripts", "scale", "remote-path", "include"),
        *("exclude", "artifacts", "tags", "labels", "ports", "ingress", "region", "zones", "spot", "ttl", "disk-size"),
        *("ssh-port", "env", "on-failure", "timeouts", "ssh-keys", "nonsense"),
    ]
    for value in values:
        drawn = random.Random(value).sample(keys, len(keys))
        for chosen in (drawn[:13], drawn[13:]):
            lines = "".join(f"    {key}: {value}\n" for key in chosen)
            with pytest.raises(SpecError) as caught:
                load("name: demo\nssh-keys: {private: k}\nlayouts:\n  web:\n" + lines)
            assert all(problem.line >= 4 for problem in caught.value.problems)
            for word in ("Input", "Value error", "pydantic", "Field required", "is not valid", "Scalar("):
                assert word not in str(caught.value)
