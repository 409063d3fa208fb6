"""What machines are told of their end, as the sandbox's machines run it: cloud-init, systemd and cron, on its clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from ogc_async.providers.aws.userdata import user_data
from ogc_async.sandbox.room import State
from tests.integration.sandbox.test_user_data import MINUTE, Room, in_virtual_time

LIFE_MIN = 4
DUE = {"i-quiet": 0, "i-cancelled": 0, "i-rebooted": 0, "i-stateless": 0, "i-back": 0, "i-on": -1, "i-broken": 2}
"""How many minutes after its life each machine ends."""
FAULTS = ("cancel-shutdown=i-cancelled", "broken-shutdown=i-broken", "no-state=i-stateless")
IN_ITS_MIDDLE = ("reboot=i-rebooted", "clock=i-back:-7200", "clock=i-on:60")


@pytest.mark.parametrize("has_systemd", [True, False], ids=["systemd", "cron"])
def test_machines_of_the_sandbox_end_in_the_minute_that_is_due(has_systemd: bool) -> None:
    told = user_data(timedelta(minutes=LIFE_MIN), None)
    late: dict[str, float] = {}

    async def act(room: Room) -> None:
        machines = {name: room.launch(name, told) for name in DUE}
        await room.passes(2 * MINUTE)
        room.sandbox.add_faults(*IN_ITS_MIDDLE)
        await room.passes((LIFE_MIN + 2) * MINUTE)
        assert {each.state for each in machines.values()} == {State.ENDED}
        late.update({name: (each.ended_at or 0) / MINUTE - LIFE_MIN for name, each in machines.items()})

    in_virtual_time(act, has_systemd=has_systemd, faults=FAULTS)
    assert _wrong(late) == {}


def _wrong(late: Mapping[str, float]) -> dict[str, float]:
    """Machines that ended at another time, to the minute that lies between two looks."""
    return {name: each for name, each in late.items() if not 0 <= each - DUE[name] <= 1.1}
