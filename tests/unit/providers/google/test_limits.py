"""Minutes of a clock that stands where the test puts it."""

from __future__ import annotations

from collections.abc import Sequence

from ogc_async.aio.buckets import Level
from ogc_async.aio.limiter import Decide, Place, T
from ogc_async.providers.google.limits import FIRST_PAUSE_S, LONGEST_PAUSE_S, PER_MINUTE, Group, Limits, place_of


class Time:
    """A wall clock that sleeping moves on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def limits_at(now: float, per_minute: int = 3) -> tuple[Limits, Time]:
    time = Time(now)
    counts = dict.fromkeys(PER_MINUTE, per_minute)
    return Limits(per_minute=counts, wall_clock=time, sleep=time.sleep), time


async def test_a_full_minute_waits_for_the_next_one_on_the_clock() -> None:
    limits, time = limits_at(600 + 15)
    for _ in range(3):
        await limits.take("instances.get", Group.READ)
    assert time.now == 615
    await limits.take("instances.get", Group.READ)
    assert time.now == 660
    assert limits.left(Group.READ) == 2


async def test_groups_are_counted_apart() -> None:
    limits, time = limits_at(0)
    for group in Group:
        for _ in range(3):
            await limits.take("any", group)
    assert time.now == 0


async def test_what_others_used_up_is_waited_for_as_well() -> None:
    limits, time = limits_at(30)
    await limits.used_up(Group.WRITE)
    await limits.take("instances.delete", Group.WRITE, begins=True)
    assert time.now == 60


async def test_too_many_at_once_pauses_that_kind_only_and_for_longer_each_time() -> None:
    limits, time = limits_at(0, per_minute=1000)
    waits = []
    for _ in range(8):
        await limits.too_many_at_once("instances.delete", Group.WRITE)
        before = time.now
        await limits.take("instances.get", Group.READ)
        assert time.now == before
        await limits.take("instances.delete", Group.WRITE, begins=True)
        waits.append(time.now - before)
    assert waits == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]


async def test_refusals_of_one_moment_make_one_pause_and_a_quiet_time_forgets_it() -> None:
    limits, time = limits_at(0, per_minute=1000)
    for _ in range(50):
        await limits.too_many_at_once("instances.delete", Group.WRITE)
    await limits.take("instances.delete", Group.WRITE, begins=True)
    assert time.now == FIRST_PAUSE_S
    time.now += 100
    await limits.too_many_at_once("instances.delete", Group.WRITE)
    await limits.take("instances.delete", Group.WRITE, begins=True)
    assert time.now == FIRST_PAUSE_S + 100 + FIRST_PAUSE_S


async def test_regions_share_what_the_whole_project_has_and_nothing_else() -> None:
    time = Time(0)
    shared = OneLedger(time)
    counts = dict.fromkeys(PER_MINUTE, 3)
    here, there = (
        Limits(place_of("p", "https://x", region), shared=shared, per_minute=counts, wall_clock=time, sleep=time.sleep)
        for region in ("us-central1", "europe-west1")
    )
    for _ in range(3):
        await here.take("instances.delete", Group.WRITE, begins=True)
        await here.take("firewalls.get", Group.GLOBAL)
    await there.take("instances.delete", Group.WRITE, begins=True)
    assert time.now == 0
    await there.take("firewalls.get", Group.GLOBAL)
    assert time.now == 60


async def test_a_pause_and_a_used_up_minute_hold_for_other_processes_too() -> None:
    time = Time(0)
    shared = OneLedger(time)
    counts = dict.fromkeys(PER_MINUTE, 3)
    mine, yours = (
        Limits(
            place_of("p", "https://x", "us-central1"),
            shared=shared,
            per_minute=counts,
            wall_clock=time,
            sleep=time.sleep,
        )
        for _ in range(2)
    )
    await mine.too_many_at_once("instances.delete", Group.WRITE)
    await yours.take("instances.bulkInsert", Group.WRITE, begins=True)
    assert time.now == 0
    # So few a minute are dear: each is asked for, and the pause is looked for with it.
    await yours.take("instances.delete", Group.WRITE, begins=True)
    await mine.used_up(Group.READ)
    before = time.now
    await yours.take("instances.get", Group.READ)
    assert (before, time.now) == (FIRST_PAUSE_S, 60)


class OneLedger:
    """Levels that several processes share."""

    def __init__(self, clock: Time) -> None:
        self._clock = clock
        self._levels: dict[tuple[Place, str], Level] = {}

    async def change(self, place: Place, buckets: Sequence[str], decide: Decide[T]) -> T:
        found = {each: self._levels[place, each] for each in buckets if (place, each) in self._levels}
        changed, answer = decide(found, self._clock())
        self._levels |= {(place, each): level for each, level in changed.items()}
        return answer
