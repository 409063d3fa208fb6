"""The request that a batch becomes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ogc_async.plan import expand, launch_request
from ogc_async.spec import Layout
from ogc_async.types import HostKey, LaunchRequest, Port
from tests.unit.plan.conftest import make_layout

KEY = "ssh-ed25519 AAAA me"


def _request(layout: Layout) -> LaunchRequest:
    (batch,) = expand([layout], batch_size=10, region="us-east-2")
    return launch_request(batch, layout, owner="adam", scope="s1", public_key=KEY, ssh_port=22)


def test_a_request_carries_all_that_the_layout_says_about_a_machine() -> None:
    layout = make_layout(
        scale=2,
        arch="arm64",
        username="admin",
        ports=[80, "53/udp"],
        ingress="10.0.0.0/8",
        zones=["us-east-2a", "us-east-2b"],
        spot=True,
        ttl="4h",
        disk_size=50,
        tags=["front"],
        labels={"team": "ops"},
    )
    (batch,) = expand([layout], batch_size=10)
    host_key = HostKey("ssh-ed25519 AAAA", "private")
    request = launch_request(batch, layout, owner="adam", scope="s1", public_key=KEY, ssh_port=2222, host_key=host_key)
    assert request == LaunchRequest(
        owner="adam",
        scope="s1",
        layout="web",
        names=batch.names,
        token=batch.token,
        runs_on="ubuntu-2404",
        instance_size="t3.small",
        public_key=KEY,
        arch="arm64",
        username="admin",
        zone="us-east-2a",
        ports=(Port(80, 80), Port(53, 53, "udp")),
        ingress=("10.0.0.0/8",),
        ssh_port=2222,
        spot=True,
        ttl=timedelta(hours=4),
        disk_size_gib=50,
        tags=("front",),
        labels={"team": "ops"},
        host_key=host_key,
        wants_public_ip=True,
    )


@pytest.mark.parametrize(
    ("values", "wants"),
    [
        ({}, True),
        ({"address": "private"}, None),
        ({"jump_host": "me@bastion"}, None),
        ({"address": "private", "jump_host": "me@bastion"}, None),
    ],
)
def test_a_public_address_is_asked_for_where_machines_are_reached_by_it(
    values: dict[str, str], wants: bool | None
) -> None:
    assert _request(make_layout(**values)).wants_public_ip is wants


def test_equal_arguments_make_equal_requests_so_that_a_repeat_launches_nothing_new() -> None:
    layout = make_layout(scale=2)
    (batch,) = expand([layout], batch_size=10)
    again = Layout.from_dict(layout.as_dict())
    one, two = (
        launch_request(batch, each, owner="a", scope="s", public_key=KEY, ssh_port=22) for each in (layout, again)
    )
    assert one == two


def test_the_key_is_not_shown_where_a_request_is_printed() -> None:
    assert KEY not in repr(_request(make_layout()))


def test_a_batch_of_another_layout_is_a_mistake_of_the_caller() -> None:
    (batch,) = expand([make_layout("db")], batch_size=1)
    with pytest.raises(ValueError, match="the batch is of layout 'db', not 'web'"):
        launch_request(batch, make_layout("web"), owner="a", scope="s", public_key=KEY, ssh_port=22)
