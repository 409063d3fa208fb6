"""What is to be done, from what is on record, what the cloud shows, and what the spec asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ogc_async.errors import OutcomeUnknown, WrongAccount
from ogc_async.plan import Found, World, absent, doubtful, find_changes
from ogc_async.spec import Layout
from ogc_async.types import ChangeKind, Instance, InstanceState, NodeSnapshot, NodeState, SyncPlan

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTLE = timedelta(seconds=60)
LONG_AGO = NOW - timedelta(hours=1)
JUST_NOW = NOW - timedelta(seconds=10)
OURS, THEIRS = "111111111111", "222222222222"


def node(number: int, state: NodeState = NodeState.RUNNING, **values: Any) -> NodeSnapshot:
    given: dict[str, Any] = {
        "id": number,
        "name": f"ogc-web-{number}",
        "layout": "web",
        "provider": "aws",
        "region": "us-east-2",
        "zone": None,
        "state": state,
        "token": "batch",
        "launch_index": number,
        "instance_id": f"i-{number}",
        "updated_at": LONG_AGO,
        "account": OURS,
    }
    return NodeSnapshot(**(given | values))


def machine(number: int, **values: Any) -> Found:
    given: dict[str, Any] = {
        "id": f"i-{number}",
        "state": InstanceState.RUNNING,
        "token": "batch",
        "launch_index": number,
        "tags": {"ogc:layout": "web"},
    }
    return Found(provider="aws", region="us-east-2", instance=Instance(**(given | values)))


def world(nodes: list[NodeSnapshot], machines: list[Found], *, account: str | None = OURS, **values: Any) -> World:
    """What one list showed; of what it does not show, the cloud says that it is gone, unless told otherwise."""
    gone = {str(each.instance_id): ended(str(each.instance_id)) for each in nodes if each.instance_id}
    shown = {each.instance.id for each in machines}
    given: dict[str, Any] = {
        "accounts": {("aws", "us-east-2"): account},
        "looked_up": {key: each for key, each in gone.items() if key not in shown},
    }
    return World(now=NOW, settle=SETTLE, nodes=nodes, machines=machines, **(given | values))


def ended(instance_id: str, state: InstanceState = InstanceState.TERMINATED) -> Instance:
    return Instance(id=instance_id, state=state, token="", launch_index=0)


def layout(scale: int) -> Layout:
    return Layout.from_dict(
        {
            "name": "web",
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": "/keys/id"},
            "scale": scale,
        }
    )


def shown(plan: SyncPlan) -> list[tuple[ChangeKind, int, str]]:
    return [(change.kind, change.node_id, change.instance_id) for change in plan.changes]


def test_where_all_agree_there_is_nothing_to_do() -> None:
    plan = find_changes(world([node(1), node(2)], [machine(1), machine(2)]), [layout(2)])
    assert not plan
    assert not plan.busy


@pytest.mark.parametrize(
    ("state", "values", "machines", "expected"),
    [
        (NodeState.PLANNED, {"instance_id": None}, [], [(ChangeKind.FAIL, 1, "")]),
        (NodeState.LAUNCHING, {"instance_id": None}, [], [(ChangeKind.FAIL, 1, "")]),
        (NodeState.LAUNCHING, {"instance_id": None}, [machine(1)], [(ChangeKind.ADOPT, 1, "i-1")]),
        (NodeState.LAUNCHING, {}, [machine(1)], [(ChangeKind.ADOPT, 1, "i-1")]),
        (NodeState.LAUNCHING, {}, [], [(ChangeKind.FAIL, 1, "i-1")]),
        (NodeState.RUNNING, {}, [], [(ChangeKind.LOSE, 1, "i-1")]),
        (NodeState.RUNNING, {}, [machine(1)], []),
        (NodeState.TERMINATING, {}, [machine(1)], [(ChangeKind.FINISH, 1, "i-1")]),
        (NodeState.TERMINATING, {}, [], [(ChangeKind.FINISH, 1, "i-1")]),
    ],
)
def test_each_state_that_a_dead_process_may_leave_has_its_way_out(
    state: NodeState, values: dict[str, Any], machines: list[Found], expected: list[tuple[ChangeKind, int, str]]
) -> None:
    assert shown(find_changes(world([node(1, state, **values)], machines))) == expected


@pytest.mark.parametrize(
    "state", [NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED, NodeState.TERMINATING, NodeState.PLANNED]
)
@pytest.mark.parametrize("machines", [[], [machine(1)]])
def test_another_accounts_word_changes_nothing_and_fills_no_scale(state: NodeState, machines: list[Found]) -> None:
    theirs = node(1, state, account=THEIRS)
    plan = find_changes(world([theirs, node(2)], [*machines, machine(2)]), [layout(5)])
    assert not [change for change in plan.changes if change.kind is not ChangeKind.REAP]
    (doubt,) = plan.doubts
    assert isinstance(doubt.error, WrongAccount)
    assert OURS in str(doubt.error)
    assert THEIRS in str(doubt.error)
    assert not find_changes(world([theirs], [machine(1)]), [layout(0)]).changes, "a machine with a row is no leak"


@pytest.mark.parametrize("state", [NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED])
@pytest.mark.parametrize(
    ("row", "listed"),
    [(None, OURS), (None, None), (OURS, None)],
    ids=["old row", "nothing known", "no account learned"],
)
def test_what_is_not_shown_by_its_own_account_for_certain_is_not_gone(
    state: NodeState, row: str | None, listed: str | None
) -> None:
    plan = find_changes(world([node(1, state, account=row)], [], account=listed), [layout(1)])
    assert not plan.changes, "it counts for the scale, too"
    (doubt,) = plan.doubts
    assert isinstance(doubt.error, OutcomeUnknown)
    shows = find_changes(world([node(1, state, account=row)], [machine(1)], account=listed), [layout(1)])
    assert not shows.doubts, "what is shown is there, whoever shows it"


@pytest.mark.parametrize("state", [NodeState.LAUNCHING, NodeState.RUNNING, NodeState.STOPPED])
def test_a_list_alone_loses_no_machine(state: NodeState) -> None:
    one = node(1, state)
    assert absent(world([one], [])) == [one]
    assert absent(world([one], [machine(1)])) == []
    unheard = find_changes(world([one], [], looked_up={}), [layout(1)])
    assert not unheard.changes
    assert "could not be asked for" in str(unheard.doubts[0].error)
    there = find_changes(world([one], [], looked_up={"i-1": machine(1).instance}), [layout(1)])
    assert not there.doubts
    assert not there.of(ChangeKind.LOSE, ChangeKind.FAIL, ChangeKind.ADD)


@pytest.mark.parametrize(
    ("state", "values", "expected"),
    [
        (NodeState.RUNNING, {"state": InstanceState.STOPPED}, [ChangeKind.HALT]),
        (NodeState.RUNNING, {"state": InstanceState.STOPPING}, [ChangeKind.HALT]),
        (NodeState.RUNNING, {"public_ip": "203.0.113.9"}, [ChangeKind.READDRESS]),
        (NodeState.RUNNING, {"private_ip": "10.0.0.9"}, [ChangeKind.READDRESS]),
        (NodeState.RUNNING, {"state": InstanceState.PENDING}, []),
        (NodeState.STOPPED, {"state": InstanceState.STOPPED}, []),
        (NodeState.STOPPED, {"state": InstanceState.PENDING}, []),
        (NodeState.STOPPED, {"public_ip": "203.0.113.9"}, [ChangeKind.RESUME]),
    ],
)
def test_what_somebody_did_to_a_machine_is_noted_and_neither_replaced_nor_undone(
    state: NodeState, values: dict[str, Any], expected: list[ChangeKind]
) -> None:
    plan = find_changes(world([node(1, state)], [machine(1, **values)]), [layout(1)])
    assert [change.kind for change in plan.changes] == expected


def test_a_stopped_node_whose_machine_is_gone_is_lost() -> None:
    assert shown(find_changes(world([node(1, NodeState.STOPPED)], []))) == [(ChangeKind.LOSE, 1, "i-1")]


def test_a_lost_node_whose_machine_is_there_takes_it_back() -> None:
    plan = find_changes(world([], [machine(1)], lost=[node(1, NodeState.LOST)]), [layout(1)])
    assert shown(plan) == [(ChangeKind.RESUME, 1, "i-1")]


def test_a_lost_node_whose_machine_is_there_and_stands_still_is_stopped() -> None:
    stopped = machine(1, state=InstanceState.STOPPED)
    assert shown(find_changes(world([], [stopped], lost=[node(1, NodeState.LOST)]))) == [(ChangeKind.HALT, 1, "i-1")]


def test_nodes_in_doubt_make_no_other_node_go() -> None:
    """They keep the scale from being filled; that they are there is no more certain than that they are gone."""
    doubtful_ones = [node(each, account=None) for each in (1, 2, 3)]
    healthy = [node(each) for each in (4, 5, 6)]
    three = find_changes(world([*doubtful_ones, *healthy], [machine(each) for each in (4, 5, 6)]), [layout(3)])
    assert not three.changes
    assert len(three.doubts) == 3
    two = find_changes(world([*doubtful_ones, *healthy], [machine(each) for each in (4, 5, 6)]), [layout(2)])
    assert shown(two) == [(ChangeKind.REMOVE, 6, "i-6")]


def test_a_machine_is_found_by_its_name_where_the_cloud_lets_us_choose_it() -> None:
    lost = node(1, NodeState.LAUNCHING, instance_id=None)
    found = machine(7, launch_index=-1, name="ogc-web-1", id="zone/ogc-web-1")
    assert shown(find_changes(world([lost], [found]))) == [(ChangeKind.ADOPT, 1, "zone/ogc-web-1")]


def test_a_machine_of_ours_without_a_node_is_a_leak() -> None:
    plan = find_changes(world([node(1)], [machine(1), machine(9, token="of-nobody")]))
    assert shown(plan) == [(ChangeKind.REAP, 0, "i-9")]
    assert plan.changes[0].layout == "web"


def test_a_machine_that_was_left_alone_on_purpose_is_no_leak() -> None:
    assert not find_changes(world([], [machine(9)], forgotten={"i-9"}))


def test_what_a_living_process_works_on_is_left_to_it() -> None:
    held = {"worker": "somebody", "lease_until": NOW + timedelta(seconds=5)}
    nodes = [
        node(1, NodeState.LAUNCHING, instance_id=None, **held),
        node(2, NodeState.TERMINATING, **held),
        node(3, NodeState.RUNNING, **held),
    ]
    plan = find_changes(world(nodes, [machine(1), machine(2)]), [layout(0)])
    assert not plan
    assert [each.id for each in plan.busy] == [1, 2, 3]


def test_a_lease_that_has_run_out_holds_nobody_back() -> None:
    dead = {"worker": "somebody", "lease_until": NOW - timedelta(seconds=1)}
    assert shown(find_changes(world([node(1, NodeState.PLANNED, instance_id=None, **dead)], []))) == [
        (ChangeKind.FAIL, 1, "")
    ]


def test_scale_counts_what_stays_and_what_is_on_its_way() -> None:
    held = {"worker": "somebody", "lease_until": NOW + timedelta(seconds=5)}
    nodes = [
        node(1),
        node(2, NodeState.LAUNCHING, instance_id=None),
        node(3, NodeState.LAUNCHING, instance_id=None, **held),
        node(4),
        node(5, NodeState.TERMINATING),
        node(6, NodeState.PLANNED, instance_id=None),
    ]
    plan = find_changes(world(nodes, [machine(1), machine(2), machine(5)]), [layout(5)])
    kinds = [kind for kind, _, _ in shown(plan)]
    # 1 runs, 2 is adopted, 3 is somebody's; 4 is lost, 5 ends, 6 never was.
    assert kinds.count(ChangeKind.ADD) == 2
    assert shown(plan)[:4] == [
        (ChangeKind.ADOPT, 2, "i-2"),
        (ChangeKind.FINISH, 5, "i-5"),
        (ChangeKind.LOSE, 4, "i-4"),
        (ChangeKind.FAIL, 6, ""),
    ]


def test_the_youngest_go_first_where_there_are_too_many() -> None:
    five = range(1, 6)
    plan = find_changes(world([node(each) for each in five], [machine(each) for each in five]), [layout(2)])
    assert [(kind, number) for kind, number, _ in shown(plan)] == [
        (ChangeKind.REMOVE, 3),
        (ChangeKind.REMOVE, 4),
        (ChangeKind.REMOVE, 5),
    ]


def test_layouts_that_the_spec_does_not_name_keep_their_nodes() -> None:
    other = node(1, layout="other")
    plan = find_changes(world([other], [machine(1)]), [layout(1)])
    assert [change.kind for change in plan.changes] == [ChangeKind.ADD]


@pytest.mark.parametrize(
    ("values", "is_doubtful"),
    [
        ({"updated_at": JUST_NOW}, True),
        ({"updated_at": LONG_AGO}, False),
        ({"updated_at": JUST_NOW, "instance_id": "i-1"}, True),
        ({"updated_at": JUST_NOW, "worker": "w", "lease_until": NOW + timedelta(seconds=9)}, False),
        ({"updated_at": JUST_NOW, "worker": "w", "lease_until": NOW - timedelta(seconds=9)}, True),
    ],
)
def test_a_launch_of_this_minute_is_looked_at_again(values: dict[str, Any], is_doubtful: bool) -> None:
    young = node(1, NodeState.LAUNCHING, **({"instance_id": None} | values))
    assert bool(doubtful(world([young], []))) is is_doubtful
    assert not doubtful(world([young], [machine(1)]))


def test_plans_are_equal_when_they_say_the_same() -> None:
    one = find_changes(world([node(1, NodeState.PLANNED, instance_id=None)], []), [layout(1)])
    same = find_changes(world([node(1, NodeState.PLANNED, instance_id=None)], []), [layout(1)])
    other = find_changes(world([node(1, NodeState.PLANNED, instance_id=None)], []), [layout(2)])
    assert one == same != other
    assert [str(change) for change in one.changes] == [
        "mark failed: ogc-web-1 (no machine came of its launch, which broke off)",
        "launch: a node of web (scale 1, 0 there)",
    ]


def test_a_launch_that_was_tried_for_long_is_as_young_as_its_holder_s_last_breath() -> None:
    dead = node(1, NodeState.LAUNCHING, instance_id=None, worker="dead", lease_until=JUST_NOW)
    assert doubtful(world([dead], [])) == [dead]
    long_dead = node(1, NodeState.LAUNCHING, instance_id=None, worker="dead", lease_until=LONG_AGO)
    assert doubtful(world([long_dead], [])) == []
