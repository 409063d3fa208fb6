"""Which call meets which fault, by a clock that stands where the test puts it."""

from __future__ import annotations

from typing import Any

import pytest

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.fates import Blow, Fates
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import EFFECTIVE, KINDS, LIES, LOSSES, REFUSALS, Traffic, read_faults


class StandingClock(Clock):
    """Moves where the test moves it."""

    at = 0.0

    def __init__(self) -> None:
        super().__init__(1.0)

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


def traffic(clock: Clock, **values: Any) -> Traffic:
    return Traffic(SandboxSettings(**values), clock)


def met(seen: Traffic, *operations: str, account: int = 1) -> list[str]:
    return [seen.next_fault(each, account) for each in operations]


def test_every_fault_is_a_loss_a_lie_or_a_refusal_but_for_two() -> None:
    assert {"twice", "other-account"} == KINDS - LOSSES - LIES - REFUSALS
    assert not LOSSES & LIES | LIES & REFUSALS | LOSSES & REFUSALS
    assert (LOSSES | LIES | REFUSALS) - {
        *("lost-reply", "html", "other-kind", "empty", "truncated", "error-after")
    } == KINDS - EFFECTIVE


def test_a_planned_fault_is_met_once_and_a_lasting_one_by_every_call_after_it(clock: StandingClock) -> None:
    seen = traffic(clock)
    seen.add_faults(["A=html:lasting", "A=cut"])
    assert met(seen, "A", "A", "B", "A") == ["cut", "html", "", "html"]
    assert seen.faults() == {"cut": 1, "html": 2}


def test_lies_last_from_the_start_and_have_a_word(clock: StandingClock) -> None:
    seen = traffic(clock, lies=("A=empty", "*=redirect"))
    assert met(seen, "A", "B", "A") == ["empty", "redirect", "empty"]
    with pytest.raises(ValueError, match="'A=htlm' is not OPERATION=KIND: the kinds are cut, denied, empty"):
        traffic(clock, lies=("A=htlm",))


def test_well_takes_back_what_is_planned_for_an_operation(clock: StandingClock) -> None:
    seen = traffic(clock, faults=("A=cut", "A=html:lasting", "B=html:lasting"))
    seen.add_faults(["A=well"])
    assert met(seen, "A", "B") == ["", "html"]


def test_well_for_all_takes_back_everything(clock: StandingClock) -> None:
    seen = traffic(clock, faults=("A=cut", "*=html:lasting", "outage=60", "expire=0"))
    assert seen.is_expired()
    seen.add_faults(["*=well"])
    assert met(seen, "A", "B") == ["", ""]
    assert not seen.is_expired()


def test_a_fault_may_be_one_accounts_alone(clock: StandingClock) -> None:
    seen = traffic(clock, faults=("A@2=denied:lasting", "*@3=html:lasting"))
    assert met(seen, "A", "B") == ["", ""]
    assert met(seen, "A", "B", account=2) == ["denied", ""]
    assert met(seen, "A", "B", account=3) == ["html", "html"]
    seen.add_faults(["A@2=well"])
    assert met(seen, "A", account=2) == [""]


def test_the_first_accounts_keys_are_over_at_their_moment_until_they_are_renewed(clock: StandingClock) -> None:
    seen = traffic(clock)
    seen.add_faults(["expire=10"])
    assert not seen.is_expired()
    clock.at = 10.0
    assert seen.is_expired()
    assert not seen.is_expired(2)
    seen.add_faults(["expire=never"])
    assert not seen.is_expired()


@pytest.mark.parametrize(
    "bad", ["nonsense", "=html", "A=", "A=:lasting", "outage=soon", "expire=soon", "boot=sideways"]
)
def test_what_is_no_fault_plans_nothing(clock: StandingClock, bad: str) -> None:
    seen = traffic(clock)
    with pytest.raises(
        ValueError, match=r"Operation=fault|could not convert|boot=internal-error, boot=no-capacity, boot=stop"
    ):
        seen.add_faults(["A=html", "cut=60", bad])
    assert met(seen, "A") == [""]


def test_what_befalls_machines_is_no_calls_fault(clock: StandingClock) -> None:
    seen = traffic(clock, faults=("boot=stop", "spot-reclaim=*", "shutdown=i-1"))
    assert met(seen, "boot", "spot-reclaim", "shutdown") == ["", "", ""]


def test_a_boot_ends_as_planned_and_then_well() -> None:
    fates = Fates(SandboxSettings())
    blows = fates.add_faults(read_faults(["boot=stop", "A=html", "spot-reclaim=i-1", "shutdown=*"]))
    assert blows == [Blow("spot-reclaim", "i-1"), Blow("shutdown", "*")]
    assert [fates.of_boot(), fates.of_boot()] == ["stop", ""]
    fates.add_faults(read_faults(["boot=internal-error:lasting"]))
    assert [fates.of_boot(), fates.of_boot()] == ["internal-error", "internal-error"]
    fates.add_faults(read_faults(["*=well"]))
    assert fates.of_boot() == ""


def test_shares_are_shares_and_one_seed_has_one_fate() -> None:
    def ends(seed: int) -> list[tuple[str, float | None]]:
        fates = Fates(SandboxSettings(seed=seed, boot_errors=0.3, reclaims=0.5, reclaim_after=(2.0, 3.0)))
        return [(fates.of_boot(), fates.of_spot()) for _ in range(400)]

    assert ends(1) == ends(1) != ends(2)
    assert 80 < sum(end == "internal-error" for end, _ in ends(1)) < 160
    after = [each for _, each in ends(1) if each is not None]
    assert 150 < len(after) < 250
    assert all(2.0 <= each <= 3.0 for each in after)
