"""How often a cloud is asked what has become of its machines."""

from __future__ import annotations

import pytest

from ogc_async.actions.watch import pause_s, until_tick_s


@pytest.mark.parametrize(
    ("waited_s", "has_news", "expected_s"),
    [(0.0, False, 1.0), (4.0, False, 1.0), (6.0, False, 1.5), (60.0, False, 2.5), (60.0, True, 1.0)],
)
def test_nothing_is_asked_often_for_that_can_not_have_happened_yet(
    waited_s: float, has_news: bool, expected_s: float
) -> None:
    assert pause_s(1.0, waited_s, has_news=has_news) == expected_s


def test_500_boots_of_20_to_30_s_are_seen_with_less_than_one_description_a_second() -> None:
    waited_s, asked = 0.0, 0
    while waited_s < 30:
        waited_s += pause_s(0.7, waited_s, has_news=waited_s > 20)
        asked += 1
    assert asked <= 30


@pytest.mark.parametrize("now_s", [0.0, 0.3, 7.9])
@pytest.mark.parametrize("ticks", [1, 2])
def test_watches_that_began_at_any_time_wake_on_the_same_ticks(now_s: float, ticks: int) -> None:
    wakes_s = now_s + until_tick_s(now_s, 1.0, ticks * 1.0)
    assert wakes_s == pytest.approx(int(now_s) + ticks)


def test_without_an_interval_there_is_no_pause() -> None:
    assert until_tick_s(3.0, 0.0, 0.0) == 0.0
