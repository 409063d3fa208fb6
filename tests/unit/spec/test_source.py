"""What a file can be wrong about before its keys are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.errors import SpecError
from ogc_async.spec import SpecLoader
from ogc_async.spec.source import MAX_BYTES
from tests.unit.spec.conftest import HEAD, Load, Problems


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "ogc.yml: is empty; a spec needs a name, ssh-keys and layouts"),
        ("# nothing\n", "ogc.yml: is empty; a spec needs a name, ssh-keys and layouts"),
        ("---\n", "ogc.yml: is empty; a spec needs a name, ssh-keys and layouts"),
        ("\n- a\n", "ogc.yml:2:1: must be keys and values (name, ssh-keys, layouts), not a list"),
        ("hello\n", "ogc.yml:1:1: must be keys and values (name, ssh-keys, layouts), not 'hello'"),
        (b"name: x\nssh: \xff\n", "ogc.yml:2:6: is not UTF-8 text (byte 0xff); save it as UTF-8"),
        ("name: x".encode("utf-16"), "ogc.yml:1:1: is not UTF-8 text (byte 0xff); save it as UTF-8"),
        ("name: a\nb: \x07\n", "ogc.yml:2:4: has the control character U+0007; remove it"),
        ("name: x\n\tb: 1\n", "ogc.yml:2:1: is not valid YAML: a tab can not indent; use spaces"),
        ("name: x\n---\nname: y\n", "ogc.yml:2:1: begins a second document; a spec is one document a file"),
        ("name: x\nlayouts: *web\n", "ogc.yml:2:10: is not valid YAML: found undefined alias 'web'"),
        ('name: x\nb: "\\UFFFFFFFF"\n', "ogc.yml:2:5: is not valid YAML: there is no character \\UFFFFFFFF"),
        ("a: " + "[" * 100, "ogc.yml:1:35: is nested more than 32 levels deep"),
        ("a: " + "{b: " * 100, "ogc.yml:1:125: is nested more than 32 levels deep"),
        ("#" * (MAX_BYTES + 1), "ogc.yml: is larger than 512 KiB, which no spec needs to be"),
    ],
)
def test_a_file_that_holds_no_spec_is_one_problem_with_its_place(
    problems: Problems, content: str | bytes, told: str
) -> None:
    assert problems(content) == [told]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("name: [x\n", "ogc.yml:2:1: "),
        ("name: x\n b: y\n", "ogc.yml:2:3: "),
        ("name: 'x\n", "ogc.yml:2:1: "),
        ("%YAML 9.9\n---\nname: x\n", "ogc.yml:1:1: "),
    ],
)
def test_malformed_yaml_is_told_where_the_parser_stopped(problems: Problems, content: str, place: str) -> None:
    (told,) = problems(content)
    assert told.startswith(f"{place}is not valid YAML: ")


def test_a_missing_file_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    with pytest.raises(SpecError) as caught:
        SpecLoader.load([path])
    assert str(caught.value) == f"{path}: no such file"


def test_a_folder_is_not_a_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        SpecLoader.load([tmp_path])
    assert str(caught.value) == f"{tmp_path}: is a folder; name the YAML file in it"


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ogc.yml"
    path.write_text(HEAD)

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SpecError) as caught:
        SpecLoader.load([path])
    assert str(caught.value) == f"{path}: can not be read: permission denied"


def test_a_path_that_no_file_can_have_is_a_problem_not_a_crash() -> None:
    with pytest.raises(SpecError, match="can not be read"):
        SpecLoader.load(["a\0b.yml"])


def test_no_files_named_and_no_ogc_yml_here_says_which_folder_was_looked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        SpecLoader.load()
    assert str(caught.value) == f"ogc.yml: no such file in {tmp_path}; write one, or name the spec's files"


def test_every_unreadable_file_is_told_together_with_doubled_keys_of_the_others(problems: Problems) -> None:
    assert problems(HEAD + "    scale: 1\n    scale: 2\n", "- list\n", "name: [\n")[:2] == [
        "ogc.yml:10:5: layouts.web.scale: is written twice; the first is on line 9",
        "2.yml:1:1: must be keys and values (name, ssh-keys, layouts), not a list",
    ]


def test_a_doubled_key_does_not_hide_the_other_problems(problems: Problems) -> None:
    text = HEAD + "    tags: a\n    scale: many\n    tags: b\n"
    assert problems(text) == [
        "ogc.yml:10:12: layouts.web.scale: must be a whole number from 0 to 10000, not 'many'",
        "ogc.yml:11:5: layouts.web.tags: is written twice; the first is on line 9",
    ]


def test_a_doubled_layout_is_told_where_the_second_one_is(problems: Problems) -> None:
    assert problems(HEAD + "  web:\n    provider: google\n") == [
        "ogc.yml:9:3: layouts.web: is written twice; the first is on line 5"
    ]


def test_a_doubled_key_below_an_alias_is_told_once(problems: Problems) -> None:
    text = "x-a: &a {t: 1, t: 2}\nx-b: [*a, *a, *a]\n" + HEAD
    assert problems(text) == ["ogc.yml:1:16: x-a.t: is written twice; the first is on line 1"]


def test_anchors_aliases_and_merge_keys_work_and_own_keys_win(load: Load) -> None:
    spec = load(
        HEAD.replace("web:", "web: &web")
        + "    scale: 3\n    labels: &labels {a: b}\n"
        + "  db:\n    scale: 5\n    <<: *web\n    tags: [db]\n"
        + "  cache:\n    <<: [{scale: 7}, *web]\n    labels: *labels\n"
    )
    assert [(each.name, each.scale, each.labels) for each in spec.layouts] == [
        ("web", 3, {"a": "b"}),
        ("db", 5, {"a": "b"}),
        ("cache", 7, {"a": "b"}),
    ]
    assert spec.layout("db").tags == ("db",)


def test_an_anchor_may_be_set_anew(load: Load) -> None:
    spec = load(HEAD + "    region: &r us-east-1\n    tags: [&r one, *r]\n    labels: {a: *r}\n")
    assert spec.layout("web").labels == {"a": "one"}


def test_top_level_keys_that_begin_with_x_hold_anchors_and_are_not_read(load: Load) -> None:
    spec = load("x-size: &size t3.large\nx-notes: [anything, {at: all}]\n" + HEAD.replace("t3.small", "*size"))
    assert spec.layout("web").instance_size == "t3.large"


def test_a_mistake_in_a_merged_mapping_is_told_at_the_anchor_for_each_layout(problems: Problems) -> None:
    text = HEAD.replace("web:", "web: &web") + "    scale: many\n  db: {<<: *web}\n"
    assert problems(text) == [
        "ogc.yml:9:12: layouts.web.scale: must be a whole number from 0 to 10000, not 'many'",
        "ogc.yml:9:12: layouts.db.scale: must be a whole number from 0 to 10000, not 'many'",
    ]


def test_a_merge_key_takes_mappings_only(problems: Problems) -> None:
    assert problems(HEAD + "    <<: [a]\n") == [
        "ogc.yml:9:10: layouts.web: `<<` takes an alias of a mapping, or a list of them"
    ]


def test_a_key_that_is_a_list_is_refused(problems: Problems) -> None:
    assert problems(HEAD + "    ? [a]\n    : b\n") == [
        "ogc.yml:9:7: layouts.web: a key must be plain text, not a list or a mapping"
    ]


def test_an_alias_of_what_it_stands_in_is_refused(problems: Problems) -> None:
    assert "ogc.yml:9:13: layouts.web.labels.a: contains itself through an alias" in problems(
        HEAD + "    labels: &l {a: *l}\n"
    )


def test_aliases_that_expand_to_billions_of_values_are_refused(problems: Problems) -> None:
    lines = ["x-0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x-{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert problems("\n".join(lines) + "\n" + HEAD) == [
        "ogc.yml: has more than 100,000 values once its aliases are followed"
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("!!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not known here"),
        ("!mine x", "the tag !mine is not known here; write a plain value"),
        ("!!int x", "'x' is not a value of the YAML type int"),
        ("!!bool x", "'x' is not a value of the YAML type bool"),
        ("!!binary aGk=", "the tag tag:yaml.org,2002:binary is not known here"),
    ],
)
def test_tags_make_no_objects(problems: Problems, written: str, told: str) -> None:
    (problem,) = problems(HEAD + f"    username: {written}\n")
    assert problem.startswith(f"ogc.yml:9:15: layouts.web.username: {told}")


def test_values_are_those_of_yaml_1_2(load: Load) -> None:
    text = "yes: no, ten: 010, hex: 0x10, ratio: 1.10, day: 2024-01-01, time: 12:30, on: true, none: '~', big: 1_000"
    labels = load(HEAD + f"    labels: {{{text}}}\n    scale: 010\n    ssh-port: 0x16\n").layout("web")
    assert labels.scale == 10
    assert labels.ssh_port == 22
    assert labels.labels == {
        "yes": "no",
        "ten": "010",
        "hex": "0x10",
        "ratio": "1.10",
        "day": "2024-01-01",
        "time": "12:30",
        "on": "true",
        "none": "~",
        "big": "1_000",
    }


def test_a_byte_order_mark_is_no_part_of_the_spec(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + HEAD.encode()).name == "demo"


def test_windows_line_ends_change_no_place(problems: Problems) -> None:
    text = (HEAD + "    scale: many\n").replace("\n", "\r\n")
    assert problems(text)[0].startswith("ogc.yml:9:12: layouts.web.scale: ")
