"""What a node's end means to a sync: meant or not, satisfied or missing, told or passed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ogc_async.plan import Found, end_of, find_changes, is_overdue, life_of
from ogc_async.spec import Layout
from ogc_async.types import Change, ChangeKind, EndedBy, Instance, InstanceState, NodeSnapshot, NodeState
from tests.unit.plan.test_diff import NOW, ended, layout, machine, node, world

OVER = NOW - timedelta(minutes=10)
JUST_OVER = NOW - timedelta(seconds=90)
TO_COME = NOW + timedelta(hours=1)
HOUR = timedelta(hours=1)
STOPS = {"after": "1h", "then": "stop"}
REPLACED = {"after": "1h", "then": "replace"}
ADD = (ChangeKind.ADD, 0)


def dying(number: int, ends_at: datetime | None, ttl: Any = "1h", **values: Any) -> NodeSnapshot:
    return node(number, **({"ends_at": ends_at, "spec": {"ttl": ttl}} | values))


def told(changes: tuple[Change, ...]) -> list[tuple[ChangeKind, int]]:
    return [(change.kind, change.node_id) for change in changes]


def living(scale: int, ttl: Any = "1h") -> Layout:
    return Layout.from_dict(layout(scale).as_dict() | {"ttl": ttl})


@pytest.mark.parametrize("state", [NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED])
@pytest.mark.parametrize(
    ("ends_at", "reason", "by"),
    [
        (OVER, "", EndedBy.TTL),
        (JUST_OVER, "Client.InstanceInitiatedShutdown: Instance initiated shutdown", EndedBy.TTL),
        (NOW + timedelta(seconds=30), "", EndedBy.TTL),
        (TO_COME, "", EndedBy.LOST),
        (None, "", EndedBy.LOST),
        (OVER, "Server.SpotInstanceTermination: Spot instance termination", EndedBy.CLOUD),
        (None, "Server.SpotInstanceTermination: Spot instance termination", EndedBy.CLOUD),
    ],
)
def test_a_machine_that_is_gone_was_ended_by_what_its_cloud_and_its_row_say(
    state: NodeState, ends_at: datetime | None, reason: str, by: EndedBy
) -> None:
    gone = {"i-1": Instance(id="i-1", state=InstanceState.TERMINATED, token="", launch_index=0, reason=reason)}
    (change,) = find_changes(world([dying(1, ends_at, state=state)], [], looked_up=gone)).changes
    assert change.end is not None
    assert change.end.by is by
    was_up = state is not NodeState.LAUNCHING
    otherwise = ChangeKind.LOSE if was_up else ChangeKind.FAIL
    assert change.kind is (ChangeKind.EXPIRE if by is EndedBy.TTL else otherwise)


def test_the_moment_of_an_end_is_the_clouds_where_it_is_told_and_the_rows_else() -> None:
    at = OVER + timedelta(seconds=20)
    known = Instance(id="i-1", state=InstanceState.TERMINATED, token="", launch_index=0, ended_at=at)
    nodes = [dying(1, OVER), dying(2, OVER), dying(3, TO_COME)]
    early = Instance(id="i-3", state=InstanceState.TERMINATED, token="", launch_index=0, ended_at=at)
    plan = find_changes(world(nodes, [], looked_up={"i-1": known, "i-2": ended("i-2"), "i-3": early}))
    ends = {change.node_id: change.end for change in plan.changes}
    assert {key: end.at for key, end in ends.items() if end} == {1: at, 2: OVER, 3: at}
    assert ends[3] is not None
    assert ends[3].by is EndedBy.LOST, "its cloud says that it ended long before its time"


def test_an_end_is_judged_by_the_clock_of_the_cloud_that_keeps_it() -> None:
    ahead = Instance(
        id="i-1", state=InstanceState.TERMINATED, token="", launch_index=0, seen_at=TO_COME + timedelta(seconds=5)
    )
    (change,) = find_changes(world([dying(1, TO_COME)], [], looked_up={"i-1": ahead})).changes
    assert change.kind is ChangeKind.EXPIRE
    early = replace(ahead, ended_at=TO_COME - HOUR, seen_at=TO_COME - HOUR)
    (change,) = find_changes(world([dying(1, TO_COME)], [], looked_up={"i-1": early})).changes
    assert change.kind is ChangeKind.LOSE


@pytest.mark.parametrize("ahead", [timedelta(minutes=-5), timedelta(0), timedelta(minutes=5)])
def test_a_database_whose_clock_differs_from_the_clouds_takes_an_end_for_what_it_is(ahead: timedelta) -> None:
    """EC2's machines keep an end that is on record by the database's clock; the moment of it is told by EC2's."""
    ended_at = OVER - ahead + timedelta(seconds=20)
    gone = Instance(
        id="i-1", state=InstanceState.TERMINATED, token="", launch_index=0, ended_at=ended_at, seen_at=NOW - ahead
    )
    (change,) = find_changes(world([dying(1, OVER)], [], looked_up={"i-1": gone})).changes
    assert change.kind is ChangeKind.EXPIRE


def test_a_standing_machine_whose_end_its_cloud_keeps_is_judged_by_the_clouds_clock() -> None:
    soon = NOW + timedelta(minutes=1)
    there = [machine(1, ends_at=soon - HOUR, seen_at=soon - HOUR - timedelta(minutes=1))]
    assert not [each for each in find_changes(world([dying(1, soon - HOUR)], there)).changes if each.node_id]
    late = [machine(1, ends_at=soon - HOUR, seen_at=soon)]
    assert told(find_changes(world([dying(1, soon - HOUR)], late)).changes) == [(ChangeKind.OVERDUE, 1)]


def test_a_row_of_a_release_before_ends_by_its_layouts_word() -> None:
    old = dying(1, None, running_at=NOW - HOUR - timedelta(minutes=5))
    assert told(find_changes(world([old], [])).changes) == [(ChangeKind.EXPIRE, 1)]
    assert told(find_changes(world([old], [machine(1)])).changes) == [(ChangeKind.OVERDUE, 1)]
    young = dying(1, None, running_at=NOW - timedelta(minutes=5))
    assert told(find_changes(world([young], [])).changes) == [(ChangeKind.LOSE, 1)]


def test_what_stops_at_its_end_was_ended_by_something_else() -> None:
    assert told(find_changes(world([dying(1, OVER, STOPS)], [])).changes) == [(ChangeKind.LOSE, 1)]


@pytest.mark.parametrize("seen", [InstanceState.STOPPING, InstanceState.STOPPED])
def test_a_machine_that_somebody_stopped_is_kept_past_its_end_for_what_is_on_its_disk(seen: InstanceState) -> None:
    (change,) = find_changes(world([dying(1, OVER)], [machine(1, state=seen)])).changes
    assert change.kind is ChangeKind.HALT


@pytest.mark.parametrize("state", [NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED])
@pytest.mark.parametrize("seen", [InstanceState.RUNNING, InstanceState.PENDING])
def test_a_machine_that_stands_minutes_after_its_end_is_ended_unless_it_is_to_stop(
    state: NodeState, seen: InstanceState
) -> None:
    there = [machine(1, state=seen)]
    (change,) = find_changes(world([dying(1, OVER, state=state)], there)).changes
    assert change.kind is ChangeKind.OVERDUE
    for other in (dying(1, JUST_OVER, state=state), dying(1, OVER, STOPS, state=state), dying(1, None, state=state)):
        kinds = {each.kind for each in find_changes(world([other], there)).changes}
        assert ChangeKind.OVERDUE not in kinds


def test_an_end_that_the_cloud_itself_has_put_off_is_not_overdue() -> None:
    assert not find_changes(world([dying(1, OVER)], [machine(1, ends_at=TO_COME)])).changes


@pytest.mark.parametrize(
    ("scale", "ttl", "expected"),
    [
        (1, "1h", [(ChangeKind.EXPIRE, 1)]),
        (1, REPLACED, [(ChangeKind.EXPIRE, 1), ADD]),
        (3, "1h", [(ChangeKind.EXPIRE, 1), ADD, ADD]),
        (3, REPLACED, [(ChangeKind.EXPIRE, 1), ADD, ADD, ADD]),
    ],
)
def test_what_its_ttl_ended_counts_for_the_scale_unless_it_is_to_be_replaced(
    scale: int, ttl: Any, expected: list[tuple[ChangeKind, int]]
) -> None:
    assert told(find_changes(world([dying(1, OVER, ttl)], []), [living(scale, ttl)]).changes) == expected
    terminated = dying(1, OVER, ttl, state=NodeState.TERMINATED, ended_by=EndedBy.TTL)
    later = find_changes(world([], [], ended=[terminated]), [living(scale, ttl)])
    assert told(later.changes) == [each for each in expected if each[0] is ChangeKind.ADD], "the next one says the same"


def test_an_overdue_machine_and_a_teardown_that_broke_off_after_its_end_count_for_the_scale() -> None:
    broken_off = dying(2, OVER, state=NodeState.TERMINATING)
    plan = find_changes(world([dying(1, OVER), broken_off], [machine(1), machine(2)]), [living(2)])
    assert told(plan.changes) == [(ChangeKind.FINISH, 2), (ChangeKind.OVERDUE, 1)]


def test_a_former_launchs_ends_make_up_for_no_node_of_the_latest() -> None:
    former = [dying(number, OVER, state=NodeState.TERMINATED, ended_by=EndedBy.TTL) for number in (1, 2)]
    plan = find_changes(world([node(3)], [machine(3)], ended=former, launched_from={"web": 3}), [layout(2)])
    assert told(plan.changes) == [ADD]


def test_ends_make_no_living_node_one_too_many() -> None:
    done = [dying(number, OVER, state=NodeState.TERMINATED, ended_by=EndedBy.TTL) for number in (1, 2)]
    assert not find_changes(world([node(3)], [machine(3)], ended=done), [layout(1)])
    assert told(find_changes(world([node(3), node(4)], [machine(3), machine(4)], ended=done), [layout(1)]).changes) == [
        (ChangeKind.REMOVE, 4)
    ]


@pytest.mark.parametrize(
    ("written", "is_one"),
    [("1h", True), (3600, True), (STOPS, False), (None, False), ("soon", False), ({"then": "end"}, False)],
)
def test_a_row_tells_of_its_life_what_it_can(written: Any, is_one: bool) -> None:
    life = life_of(dying(1, OVER, written))
    assert (life == timedelta(hours=1)) is (is_one or written == STOPS)
    assert is_overdue(dying(1, OVER, written), NOW) is (written != STOPS)


@pytest.mark.parametrize("written", ["", "soon", "-1", "99999999999999999999", "1e3", "\uff11\uff12"])
def test_a_tag_that_is_no_moment_is_no_end(written: str) -> None:
    assert end_of(machine(1, tags={"ogc:ends": written}).instance) is None


def test_an_end_is_the_clouds_before_the_tags() -> None:
    tagged = machine(1, tags={"ogc:ends": "1800000000"}).instance
    assert end_of(tagged) == datetime.fromtimestamp(1800000000, UTC)
    assert end_of(machine(1, tags={"ogc:ends": "1800000000"}, ends_at=NOW).instance) == NOW


def test_a_plan_tells_what_it_leaves_alone() -> None:
    stranger = Found(provider="aws", region="us-east-2", instance=machine(9).instance)
    nodes = [dying(1, TO_COME), node(2, layout="old"), node(3, layout="old")]
    there = [machine(1), machine(2), machine(3)]
    plan = find_changes(world(nodes, there, strangers=[stranger]), [living(1, "2h")])
    assert not plan
    changed, dropped, strange = plan.notes
    assert "1 node keeps a ttl of 1:00:00" in changed
    assert "the spec says a ttl of 2:00:00" in changed
    assert "2 nodes are of old" in dropped
    assert "`ogc rm --layout old`" in dropped
    assert "1 machine with your tag is of another database" in strange
    then = find_changes(world(nodes[:1], there[:1]), [living(1, REPLACED)]).notes
    assert len(then) == 1
    assert "the spec says a ttl of 1:00:00, then replace" in then[0]
    assert "ogc reap" in strange
    assert not find_changes(world(nodes, there), []).notes, "without a spec there is nothing to differ from"


def test_a_plan_tells_of_nodes_that_their_ttl_ended() -> None:
    done = [dying(1, OVER, state=NodeState.TERMINATED, ended_by=EndedBy.TTL)]
    (note,) = find_changes(world([], [], ended=done), [living(1)]).notes
    assert note == "web: its ttl ended 1 node; `ogc launch web` launches it again"
