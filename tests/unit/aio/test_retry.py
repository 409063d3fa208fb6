from __future__ import annotations

from collections.abc import Callable

import pytest

from ogc_async.aio.retry import Retrier, TurnClock, next_delay, retry


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Callable[[], Exception] = lambda: OSError("down")) -> None:
        self.failures = failures
        self.calls = 0
        self._error = error

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self._error()
        return "done"


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (5000, 10)])
def test_a_delay_doubles_up_to_its_cap(attempt: int, ceiling: float) -> None:
    delay = next_delay(attempt, spent_s=0, budget_s=60, base_s=1, cap_s=10, roll=1)
    assert delay == ceiling


def test_the_roll_spreads_the_delay_over_all_of_it() -> None:
    delays = [next_delay(2, spent_s=0, budget_s=60, base_s=1, cap_s=10, roll=roll) for roll in (0, 0.25, 0.5)]
    assert delays == [0, 1, 2]


def test_there_is_no_delay_that_ends_after_the_budget() -> None:
    assert next_delay(2, spent_s=57, budget_s=60, base_s=1, cap_s=10, roll=0.9) is None
    assert next_delay(0, spent_s=60, budget_s=60, base_s=1, cap_s=10, roll=0) is None


async def test_a_call_that_recovers_is_answered_and_waited_for_longer_each_time() -> None:
    time, call = Time(), Flaky(3)
    answer = await retry(
        call, is_retryable=is_os_error, budget_s=60, base_s=1, rng=lambda: 1.0, clock=time.clock, sleep=time.sleep
    )
    assert answer == "done"
    assert time.slept == [1, 2, 4]


async def test_an_error_that_no_repeat_helps_is_raised_at_once() -> None:
    time, call = Time(), Flaky(1, lambda: KeyError("no"))
    with pytest.raises(KeyError):
        await retry(call, is_retryable=is_os_error, budget_s=60, clock=time.clock, sleep=time.sleep)
    assert (call.calls, time.slept) == (1, [])


async def test_the_last_error_is_raised_once_the_budget_is_spent() -> None:
    time, call = Time(), Flaky(1000)
    with pytest.raises(OSError, match="down"):
        await retry(
            call, is_retryable=is_os_error, budget_s=30, base_s=1, rng=lambda: 1.0, clock=time.clock, sleep=time.sleep
        )
    assert time.slept == [1, 2, 4, 8]


async def test_time_spent_before_the_first_failure_is_not_taken_from_the_budget() -> None:
    time = Time()

    async def queue_then_fail_once() -> str:
        if not time.slept:
            time.now += 1000
            raise OSError("down")
        return "done"

    answer = await retry(queue_then_fail_once, is_retryable=is_os_error, budget_s=5, clock=time.clock, sleep=time.sleep)
    assert answer == "done"


async def test_the_wait_in_turn_before_a_repeat_uses_up_none_of_its_budget() -> None:
    time, flaky = Time(), Flaky(3)
    clock = TurnClock(time.clock)

    async def turn() -> None:
        time.now += 100

    async def call() -> str:
        await clock.stand_still(turn())
        return await flaky()

    retrier = Retrier(rng=lambda: 1.0, clock=time.clock, sleep=time.sleep)
    assert await retrier(call, is_os_error, 10, clock) == "done"
    assert clock() == sum(time.slept) < 10 < time.now


async def test_by_the_clients_own_clock_that_wait_would_count() -> None:
    time, flaky = Time(), Flaky(3)

    async def call() -> str:
        time.now += 100
        return await flaky()

    retrier = Retrier(rng=lambda: 1.0, clock=time.clock, sleep=time.sleep)
    with pytest.raises(OSError, match="down"):
        await retrier(call, is_os_error, 10)
    assert flaky.calls == 2
