"""How far an end can be put off."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ogc_async.errors import CannotExtend
from ogc_async.plan.extension import extended
from tests.unit.plan.test_diff import NOW, node

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def test_an_end_to_come_moves_from_where_it_is_and_one_that_is_over_from_now() -> None:
    assert extended(node(1, ends_at=NOW + HOUR), 2 * HOUR, NOW) == NOW + 3 * HOUR
    assert extended(node(1, ends_at=NOW - HOUR), 2 * HOUR, NOW) == NOW + 2 * HOUR


def test_no_end_lies_further_away_than_a_life_may_be_long() -> None:
    late = node(1, ends_at=NOW + 119 * DAY)
    assert extended(late, DAY, NOW) == NOW + 120 * DAY
    with pytest.raises(CannotExtend, match="for 120d from now at most; extend it by 1d or less"):
        extended(late, DAY + HOUR, NOW)


def test_a_node_without_an_end_has_none_to_be_put_off() -> None:
    with pytest.raises(CannotExtend, match="it has no end"):
        extended(node(1), HOUR, NOW)
