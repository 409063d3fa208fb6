from __future__ import annotations

from dataclasses import replace

import pytest

from ogc_async.aio.buckets import (
    AGAIN_S,
    LATE_S,
    LOWEST_SHARE,
    REGAIN_S,
    SAME_MOMENT_S,
    Level,
    MinuteWindow,
    Pause,
    TokenBucket,
    is_again,
    share_of,
)

BUCKET = TokenBucket(10, 1)
WINDOW = MinuteWindow(100)
PAUSE = Pause(1, 30)
START = 1_000_000.0


def take(level: Level | None, now: float, count: float = 1, bucket: TokenBucket = BUCKET) -> tuple[Level, float]:
    after, grant = bucket.take(level, now, count)
    return after, grant.wait_s


def test_a_full_bucket_lets_a_burst_through_and_then_paces() -> None:
    level, waits = None, []
    for _ in range(8):
        level, wait_s = take(level, START, bucket=TokenBucket(5, 2))
        waits.append(wait_s)
    assert waits == pytest.approx([0, 0, 0, 0, 0, LATE_S + 0.5, LATE_S + 1.0, LATE_S + 1.5])


def test_calls_let_through_a_little_late_never_find_the_other_sides_bucket_empty() -> None:
    bucket = TokenBucket(5, 2)
    level, arrivals = None, []
    for number in range(40):
        level, wait_s = take(level, START, bucket=bucket)
        # The first ones are late by all there is, the others by nothing: the worst that can be.
        arrivals.append(wait_s + (LATE_S if number < 5 else 0))
    tokens, at = 5.0, 0.0
    for arrival in sorted(arrivals):
        tokens, at = min(5.0, tokens + (arrival - at) * 2), arrival
        assert tokens >= 1 - 1e-6
        tokens -= 1


def test_an_idle_bucket_fills_up_to_its_capacity_and_no_further() -> None:
    level, _ = take(None, START, 10)
    assert BUCKET.tokens(level, START + LATE_S + 3) == pytest.approx(3)
    assert BUCKET.tokens(level, START + 1000) == 10


def test_who_waits_has_a_place_in_time_that_later_callers_do_not_take() -> None:
    level, _ = take(None, START, 10)
    level, large = take(level, START, 8)
    level, small = take(level, START, 1)
    assert (large, small) == pytest.approx((8 + LATE_S, 9 + LATE_S))


def test_tokens_put_back_are_there_for_the_next() -> None:
    level, _ = take(None, START, 10)
    level, _ = take(level, START, 8)
    level = BUCKET.put_back(level, START, 8)
    assert take(level, START, 1)[1] == pytest.approx(1 + LATE_S)


def test_more_than_the_bucket_ever_holds_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="11 tokens of a bucket that holds 10"):
        BUCKET.take(None, START, 11)
    with pytest.raises(ValueError, match="101 calls of a minute that has room for 100"):
        WINDOW.take(None, START, 101)


def test_what_was_used_on_trust_is_taken_with_the_next_call() -> None:
    bucket = TokenBucket(100, 20)
    level, grant = bucket.take(None, START, 1, owed=10)
    assert bucket.tokens(level, START) == 89
    assert grant.trust == bucket.trust == 10


def test_dear_tokens_are_never_used_on_trust_and_cheap_ones_only_while_half_of_them_are_there() -> None:
    assert TokenBucket(5, 2).trust == TokenBucket(1000, 2).trust == 0
    bucket = TokenBucket(100, 20)
    _, grant = bucket.take(None, START, 60)
    assert (grant.wait_s, grant.trust) == (0, 0)


def test_a_refusal_empties_the_bucket_and_halves_the_rate_which_comes_back_by_itself() -> None:
    level = BUCKET.refuse(None, START)
    assert BUCKET.tokens(level, START) == 0
    assert take(level, START)[1] == pytest.approx(2)
    assert share_of(level, START + REGAIN_S / 4) == pytest.approx(0.75)
    assert share_of(level, START + REGAIN_S) == 1


def test_refusals_of_one_moment_count_once_and_later_ones_again_down_to_a_last_share() -> None:
    level = BUCKET.refuse(None, START)
    for _ in range(50):
        level = BUCKET.refuse(level, START + SAME_MOMENT_S / 2)
    assert level.share == 0.5
    for number in range(1, 20):
        level = BUCKET.refuse(level, START + number * SAME_MOMENT_S)
    assert LOWEST_SHARE <= level.share < 2 * LOWEST_SHARE


def test_a_refusal_takes_no_place_from_those_who_wait() -> None:
    level, _ = take(None, START, 10)
    level, _ = take(level, START, 8)
    assert BUCKET.tokens(BUCKET.refuse(level, START), START) == -8


def test_only_a_refusal_after_a_slower_pace_speaks_against_something_else() -> None:
    level = BUCKET.refuse(None, START)
    seen = [is_again(level, START + after) for after in (0, SAME_MOMENT_S, AGAIN_S)]
    assert seen == [False, True, False]
    assert not is_again(None, START)
    assert not is_again(take(None, START)[0], START)


def test_a_clock_that_was_set_back_stops_no_refill() -> None:
    level, _ = take(None, START, 10)
    level = BUCKET.refuse(level, START)
    earlier = START - 3600
    level, wait_s = take(level, earlier)
    assert wait_s == pytest.approx(2)
    assert BUCKET.tokens(level, earlier + REGAIN_S * 2) == 10
    window, _ = WINDOW.take(None, START, 100)
    assert WINDOW.left(window, earlier) == 100
    assert PAUSE.take(PAUSE.refuse(None, START), earlier, 1)[1].wait_s == 0


def test_a_full_minute_gives_places_in_the_next_ones_in_order() -> None:
    now = 600 + 15.0
    level, grant = WINDOW.take(None, now, 99)
    assert grant.wait_s == 0
    waits = []
    for count in (2, 98, 3):
        level, grant = WINDOW.take(level, now, count)
        waits.append(grant.wait_s)
    assert waits == [45, 45, 105]
    assert WINDOW.left(level, now) == 0
    assert WINDOW.left(level, 725) == 97


def test_a_refused_minute_is_used_up_and_the_next_one_is_not() -> None:
    level = WINDOW.refuse(None, 615)
    assert WINDOW.take(level, 616, 1)[1].wait_s == 44
    assert WINDOW.left(level, 660) == 100
    ahead, _ = WINDOW.take(level, 616, 1)
    assert WINDOW.refuse(ahead, 617) == ahead


def test_a_pause_is_taken_for_over_only_once_it_is() -> None:
    level = PAUSE.refuse(None, START)
    assert PAUSE.take(level, START, 1)[1].wait_s == 1
    assert PAUSE.take(level, START + 1, 1)[1].wait_s == 0
    again = PAUSE.refuse(level, START + 1.5)
    assert PAUSE.take(again, START + 1.5, 1)[1].wait_s == 2
    assert PAUSE.put_back(again, START, 1) == replace(again)
