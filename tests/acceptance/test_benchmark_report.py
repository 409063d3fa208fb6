"""What the README says was measured is what the results hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmarks import report
from benchmarks.figures import exponent, medians, ratio, slower_than

MACHINE = {
    "measured": "2026-01-02 03:04 UTC",
    "cores": 2,
    "processor": "a processor",
    "memory_gb": 8,
    "system": "Linux",
    "python": "3.11.0",
    "versions": {"ogc-async": "0.1.0"},
    "load_before": 0.1,
}


def entry(beyond: float, cpu: float = 1.0, reachable: int = 200) -> dict[str, Any]:
    return {
        "nodes reachable": reachable,
        "seconds until all are reachable": 30 + beyond,
        "seconds beyond the slowest boot": beyond,
        "calls": 40,
        "calls of RunInstances": 2,
        "refused calls": 0,
        "CPU seconds": cpu,
        "peak MB": 100.0,
        "machines": 200,
        "runs": 3,
    }


@pytest.fixture
def launched() -> dict[str, Any]:
    return {
        "mode": "full",
        "machine": MACHINE,
        "cloud": {"boot_s": [20, 30], "latency_of_RunInstances_s": 1.5, "time_scale": 1.0, "limits": "limits"},
        "versions": {"other": {"boto3": "1.2.3"}},
        "fleets": {"200": {"ogc_async": entry(2.0), "other": entry(50.0, cpu=4.0), "floor: it": entry(1.0, cpu=0.1)}},
        "crash": {"ogc_async": {"machines at the kill": 50, "machines left behind": 0}},
        "crash_count": 50,
        "not_measured": ["the moon"],
    }


def test_the_readme_agrees_with_the_results() -> None:
    text = report.README.read_text(encoding="utf-8")
    assert text == report.replaced(text, report.section(report.load())), "run `make bench-report`"


def test_the_page_of_all_tables_agrees_with_the_results() -> None:
    assert report.PAGE.read_text(encoding="utf-8") == report.page(report.load()), "run `make bench-report`"


def test_a_figure_of_a_competitor_stands_beside_its_ratio_to_ours(launched: dict[str, Any]) -> None:
    said = report.section({"launch": launched})
    assert "| ogc_async | 200 | 32 | 2 | 2 | 40 | 0 | 1 | 100 | 0 of 50 | 3 |" in said
    assert "| other | 200 | 80 (2.5x) | 50 (25x) |" in said
    assert "`make bench-full` on 2 cores" in said
    assert "boto3 1.2.3" in said
    assert "load" not in said


def test_where_ours_is_slower_it_says_so_and_a_floor_is_no_competitor(launched: dict[str, Any]) -> None:
    assert "not the best" not in report.section({"launch": launched})
    launched["fleets"]["200"]["other"] = entry(1.0, cpu=0.25)
    said = report.section({"launch": launched})
    assert "200 nodes, seconds beyond the slowest boot: ogc_async needs more than other (2 times as much)" in said
    assert "200 nodes, CPU: ogc_async needs more than other (4 times as much)" in said
    assert "floor: it (" not in said


def test_who_does_not_finish_has_won_nothing_and_is_named(launched: dict[str, Any]) -> None:
    launched["fleets"]["200"]["other"] = entry(1.0, reachable=120)
    launched["fleets"]["200"]["third"] = {"failed": "no report"}
    said = report.section({"launch": launched})
    assert "not the best" not in said
    assert "200 nodes: other brought 120 of them to the end" in said
    assert "| third | failed: no report |" in said


def test_what_was_not_measured_and_a_busy_machine_are_told(launched: dict[str, Any]) -> None:
    busy = copy.deepcopy(launched) | {"machine": MACHINE | {"load_before": 3.5}}
    said = report.page({"launch": busy})
    assert "- the moon" in said
    assert "load 3.5 beforehand" in said


def test_without_results_it_says_so() -> None:
    assert report.section({}) == "Nothing is measured yet: `make bench` does.\n"


def test_a_readme_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="measured"):
        report.replaced("no marks", "new")


def test_medians_of_the_laps_with_their_number() -> None:
    assert medians([{"a": 3.0}, {"a": 1.0}, {"a": 2.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0, "runs": 3}


@pytest.mark.parametrize(("power", "factor"), [(0.0, 7.0), (1.0, 0.5), (0.5, 3.0)])
def test_the_exponent_of_a_curve_is_found(power: float, factor: float) -> None:
    assert exponent((x, factor * x**power) for x in (1, 10, 100, 1000)) == pytest.approx(power, abs=0.01)


def test_one_point_or_nothing_positive_has_no_exponent() -> None:
    assert exponent([(10, 1.0)]) is None
    assert exponent([(1, 0.0), (10, -1.0)]) is None


def test_ratios_have_two_digits_and_none_is_made_of_nothing() -> None:
    assert ratio(98.7, 2.0) == 49
    assert ratio(1.0, 0.0) is None


def test_only_smaller_figures_of_others_count_as_better() -> None:
    entries = {"us": {"s": 2.0}, "them": {"s": 1.0}, "equal": {"s": 2.0}, "silent": {}}
    assert slower_than(entries, "us", "s") == ["them"]
