"""From milestones to phases, and from phases to pictures."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from rich.console import Console

from ogc_async.cli.chart import bar, draw_timeline, styles_of
from ogc_async.cli.chart_svg import timeline_svg
from ogc_async.cli.phases import Lane, Phase, lanes_of, summaries
from ogc_async.types import Milestone, MilestoneKind

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
KIND = MilestoneKind
LAUNCH = [(KIND.PLANNED, 0, ""), (KIND.REQUESTED, 1, ""), (KIND.RUNNING, 5, "")]
DEPLOY = [
    (KIND.BEGUN, 105, ""),
    (KIND.CONNECTED, 107, ""),
    (KIND.PUSHED, 108, ""),
    (KIND.STEP_STARTED, 108, "1.sh"),
    (KIND.STEP_PASSED, 110, "1.sh"),
    (KIND.STEP_STARTED, 110, "2.sh"),
    (KIND.STEP_FAILED, 113, "2.sh"),
    (KIND.FAILED, 113, ""),
]


def way(node_id: int, run: str, work: str, moments: list[tuple[KIND, int, str]], late_s: float = 0) -> list[Milestone]:
    return [
        Milestone(node_id, run, work, kind, ZERO + timedelta(seconds=at + late_s), detail)
        for kind, at, detail in moments
    ]


def test_what_lies_between_two_milestones_has_a_name_and_idle_time_between_runs_is_left_out() -> None:
    (lane,) = lanes_of([*way(1, "a", "launch", LAUNCH), *way(1, "b", "deploy", DEPLOY)], {1: "web-1"})
    assert [(each.name, each.start_s, each.end_s, each.ok) for each in lane.phases] == [
        ("plan", 0, 1, True),
        ("boot", 1, 5, True),
        ("ssh", 5, 7, True),
        ("push", 7, 8, True),
        ("1.sh", 8, 10, True),
        ("2.sh", 10, 13, False),
    ]
    assert lane.end_s == 13


def test_a_node_that_is_worked_on_as_soon_as_it_runs_waits_for_nobody() -> None:
    (lane,) = lanes_of([*way(1, "a", "launch", LAUNCH), *way(1, "a", "launch", DEPLOY[1:3], late_s=-100)], {1: "web-1"})
    assert [(each.name, each.start_s, each.end_s) for each in lane.phases][1:] == [
        ("boot", 1, 5),
        ("ssh", 5, 7),
        ("push", 7, 8),
    ]


def test_work_that_brings_nothing_up_is_not_told() -> None:
    assert lanes_of(way(1, "c", "exec", DEPLOY), {1: "web-1"}) == []


def test_the_slowest_lane_comes_first() -> None:
    told = [*way(1, "a", "launch", LAUNCH), *way(2, "a", "launch", LAUNCH, late_s=3)]
    assert [lane.name for lane in lanes_of(told, {1: "web-1", 2: "web-2"})] == ["web-2", "web-1"]


def test_a_summary_has_the_median_and_names_the_slowest() -> None:
    lanes = [Lane(each, f"web-{each}", (Phase("plan", 0, 1), Phase("boot", 1, 1 + each))) for each in (1, 2, 9)]
    plan, boot = summaries(lanes)
    assert (plan.name, plan.nodes, plan.median_s) == ("plan", 3, 1)
    assert (boot.name, boot.median_s, boot.slowest_s, boot.slowest) == ("boot", 2, 9, "web-9")


def test_a_bar_shows_phases_in_proportion_and_failure_in_red() -> None:
    phases = (Phase("boot", 0, 5), Phase("1.sh", 5, 10, ok=False))
    drawn = bar(phases, 10, 20, styles_of(["boot", "1.sh"]))
    assert drawn.plain == "░" * 10 + "█" * 10
    assert any(span.style == "bold red" for span in drawn.spans)
    assert bar((Phase("boot", 0, 0),), 0.0, 5, styles_of(["boot"])).plain == "░░░░░"


@pytest.mark.parametrize(("columns", "nodes"), [(20, 3), (80, 500), (200, 12)])
def test_the_timeline_of_any_fleet_fits_a_screen(columns: int, nodes: int) -> None:
    told = [each for number in range(nodes) for each in way(number, "a", "launch", LAUNCH, late_s=number / 50)]
    console = Console(file=io.StringIO(), width=columns, soft_wrap=True)
    draw_timeline(console, lanes_of(told, {number: f"ogc-web-{number:08}" for number in range(nodes)}))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 22
    assert max(map(len, lines)) <= columns
    assert any("boot" in line for line in lines)


@pytest.mark.parametrize("nodes", [0, 1, 60, 61])
def test_the_svg_is_well_formed_and_has_a_bar_for_each_phase_of_each_node(nodes: int) -> None:
    told = [each for number in range(nodes) for each in way(number, "a", "launch", LAUNCH)]
    lanes = lanes_of(told, {number: f"ogc-<web>-{number}" for number in range(nodes)})
    root = ElementTree.fromstring(timeline_svg(lanes))
    titles = root.findall(".//{*}rect/{*}title")
    assert len(titles) == 2 * nodes
    assert [each.text for each in titles[:2]] == (
        ["ogc-<web>-0: plan 1.00 s", "ogc-<web>-0: boot 4.00 s"] if nodes else []
    )
