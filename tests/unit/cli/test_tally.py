"""Counting how far a fleet has come."""

from __future__ import annotations

from ogc_async.cli.progress import clock, draw
from ogc_async.cli.tally import Tally, without_name
from ogc_async.events import Event, NodeConnected, NodeFinished, NodeMoved, OutputArrived, StepFinished, StepStarted
from ogc_async.types import NodeState, StepResult, StepState


def moved(number: int, state: NodeState, reason: str | None = None) -> Event:
    return NodeMoved(number, f"ogc-web-{number}", "web", state, reason=reason)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tally_of(clock: Clock, *events: Event, goal: str = "running", expected: int = 4) -> Tally:
    tally = Tally("launch", expected, {goal}, clock)
    for event in events:
        tally(event)
    return tally


def test_nodes_are_counted_where_they_are_and_done_at_the_goal_or_failed() -> None:
    clock = Clock()
    tally = tally_of(clock, *(moved(each, NodeState.PLANNED) for each in range(4)), moved(0, NodeState.LAUNCHING))
    tally(moved(1, NodeState.RUNNING))
    tally(moved(2, NodeState.FAILED, "ogc-web-2: no room"))
    clock.now += 10
    picture = tally.picture()
    assert picture.counts == (("planned", 1), ("launching", 1), ("running", 1), ("failed", 1))
    assert (picture.done, picture.failed, picture.elapsed_s, picture.rate) == (2, 1, 10.0, 0.2)
    assert picture.errors == ((1, "no room"),)
    assert tally.seen == {0, 1, 2, 3}


def test_who_has_been_at_one_thing_longest_is_slowest_and_who_is_done_is_not() -> None:
    clock = Clock()
    tally = tally_of(clock, moved(1, NodeState.PLANNED), moved(2, NodeState.PLANNED), moved(3, NodeState.RUNNING))
    clock.now += 5
    tally(moved(2, NodeState.LAUNCHING))
    clock.now += 1
    assert tally.picture().slowest == (("ogc-web-1", "planned", 6.0), ("ogc-web-2", "launching", 1.0))


def test_a_step_is_what_a_node_is_doing() -> None:
    clock = Clock()
    tally = tally_of(clock, NodeConnected(1, "ogc-web-1", "web"), goal="finished", expected=1)
    tally(StepStarted(1, "ogc-web-1", "web", "1-install.sh"))
    tally(OutputArrived(1, "ogc-web-1", "web", b"x"))
    clock.now += 3
    assert tally.picture().slowest == (("ogc-web-1", "1-install.sh", 3.0),)
    result = StepResult(script="1-install.sh", state=StepState.PASSED, exit_code=0, seconds=3.0)
    tally(StepFinished(1, "ogc-web-1", "web", result))
    tally(NodeFinished(1, "ogc-web-1", "web", ok=True))
    assert tally.picture().counted == "1 nodes: 1 finished, 1 steps run"


def test_equal_errors_of_different_nodes_are_one_with_a_count_and_the_last_comes_first() -> None:
    tally = tally_of(
        Clock(),
        *(NodeFinished(each, f"n-{each}", "web", ok=False, error=f"n-{each}: refuses n-{each}") for each in range(3)),
        NodeFinished(9, "n-9", "web", ok=False, error="n-9: lost"),
        goal="finished",
    )
    assert tally.picture().errors == ((1, "lost"), (3, "refuses NODE"))


def test_a_message_loses_its_nodes_name_and_all_but_its_first_line() -> None:
    assert without_name("web-1: broke\nand more", "web-1") == "broke"
    assert without_name("i-1 of web-1 died", "web-1") == "i-1 of NODE died"
    assert without_name("", "web-1") == ""


def test_the_picture_holds_progress_counts_the_slow_and_the_errors() -> None:
    watch = Clock()
    tally = tally_of(watch, moved(1, NodeState.RUNNING), moved(2, NodeState.LAUNCHING))
    tally(moved(3, NodeState.FAILED, "no room"))
    watch.now += 65
    lines = [line.plain for line in draw(tally.picture(), 80, "stopping")]
    assert lines[0].startswith("launch ━")
    assert lines[0].endswith("2/4  1:05  0.0/s")
    assert lines[1] == "nodes   1 launching · 1 running · 1 failed"
    assert lines[2] == "slowest ogc-web-2 launching 1:05"
    assert lines[3:] == ["errors  no room", "stopping"]
    assert draw(tally.picture(), 20)[0].plain == "launch 2/4  1:05  0…"


def test_times_are_short() -> None:
    assert [clock(each) for each in (0.4, 59.9, 60, 3599, 3600)] == ["0s", "59s", "1:00", "59:59", "1:00:00"]
