"""What an account holds beside the fleet at work, and what would end each of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ogc_async.plan import Found
from ogc_async.plan.strays import FoundVolume, Sight, find_strays, to_end
from ogc_async.types import EndsWith, Find, FindKind, InstanceState, NodeSnapshot, NodeState, Volume
from tests.unit.plan.test_diff import LONG_AGO, NOW, OURS, THEIRS, machine, node

HERE = ("aws", "us-east-2")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def there(number: int, scope: str = "ours", **values: Any) -> Found:
    tags = {"ogc:layout": "web", "ogc:scope": scope} | values.pop("tags", {})
    return machine(number, tags=tags, **values)


def seen(*machines: Found, **values: Any) -> Sight:
    given: dict[str, Any] = {"accounts": {HERE: OURS}}
    return Sight(now=NOW, scope="ours", machines=machines, **given | values)


def only(sight: Sight) -> Find:
    (found,) = find_strays(sight)
    return found


def test_healthy_nodes_are_no_finds_whatever_they_are_about_to_do() -> None:
    states = (NodeState.RUNNING, NodeState.LAUNCHING, NodeState.TERMINATING)
    nodes = [node(number, state, ends_at=NOW + HOUR) for number, state in enumerate(states)]
    assert find_strays(seen(*(there(each.id) for each in nodes), live=nodes, layouts={"web"})) == []


def test_a_launch_under_way_is_known_by_its_place_in_its_batch() -> None:
    assert find_strays(seen(there(1), live=[node(1, NodeState.LAUNCHING, instance_id=None)])) == []


@pytest.mark.parametrize(
    ("ended", "then", "kind"),
    [
        (timedelta(minutes=2), "end", FindKind.OVERDUE),
        (timedelta(minutes=2), "replace", FindKind.OVERDUE),
        (timedelta(seconds=119), "end", None),
        (HOUR, "stop", None),
    ],
)
def test_a_node_is_overdue_two_minutes_after_its_end_unless_it_is_to_stop(
    ended: timedelta, then: str, kind: FindKind | None
) -> None:
    over = node(1, ends_at=NOW - ended, spec={"ttl": {"after": 3600, "then": then}})
    assert [each.kind for each in find_strays(seen(there(1), live=[over]))] == ([kind] if kind else [])


def test_an_overdue_node_is_ended_by_any_reap_though_its_layout_is_gone_or_it_was_marked_lost() -> None:
    over = node(1, ends_at=NOW - 14 * MINUTE)
    for sight in (
        seen(there(1), live=[over], layouts=()),
        seen(there(1), lost=[replace(over, state=NodeState.LOST)]),
    ):
        found = only(sight)
        assert (found.kind, found.command, found.since) == (FindKind.OVERDUE, "ogc reap --yes", over.ends_at)
        assert "its time was over 14m ago" in found.reason


def test_of_an_end_on_record_and_an_end_at_the_cloud_the_later_one_counts() -> None:
    """Somebody has put it off, from here or from outside, and the other of the two has not heard of it yet."""
    over, later = NOW - HOUR, NOW + HOUR
    assert find_strays(seen(there(1, ends_at=over), live=[node(1, ends_at=later)])) == []
    assert find_strays(seen(there(1, ends_at=later), live=[node(1, ends_at=over)])) == []
    assert only(seen(there(1, ends_at=over), live=[node(1, ends_at=over - HOUR)])).since == over


@pytest.mark.parametrize("state", [InstanceState.STOPPED, InstanceState.STOPPING])
def test_a_machine_that_stands_still_is_told_whatever_its_row_says_and_no_reap_ends_it(state: InstanceState) -> None:
    found = only(seen(there(1, state=state, ended_at=NOW - HOUR), live=[node(1)]))
    assert (found.kind, found.command) == (FindKind.STOPPED, "ogc rm ogc-web-1")
    assert found.reason == "stands still for 1h, its disk is paid for"
    assert only(seen(there(1, state=state), live=[node(1, NodeState.STOPPED)])).since == LONG_AGO
    assert to_end([found], strays=True) == []
    over = node(1, ends_at=NOW - HOUR)
    assert only(seen(there(1, state=state), live=[over])).kind is FindKind.STOPPED, "what is on its disk may be wanted"


def test_an_end_of_the_clouds_own_counts_by_the_clouds_own_clock() -> None:
    for seen_at, finds in ((NOW - HOUR, 0), (NOW, 1)):
        machine = there(1, ends_at=NOW - 14 * MINUTE, seen_at=seen_at)
        assert len(find_strays(seen(machine, live=[node(1, ends_at=NOW - 14 * MINUTE)]))) == finds


def test_a_layout_that_left_the_spec_is_told_and_without_a_spec_none_has() -> None:
    found = only(seen(there(1), live=[node(1)], layouts={"other"}))
    assert (found.kind, found.command, found.ends_with) == (FindKind.NO_SPEC, "ogc rm --layout web", EndsWith.STRAYS)
    assert only(seen(there(1), live=[node(1)], layouts=())).kind is FindKind.NO_SPEC
    assert find_strays(seen(there(1), live=[node(1)], layouts=None)) == []


def test_a_machine_that_was_let_go_of_has_its_rows_name_and_no_row() -> None:
    row = node(1, NodeState.TERMINATED, terminated_at=NOW - 3 * HOUR)
    found = only(seen(there(1), let_go={"i-1": row}))
    assert (found.kind, found.node, found.node_id) == (FindKind.LET_GO, "ogc-web-1", 0)
    assert found.reason == "let go of 3h ago, still there"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "of another database (scope 9f31abcd)"),
        ({"launched_at": NOW - timedelta(days=6)}, "of another database (scope 9f31abcd), launched 6d ago"),
        ({"ends_at": NOW + HOUR}, "of another database (scope 9f31abcd), ends in 1h"),
        ({"state": InstanceState.STOPPED}, "of another database (scope 9f31abcd), stands still"),
        (
            {"tags": {"ogc:ends": str(int((NOW - 14 * MINUTE).timestamp()))}},
            "of another database (scope 9f31abcd), its time was over 14m ago",
        ),
    ],
)
def test_a_machine_of_another_database_is_a_stray_though_a_row_of_ours_has_its_name(
    values: dict[str, Any], said: str
) -> None:
    """Its own tag may be out of date: the other database may have put its end off."""
    found = only(seen(there(1, "9f31abcd0123", **values), live=[node(2, instance_id=None, token="batch")]))
    assert (found.kind, found.ends_with, found.reason) == (FindKind.STRAY, EndsWith.STRAYS, said)


@pytest.mark.parametrize(
    "sight",
    [
        seen(there(1)),
        seen(there(1), lost=[node(1, NodeState.LOST)]),
        # Of another account's node: ids are one account's own, and so this is another machine.
        seen(there(1), live=[node(1, account=THEIRS)]),
    ],
    ids=["no row", "lost", "elsewhere"],
)
def test_a_machine_of_ours_that_no_live_row_stands_for_is_a_stray(sight: Sight) -> None:
    assert only(sight).kind is FindKind.STRAY


def test_what_has_ended_or_is_ending_is_no_find_and_what_two_places_show_is_one() -> None:
    assert find_strays(seen(there(1, state=InstanceState.TERMINATING), there(2, state=InstanceState.TERMINATED))) == []
    assert len(find_strays(seen(there(1), replace(there(1), region="us-west-1")))) == 1


@pytest.mark.parametrize(
    ("scope", "live", "ends_with"),
    [
        ("ours", [], EndsWith.STRAYS),
        ("ours", [node(1, NodeState.LAUNCHING)], None),
        ("9f31", [], EndsWith.STRAYS),
        ("9f31", [node(1)], EndsWith.STRAYS),
    ],
)
def test_a_volume_is_left_over_once_its_own_databases_layout_is_empty(
    scope: str, live: list[NodeSnapshot], ends_with: EndsWith | None
) -> None:
    volume = FoundVolume(provider="aws", region="us-east-2", volume=Volume("vol-1", "web", 8, scope))
    finds = find_strays(seen(volumes=[volume], live=live))
    assert [each.ends_with for each in finds] == ([ends_with] if ends_with else [])


def test_only_what_was_agreed_to_is_ended() -> None:
    finds = find_strays(seen(there(1), there(2), there(3), live=[node(3, ends_at=NOW - HOUR)]))
    assert [each.id for each in to_end(finds, strays=False)] == ["i-3"]
    assert [each.id for each in to_end(finds, strays=True)] == ["i-3", "i-1", "i-2"]
    assert [each.id for each in to_end(finds, strays=True, only=["i-2"])] == ["i-2"]
    assert to_end(finds, strays=False, only=["i-2"]) == []
