"""What is said of things that are easily said wrongly."""

from __future__ import annotations

import pytest

from ogc_async.cli import show
from ogc_async.types import SyncPlan, TeardownResult
from tests.unit.cli.nodes import node


def test_rows_that_are_let_go_of_are_not_called_torn_down_and_their_machines_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show.let_go_result(TeardownResult([1, 2]), [node(1, "ogc-web-1", instance_id="i-1")])
    said = capsys.readouterr().out
    assert said == "let go of 2 rows; 1 machine runs on: ogc-web-1 (i-1); `ogc reap` lists it\n"


def test_a_plan_with_something_to_know_does_not_claim_that_all_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    show.sync_plan(SyncPlan(notes=("b: 2 nodes run, and the spec has no such layout",)))
    assert capsys.readouterr().out == "nothing to do\nb: 2 nodes run, and the spec has no such layout\n"
