"""Tags and labels: what a cloud would cut or refuse is refused at its place, and all else is kept as it is written."""

from __future__ import annotations

import json
from itertools import product

import pytest

from ogc_async.errors import Problem, SpecError
from ogc_async.spec import Layout
from tests.unit.spec.conftest import HEAD, Load, Problems
from tests.unit.spec.test_layout import MINIMAL

GOOGLE = HEAD.replace("aws", "google")

OK = "ok"
WORDS = {
    # What is written: what each of EC2's key, value and tag is, then each of Compute Engine's; "ok" or what is told.
    "plain-1_x": (OK, OK, OK, OK, OK, OK),
    "größe": (OK, OK, OK, OK, OK, OK),
    "日本": (OK, OK, OK, OK, OK, OK),
    "1st": (OK, OK, OK, "write 'x-1st'", OK, OK),
    "-": (OK, OK, OK, "write 'x--'", OK, OK),
    "CostCenter": (OK, OK, OK, "write 'costcenter'", "write 'costcenter'", "write 'costcenter'"),
    "cost.center": (OK, OK, OK, "write 'cost-center'", "write 'cost-center'", "write 'cost-center'"),
    "a b/c@d": (OK, OK, OK, "write 'a-b-c-d'", "write 'a-b-c-d'", "write 'a-b-c-d'"),
    "1.10": (OK, OK, OK, "write 'x-1-10'", "write '1-10'", "write '1-10'"),
    "Ogc.x": (OK, OK, OK, "write 'x-ogc-x'", "write 'ogc-x'", "write 'ogc-x'"),
    "e\N{COMBINING ACUTE ACCENT}": (OK, OK, OK, "write 'e-'", "write 'e-'", "write 'e-'"),
    "\N{ROMAN NUMERAL ONE}": (OK, OK, OK, "write 'x-\N{SMALL ROMAN NUMERAL ONE}'", OK, OK),
    "Name": (OK, OK, OK, "write 'name'", "write 'name'", "write 'name'"),
    "a" * 63: (OK, OK, OK, OK, OK, OK),
    "a" * 64: (OK, OK, OK, *["has 64 characters; Compute Engine takes"] * 3),
    "A" * 64: (OK, OK, OK, *["this has 64 characters"] * 3),
    "a" * 128: (OK, OK, OK, *["has 128 characters"] * 3),
    "a" * 129: ("has 129 characters; EC2 takes a label's key of at most 128", OK, OK, *["has 129 characters"] * 3),
    "ö" * 256: ("has 256 characters", OK, OK, *["has 256 characters"] * 3),
    "a" * 257: (*["has 257 characters; EC2 takes"] * 3, *["has 257 characters"] * 3),
}
KINDS = ("label's key", "label's value", "tag")
CELLS = [
    pytest.param(cloud, kind, word, told, id=f"{cloud}-{kind}-{word if len(word) < 20 else len(word)}")
    for word, all_told in WORDS.items()
    for (cloud, kind), told in zip(product(("aws", "google"), KINDS), all_told, strict=True)
]


def _line(kind: str, word: str) -> tuple[str, str, int]:
    """The layout's line that says it, the key to it, and the column that it is told at."""
    quoted = json.dumps(word, ensure_ascii=False)
    if kind == "tag":
        return f"    tags: [fine, {quoted}]\n", "tags[1]", 18
    if kind == "label's key":
        return f"    labels: {{fine: x, {quoted}: x}}\n", f"labels.{word}", 23
    return f"    labels: {{fine: x, v: {quoted}}}\n", "labels.v", 26


@pytest.mark.parametrize(("cloud", "kind", "word", "told"), CELLS)
def test_what_is_written_is_carried_or_refused_at_its_place(
    load: Load, problems: Problems, cloud: str, kind: str, word: str, told: str
) -> None:
    line, key, column = _line(kind, word)
    text = (HEAD if cloud == "aws" else GOOGLE) + line
    if told == OK:
        web = load(text).layout("web")
        assert word in (*web.tags, *web.labels, *web.labels.values())
        return
    [problem] = problems(text)
    assert problem.startswith(f"ogc.yml:9:{column}: layouts.web.{key}: {word[:60]!r}")
    assert told in problem
    assert f"a {kind}" in problem


@pytest.mark.parametrize(
    ("cloud", "kind", "word", "told"), [each for each in CELLS if "write '" in str(each.values[3])]
)
def test_what_a_problem_says_to_write_is_taken(load: Load, cloud: str, kind: str, word: str, told: str) -> None:
    assert cloud == "google", word
    line, _, _ = _line(kind, told.removeprefix("write '").removesuffix("'"))
    assert load(GOOGLE + line)


def test_everything_wrong_is_told_at_once_beside_what_else_is(problems: Problems) -> None:
    told = problems(
        GOOGLE + "    scale: many\n    tags: [Blue, Blue, ok, A.B]\n    labels: {Team: X, ogc-x: y, a: b}\n"
    )
    assert [each.split(": ")[:2] for each in told] == [
        ["ogc.yml:9:12", "layouts.web.scale"],
        ["ogc.yml:10:12", "layouts.web.tags[0]"],
        ["ogc.yml:10:18", "layouts.web.tags[1]"],
        ["ogc.yml:10:28", "layouts.web.tags[3]"],
        ["ogc.yml:11:14", "layouts.web.labels.Team"],
        ["ogc.yml:11:20", "layouts.web.labels.Team"],
        ["ogc.yml:11:23", "layouts.web.labels.ogc-x"],
    ]


def test_the_cloud_that_counts_is_the_merged_specs(load: Load, problems: Problems) -> None:
    labels = "    labels: {Team: x}\n"
    assert load(GOOGLE + labels, "layouts: {web: {provider: aws}}\n").layout("web").labels == {"Team": "x"}
    [problem] = problems(HEAD + labels, "layouts: {web: {provider: google}}\n")
    assert problem.startswith("ogc.yml:9:14: layouts.web.labels.Team: ")


@pytest.mark.parametrize(
    ("provider", "ours", "most"), [pytest.param("aws", 5, 50, id="aws"), pytest.param("google", 4, 64, id="google")]
)
def test_a_machine_takes_so_many_labels_and_not_one_more(provider: str, ours: int, most: int) -> None:
    fitting = {f"k{number}": "v" for number in range(most - ours)}
    assert Layout.from_dict({**MINIMAL, "provider": provider, "labels": fitting}).labels == fitting
    for more in ({"labels": {**fitting, "one-more": "v"}}, {"labels": fitting, "tags": ["blue"]}):
        told = (
            rf"layouts\.web\.labels: a machine would carry {most + 1} .* {ours} of them .* at most {most}; leave out 1"
        )
        with pytest.raises(SpecError, match=told):
            Layout.from_dict({**MINIMAL, "provider": provider, **more})
    ended = rf"layouts\.web\.ttl: a machine would carry {most + 1} .* {ours + 1} of them .* leave out 1"
    with pytest.raises(SpecError, match=ended):
        Layout.from_dict({**MINIMAL, "provider": provider, "labels": fitting, "ttl": "1h"})


def test_a_name_of_the_users_takes_no_room_of_its_own_on_ec2() -> None:
    labels = {"Name": "mine"} | {f"k{number}": "v" for number in range(45)}
    assert Layout.from_dict({**MINIMAL, "provider": "aws", "labels": labels}).labels == labels


@pytest.mark.parametrize(("provider", "count"), [("aws", 45 * 256 // 13), ("google", 60 * 4)])
def test_tags_fill_the_room_and_are_refused_beyond_it(provider: str, count: int) -> None:
    few, many = ([f"component-{number:03}" for number in range(n)] for n in (30, count + 60))
    assert len(Layout.from_dict({**MINIMAL, "provider": provider, "tags": few}).tags) == 30
    with pytest.raises(SpecError, match=r"layouts\.web\.tags: a machine would carry \d+ .* leave out \d+"):
        Layout.from_dict({**MINIMAL, "provider": provider, "tags": many})


OLD = {
    "google": {"tags": ["Front End", "1.10"], "labels": {"Cost.Center": "Team Blue", "run": "x" * 100}},
    "aws": {"tags": ["x" * 300], "labels": {"k" * 200: "v" * 300} | {f"k{number}": "v" for number in range(60)}},
}


@pytest.mark.parametrize("provider", OLD)
def test_a_layout_on_record_is_read_whatever_a_cloud_takes(provider: str) -> None:
    old = {**MINIMAL, "provider": provider, **OLD[provider]}
    layout = Layout.from_record(old)
    assert (list(layout.tags), layout.labels) == (old["tags"], old["labels"])
    assert Layout.from_record(layout.as_dict()) == layout
    with pytest.raises(SpecError) as caught:
        Layout.from_dict(layout.as_dict())
    assert all(isinstance(each, Problem) and each.where.startswith("layouts.web.") for each in caught.value.problems)


def test_a_layout_on_record_is_still_checked_for_all_else() -> None:
    with pytest.raises(SpecError, match=r"layouts\.web\.scale"):
        Layout.from_record({**MINIMAL, "scale": "many"})
    with pytest.raises(SpecError, match="kept for"):
        Layout.from_record({**MINIMAL, "labels": {"ogc-x": "y"}})
